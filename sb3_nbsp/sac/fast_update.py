"""
One gradient step of SAC without autograd: SB3's mathematics, in SB3's order, with SB3's random numbers.

Shapes: B samples, K old observations that are cloned on, O numbers per observation, A per action, n critics. Samples are
columns (see ``manual_mlp.py``).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch as th
from stable_baselines3 import SAC
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import nn

from sb3_nbsp.common.cloning_term import CloningTerm
from sb3_nbsp.rehearsal.cloning import gaussian_kl
from sb3_nbsp.sac.fast_update_conditions import activation_of
from sb3_nbsp.sac.flat_parameters import FlatAdam, FlatParameters
from sb3_nbsp.sac.manual_mlp import Layers, ParallelMlp, parameter_groups
from sb3_nbsp.sac.own_step import step_of
from sb3_nbsp.sac.snapshot import Snapshot
from sb3_nbsp.sac.summed_mlp import SummedMlp, frozen_mlps
from sb3_nbsp.sac.watched_layers import watches_of

Cloned = tuple[th.Tensor, th.Tensor]  # see CloningTerm.draw

LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)


class Losses(NamedTuple):
    """What SB3 logs of a gradient step."""

    ent_coef: float
    ent_coef_loss: float | None
    critic_loss: float
    actor_loss: float


class Batch:
    """
    Room for a batch and for what is computed on its way through the networks. Where samples are s | s', the first B are
    the observations and the other B are the next observations; ``now_`` stands for the first half. The actor reads
    old s | s | s' at once and learns from old s | s, ``learned_``.

    :param size: B
    :param n_old: K
    :param actor: the actor
    :param critic: the critics
    """

    def __init__(self, size: int, n_old: int, actor: ParallelMlp, critic: ParallelMlp):
        like = actor.first_weight
        n_observed, n_inputs = like.shape[1], critic.first_weight.shape[1]
        n_actions = n_inputs - n_observed
        self.size, self.n_old, self.n_observed, self.n_actions = size, n_old, n_observed, n_actions
        n_learned = n_old + size
        # What the critics read: observations over actions.
        self.taken = like.new_empty(n_inputs, size)  # s, a of the replay buffer
        self.taken_observations, self.taken_actions = self.taken[:n_observed], self.taken[n_observed:]
        chosen = like.new_empty(n_inputs, n_old + 2 * size)  # old s | s, a of the actor | s', a' of the actor
        self.observations, self.actions = chosen[:n_observed], chosen[n_observed:, n_old:]
        self.now, self.next = chosen[:, n_old:].split(size, dim=1)
        self.old_observations, self.learned_observations = self.observations[:, :n_old], self.observations[:, :n_learned]
        self.now_observations, self.next_observations = self.now[:n_observed], self.next[:n_observed]
        self.rewards, self.discounts = like.new_empty(2, 1, size)
        # Numbers of Python's are made tensors each time, which takes longer than arithmetic on a few entries.
        self.one, self.log_prob_at_0 = like.new_tensor([1.0, -n_actions * LOG_SQRT_2_PI])

        self.actor_outputs, self.actor_deltas = actor.outputs(n_old + 2 * size), actor.outputs(n_learned)
        self.critic_outputs, self.critic_deltas = critic.outputs(size), critic.outputs(size)
        self.learned_actor_outputs = self.actor_outputs.columns(n_learned)
        self.errors = self.critic_deltas.last.view(-1)
        # The actor's distribution in old s | s | s', and what is drawn from it in s | s'.
        self.drawn = like.new_empty(2 * size, n_actions)
        self.drawn_now, self.drawn_next = self.drawn.split(size)
        self.drawn_columns = self.drawn.t()
        self.mean, self.raw_log_std = self.actor_outputs.last[0].split(n_actions)
        self.d_mean, self.d_log_std = self.actor_deltas.last[0].split(n_actions)
        self.log_std, self.std = like.new_empty(2, n_actions, n_old + 2 * size)
        self.noise, self.slope, self.soft = like.new_empty(3, n_actions, 2 * size)
        self.log_prob = like.new_empty(2 * size)
        self.now_log_prob, self.next_log_prob = self.log_prob.split(size)
        self.drawn_from = [values[:, n_old:] for values in (self.mean, self.log_std, self.std)]
        self.not_clamped = [values[:, :n_learned] for values in (self.raw_log_std, self.log_std)]
        now_std = self.std[:, n_old:n_learned]
        self.now_action = [*(values[:, :size] for values in (self.actions, self.noise, self.slope, self.soft)), now_std]
        self.now_deltas = [values[:, n_old:] for values in (self.d_mean, self.d_log_std)]
        # What cloning holds, and to what.
        self.kept = like.new_empty(2 * n_actions, n_old)
        self.old_distributions = [*self.kept.split(n_actions), self.mean[:, :n_old], self.std[:, :n_old]]
        self.old_deltas = [values[:, :n_old] for values in (self.d_mean, self.d_log_std)]

    def load(self, samples: ReplayBufferSamples, gamma: float, cloned: Cloned | None) -> None:
        """
        :param samples: B transitions, samples as rows
        :param gamma: discount where the samples bring none
        :param cloned: K old observations, samples as rows, and mean and standard deviation that were kept, [K, 2 A]
        """
        if cloned is not None:
            self.old_observations.copy_(cloned[0].reshape(self.n_old, self.n_observed).t())
            self.kept.copy_(cloned[1].t())
        shape = (self.size, self.n_observed)
        self.now_observations.copy_(samples.observations.reshape(shape).t())
        self.next_observations.copy_(samples.next_observations.reshape(shape).t())
        self.taken_observations.copy_(self.now_observations)
        self.taken_actions.copy_(samples.actions.t())
        self.rewards.copy_(samples.rewards.t())
        discounts: Any = gamma if samples.discounts is None else samples.discounts.t()
        dones = self.discounts.copy_(samples.dones.t())
        th.sub(self.one, dones, out=self.discounts).mul_(discounts)  # gamma^k (1 - d)


class FastUpdate:
    """
    The update of one model, whose parameters and state of plain Adams it turns into views of flat buffers.

    :param model: a model for which :func:`~sb3_nbsp.sac.fast_update_conditions.find_obstacle` finds nothing
    :param sample: of a batch size: a batch of the model's replay buffer
    """

    def __init__(self, model: SAC, sample: Callable[[int], ReplayBufferSamples]):
        self.model, self.sample = model, sample
        actor: Any = model.actor
        critics, targets = model.critic.q_networks, model.critic_target.q_networks
        heads = [actor.mu, actor.log_std]
        actor_values = FlatParameters(parameter_groups([actor.latent_pi], heads))
        self.critic_values = FlatParameters(parameter_groups(critics))
        self.target_values = FlatParameters(parameter_groups(targets))
        self.actor_step = step_of(actor_values, actor.optimizer)
        self.critic_step = step_of(self.critic_values, model.critic.optimizer)
        self.ent_coef_step: FlatAdam | None = None
        if model.ent_coef_optimizer is not None and model.log_ent_coef is not None:
            self.ent_coef_step = FlatAdam(FlatParameters([[model.log_ent_coef]]), model.ent_coef_optimizer)

        self.actor = _mlp(actor_values.layers(actor_values.values, 1), [actor.latent_pi])
        self.critic = _mlp(self.critic_values.layers(self.critic_values.values, len(critics)), critics)
        self.target = _mlp(self.target_values.layers(self.target_values.values, len(critics)), targets)
        self.actor_gradients = ParallelMlp(*actor_values.layers(self.actor_step.gradients, 1))
        self.critic_gradients = ParallelMlp(*self.critic_values.layers(self.critic_step.gradients, len(critics)))
        self._batch: Batch | None = None
        self._epsilon: float = actor.action_dist.epsilon
        self._attributes = [vars(module) for module in (*actor.modules(), *model.critic.modules(), model.policy)]
        self._steps = [step for step in (self.actor_step, self.critic_step, self.ent_coef_step) if step is not None]
        self._snapshot = Snapshot(model)
        self._show_actor, self._show_critic = watches_of([actor.latent_pi]), watches_of(critics)
        is_watched = self._show_actor is not None or self._show_critic is not None
        self.is_hooked = is_watched or any(step.is_hooked for step in self._steps)

    def is_current(self) -> bool:
        """Whether model, parameters and optimizer state are those that the buffers were made for."""
        return self._snapshot.holds(self.model) and all(step.is_even for step in self._steps)

    def release(self) -> None:
        """Give parameters and optimizer state memory of their own again."""
        for step in self._steps:
            step.release()
        self.target_values.release()

    def begin(self) -> None:
        """What ``policy.set_training_mode(True)`` does; a walk through the modules takes twenty times as long."""
        for attributes in self._attributes:
            attributes["training"] = True

    def flush(self) -> None:
        """Set denormal numbers in the optimizers' averages to 0."""
        for step in self._steps:
            step.flush()

    @th.no_grad()
    def step(self, samples: ReplayBufferSamples, update_target: bool) -> Losses:
        """
        One gradient step.

        :param samples: B transitions
        :param update_target: whether the target critics follow
        """
        cloning: CloningTerm | None = getattr(self.model, "cloning", None)
        cloned = None if cloning is None else cloning.draw()
        sizes = len(samples.rewards), 0 if cloned is None else len(cloned[1])
        if self._batch is None or (self._batch.size, self._batch.n_old) != sizes:
            self._batch = Batch(*sizes, self.actor, self.critic)
        batch = self._batch
        batch.load(samples, self.model.gamma, cloned)
        self._act(batch)
        mean_log_prob = float(batch.now_log_prob.mean())
        ent_coef, ent_coef_loss = self._update_ent_coef(mean_log_prob)
        critic_loss = self._update_critic(batch, ent_coef)
        if cloning is not None and cloned is not None:
            cloning.note(self._clone(batch, cloning.coef))
        actor_loss = self._update_actor(batch, ent_coef, mean_log_prob)
        if update_target:
            self.target_values.values.lerp_(self.critic_values.values, self.model.tau)
        return Losses(ent_coef, ent_coef_loss, critic_loss, actor_loss)

    def _act(self, batch: Batch) -> None:
        """
        Actions and their log-probabilities in s | s', as SB3's squashed Gaussian has them (in old s, mu and sigma only). With
        noise eps,

            l = clamp(log_std, -20, 2),  sigma = exp(l),  u = mu + sigma eps,  a = tanh(u)                      [A, 2B]
            log pi(a|s) = sum over A of [ -eps^2 / 2 - l - log sqrt(2 pi) - log(1 - a^2 + 1e-6) ]               [2B]
        """
        batch.drawn_now.normal_(), batch.drawn_next.normal_()  # apart, as SB3 draws them
        noise = batch.noise.copy_(batch.drawn_columns)
        self.actor.forward(batch.observations, batch.actor_outputs)
        th.clamp(batch.raw_log_std, LOG_STD_MIN, LOG_STD_MAX, out=batch.log_std)
        th.exp(batch.log_std, out=batch.std)
        mean, log_std, std = batch.drawn_from
        actions = th.addcmul(mean, std, noise, out=batch.actions).tanh_()
        th.sub(batch.one, th.mul(actions, actions, out=batch.slope), out=batch.slope)  # da/du = 1 - a^2
        th.add(batch.slope, self._epsilon, out=batch.soft)
        terms = batch.soft.log().add_(log_std).addcmul_(noise, noise, value=0.5)
        th.sub(batch.log_prob_at_0, th.sum(terms, dim=0, out=batch.log_prob), out=batch.log_prob)

    def _update_ent_coef(self, mean_log_prob: float) -> tuple[float, float | None]:
        """
        loss = -log(alpha) mean(log pi + target entropy),   dloss/dlog(alpha) = -mean(log pi + target entropy)

        :param mean_log_prob: mean of log pi(a|s) over the batch
        :return: alpha before the step (the other losses use it), loss
        """
        if self.ent_coef_step is None:
            return float(self.model.ent_coef_tensor), None
        log_ent_coef = self.ent_coef_step.values
        ent_coef, gradient = float(log_ent_coef.exp()), -(mean_log_prob + float(self.model.target_entropy))
        loss = gradient * float(log_ent_coef)
        self.ent_coef_step.gradients.fill_(gradient)
        self.ent_coef_step.step()
        return ent_coef, loss

    def _update_critic(self, batch: Batch, ent_coef: float) -> float:
        """
        y = r + gamma^k (1 - d) ( min_i Q'_i(s', a') - alpha log pi(a'|s') )                 [1, B]
        loss = 1/2 sum_i mean( (Q_i(s, a) - y)^2 ),   dloss/dQ_i = (Q_i - y) / B             [n, 1, B]
        """
        next_q = self.target.forward(batch.next, batch.critic_outputs).amin(dim=0)
        target = next_q.sub_(batch.next_log_prob, alpha=ent_coef).mul_(batch.discounts).add_(batch.rewards)
        q_values = self.critic.forward(batch.taken, batch.critic_outputs)
        th.sub(q_values, target, out=batch.critic_deltas.last)
        loss = 0.5 * float(th.dot(batch.errors, batch.errors)) / batch.size
        batch.errors.div_(batch.size)
        deltas = batch.critic_deltas
        self.critic.backward(batch.taken, batch.critic_outputs, deltas, self.critic_gradients, self._show_critic)
        self.critic_step.step()
        return loss

    def _clone(self, batch: Batch, coef: float) -> th.Tensor:
        """
        loss = coef / K sum over the old s of KL(pi_old(.|s) || pi(.|s)): its gradient with respect to mean and log_std, which
        :meth:`_update_actor` takes into its step. (The derivatives stand in ``gaussian_kl``.)

        :return: loss / coef
        """
        divergence, d_mean, d_log_std = gaussian_kl(*batch.old_distributions)
        for gradient, delta in zip((d_mean, d_log_std), batch.old_deltas, strict=True):
            th.mul(gradient, coef / batch.n_old, out=delta)
        return divergence.sum() / batch.n_old

    def _update_actor(self, batch: Batch, ent_coef: float, mean_log_prob: float) -> float:
        """
        loss = mean( alpha log pi(a|s) - min_i Q_i(s, a) ), where the noise eps stays as it was drawn.

        (u - mu) / sigma is eps, so of log pi only -l and -log(1 - a^2 + 1e-6) have a gradient. With s = da/du = 1 - a^2 and
        dQ/da through the critic with the smallest Q of each sample,

            dloss/du  = s / B ( 2 alpha a / (s + 1e-6) - dQ/da )                                         [A, B]
            dloss/dmu = dloss/du
            dloss/dl  = dloss/du sigma eps - alpha / B,   and 0 where log_std was clamped                [A, B]
        """
        smallest, chosen = self.critic.forward(batch.now, batch.critic_outputs)[:, 0].min(dim=0)
        action_gradient = self.critic.input_gradient(batch.critic_outputs, chosen, batch.n_observed)
        (actions, noise, slope, soft, std), (d_mean, d_log_std) = batch.now_action, batch.now_deltas
        th.div(actions, soft, out=d_mean).mul_(2 * ent_coef).sub_(action_gradient).mul_(slope).div_(batch.size)
        th.mul(d_mean, std, out=d_log_std).mul_(noise).sub_(ent_coef / batch.size)
        batch.d_log_std.mul_(th.eq(*batch.not_clamped))  # where cloning joins in, of old s too
        observations, outputs, deltas = batch.learned_observations, batch.learned_actor_outputs, batch.actor_deltas
        self.actor.backward(observations, outputs, deltas, self.actor_gradients, self._show_actor)
        self.actor_step.step()
        return ent_coef * mean_log_prob - float(smallest.mean())


def _mlp(layers: Layers, bodies: Sequence[nn.Module]) -> ParallelMlp:
    """Networks of a model, with what is added to them."""
    activation = activation_of(bodies[0])
    frozen = frozen_mlps(bodies, activation)
    return SummedMlp(*layers, activation, frozen) if frozen else ParallelMlp(*layers, activation)
