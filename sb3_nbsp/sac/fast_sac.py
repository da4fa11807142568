"""SAC with a faster ``train()``: without autograd where that is the same, else with autograd and less waste."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th
from stable_baselines3 import SAC
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import polyak_update
from torch.nn import functional as F

from sb3_nbsp.base.random_states import ProcessStreams
from sb3_nbsp.common.faster_updates import FLUSH_INTERVAL, flush_states, fused, fusible, put_channels_last
from sb3_nbsp.sac.agent_stack import AgentStack
from sb3_nbsp.sac.batched_learner import BatchedLearner
from sb3_nbsp.sac.buffer_reader import BufferReader
from sb3_nbsp.sac.fast_update import FastUpdate, Losses
from sb3_nbsp.sac.fast_update_conditions import find_obstacle, optimizers_of
from sb3_nbsp.sac.stack_kind import find_stack_obstacle


class FastSAC(SAC):
    """
    SB3's SAC with the choice of how its gradient steps are computed.

    - ``fast_update="auto"``: by :class:`~sb3_nbsp.sac.fast_update.FastUpdate` where that is the same (on CUDA by
      :class:`~sb3_nbsp.sac.batched_learner.BatchedLearner`, as a stack of one), else by :class:`AutogradUpdate`
    - ``fast_update=True``: without autograd; where that is not the same, a ``ValueError`` says why
    - ``fast_update=False``: by SB3's own ``train()``, bit for bit

    ``update_path`` tells which one is used: "fast", "autograd" or "sb3"; ``update_obstacle`` what is in the way of "fast".
    """

    fast_update: str | bool = "auto"
    update_path: str | None = None
    update_obstacle: str | None = None
    _fast: FastUpdate | BatchedLearner | None = None
    streams: ProcessStreams  # its random numbers; a population's members have their own
    in_stack: tuple[AgentStack, int] | None = None  # where a population has the model's parameters, and its number there

    def _setup_model(self) -> None:
        super()._setup_model()
        self.streams = ProcessStreams()
        if self.fast_update is not False:
            put_channels_last(self.policy, self.device)
        if self.fast_update is True:
            self._check_fast(self._find_obstacle())

    @property
    def _is_one_program(self) -> bool:
        """On CUDA, where many small operations cost most."""
        return self.device.type == "cuda"

    def _find_obstacle(self) -> str | None:
        return find_stack_obstacle(self) if self._is_one_program else find_obstacle(self)

    def _check_fast(self, obstacle: str | None) -> None:
        if self.fast_update is True and obstacle is not None:
            raise ValueError(
                f"fast_update=True is not possible with this model: {obstacle}. "
                'Use fast_update="auto", which computes the same with autograd then.'
            )

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """See SB3."""
        if self.fast_update is False:
            self.tell_path("sb3", None)
            super().train(gradient_steps, batch_size)
            return
        update = self._choose_update()
        if isinstance(update, BatchedLearner):
            update.train(gradient_steps, batch_size)
            return
        update.begin()
        self.update_learning_rates()
        losses = []
        for i in range(gradient_steps):
            if i > 0 and isinstance(update, FastUpdate) and update.is_hooked:
                update = self._choose_update()  # a hook may have exchanged something
                assert not isinstance(update, BatchedLearner)  # which calls no hooks
                update.begin()
            losses.append(update.step(update.sample(batch_size), update_target=i % self.target_update_interval == 0))
            if (self._n_updates + i + 1) % FLUSH_INTERVAL == 0:
                update.flush()
        self._n_updates += gradient_steps
        self._log_losses(losses)

    def update_learning_rates(self) -> None:
        """Have all optimizers follow the schedule."""
        self._update_learning_rate(self.learning_optimizers())

    def learning_optimizers(self) -> list[th.optim.Optimizer]:
        """Those of the networks, and of the entropy coefficient where it is learned."""
        return list(optimizers_of(self).values())

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        # On a CUDA device SB3's pass through the policy takes as long as a gradient step.
        fast = self._fast if isinstance(self._fast, BatchedLearner) else None
        is_random = self.num_timesteps < learning_starts
        if fast is None or is_random or action_noise is not self.action_noise or not fast.stack.take_over_changes(True):
            return super()._sample_action(learning_starts, action_noise, n_envs)
        actions, scaled = fast.actor(n_envs).act([self], [True])
        return actions[0], scaled[0]

    def _choose_update(self) -> "FastUpdate | BatchedLearner | AutogradUpdate":
        if self._fast is None or not self._fast.is_current():
            obstacle = self._find_obstacle()
            self._check_fast(obstacle)
            if obstacle is not None:
                self._leave_stack()
                self._fast = None
                self.tell_path("autograd", obstacle)
                return AutogradUpdate(self)
            if not (isinstance(self._fast, BatchedLearner) and self._fast.stack.fits(0)):  # which takes over what has changed
                self._leave_stack()
                self._fast = self._made_fast()
        self.tell_path("fast", None)
        return self._fast

    def _made_fast(self) -> FastUpdate | BatchedLearner:
        if self._is_one_program:
            return BatchedLearner([self], [self.streams])
        return FastUpdate(self, BufferReader(self, self.streams).samples)

    def dump_logs(self) -> None:
        """See SB3."""
        if isinstance(self._fast, BatchedLearner):
            self._fast.log_losses()
        super().dump_logs()

    def tell_path(self, path: str, obstacle: str | None) -> None:
        """
        Log by what gradient steps are computed, where that was not told yet.

        :param path: "fast", "autograd" or "sb3"
        :param obstacle: what is in the way of "fast"
        """
        if (path, obstacle) == (self.update_path, self.update_obstacle):
            return
        self.update_path, self.update_obstacle = path, obstacle
        how = {"fast": "without autograd", "sb3": "by SB3's own train()", "autograd": f"with autograd, since {obstacle}"}
        self.logger.info(f"Gradient steps are computed {how[path]}.")

    def _log_losses(self, losses: Sequence[Losses]) -> None:
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if not losses:
            return
        for name, values in zip(Losses._fields, zip(*losses, strict=True), strict=True):
            if None not in values:
                self.logger.record(f"train/{name}", sum(values) / len(values))

    def __getstate__(self) -> dict[str, Any]:
        # A view is pickled together with all of the buffer that it looks into: a copy is made of parameters with memory of
        # their own. Both, model and copy, come to buffers of their own at their next update.
        if isinstance(self._fast, FastUpdate):
            self._fast.release()
        self._fast = None
        self._leave_stack()
        return self.__dict__

    def _leave_stack(self) -> None:
        """Take memory of its own, among many agents; their learner takes it over again."""
        if self.in_stack is not None:
            stack, agent = self.in_stack
            stack.give_back(agent)

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """See SB3. Of many agents that learn together these are this one's alone, e.g. in files."""
        self._leave_stack()
        return super().get_parameters()

    def _excluded_save_params(self) -> list[str]:
        own = ("_fast", "streams", "in_stack", "taken_steps", "update_path", "update_obstacle")
        return [*super()._excluded_save_params(), *own]


class AutogradUpdate:
    """
    SB3's gradient step with the same mathematics and less waste: the actor's loss computes no gradients of the critics'
    weights, Adam is fused, and the target critics follow in one call.

    :param model: any model
    """

    def __init__(self, model: FastSAC):
        self.model = model
        self._fused_groups = [*fusible(model.actor.optimizer), *fusible(model.critic.optimizer)]
        self._actor_parameters = [p for g in model.actor.optimizer.param_groups for p in g["params"] if p.requires_grad]

    def sample(self, batch_size: int) -> ReplayBufferSamples:
        """A batch of the replay buffer."""
        return self.model.replay_buffer.sample(batch_size, env=self.model._vec_normalize_env)  # type: ignore[union-attr]

    def begin(self) -> None:
        """Switch dropout and batch normalisation to training."""
        self.model.policy.set_training_mode(True)

    def flush(self) -> None:
        """Set denormal numbers in the optimizers' averages to 0."""
        flush_states(self.model.learning_optimizers())

    def step(self, samples: ReplayBufferSamples, update_target: bool) -> Losses:
        """
        One gradient step.

        :param samples: B transitions
        :param update_target: whether the target critics follow
        """
        model = self.model
        if model.use_sde:
            model.actor.reset_noise()
        actions, log_prob = model.actor.action_log_prob(samples.observations)
        log_prob = log_prob.reshape(-1, 1)
        ent_coef, ent_coef_loss = self._update_ent_coef(log_prob.detach())
        critic_loss = self._update_critic(samples, ent_coef)

        actor_loss = (ent_coef * log_prob - _smallest(model.critic(samples.observations, actions))).mean()
        model.actor.optimizer.zero_grad()
        if self._actor_parameters:
            actor_loss.backward(inputs=self._actor_parameters)
        with fused(self._fused_groups):
            model.actor.optimizer.step()
        if update_target:
            # As they are now: the optimizer may have put others in their place.
            targets, values = ([p.data for p in network.parameters()] for network in (model.critic_target, model.critic))
            th._foreach_lerp_(targets, values, model.tau)
            polyak_update(model.batch_norm_stats, model.batch_norm_stats_target, 1.0)
        return Losses(float(ent_coef), ent_coef_loss, critic_loss, float(actor_loss.detach()))

    def _update_ent_coef(self, log_prob: th.Tensor) -> tuple[th.Tensor, float | None]:
        """The entropy coefficient before the step, and its loss."""
        log_ent_coef, optimizer = self.model.log_ent_coef, self.model.ent_coef_optimizer
        if log_ent_coef is None or optimizer is None:
            return self.model.ent_coef_tensor, None
        ent_coef = log_ent_coef.detach().exp()
        loss = -(log_ent_coef * (log_prob + float(self.model.target_entropy))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return ent_coef, float(loss.detach())

    def _update_critic(self, samples: ReplayBufferSamples, ent_coef: th.Tensor) -> float:
        model = self.model
        discounts = model.gamma if samples.discounts is None else samples.discounts
        with th.no_grad():
            next_actions, next_log_prob = model.actor.action_log_prob(samples.next_observations)
            next_q = _smallest(model.critic_target(samples.next_observations, next_actions))
            next_value = next_q - ent_coef * next_log_prob.reshape(-1, 1)
            target = samples.rewards + (1 - samples.dones) * discounts * next_value
        loss = 0.5 * th.stack([F.mse_loss(q, target) for q in model.critic(samples.observations, samples.actions)]).sum()
        model.critic.optimizer.zero_grad()
        loss.backward()
        with fused(self._fused_groups):
            model.critic.optimizer.step()
        return float(loss.detach())


def _smallest(q_values: tuple[th.Tensor, ...]) -> th.Tensor:
    """The minimum over the critics, [batch, 1]."""
    return th.cat(q_values, dim=1).min(dim=1, keepdim=True).values
