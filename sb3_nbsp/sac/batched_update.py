"""
One gradient step of many SAC agents at once, without autograd: each agent's is what
:class:`~sb3_nbsp.sac.fast_update.FastUpdate` computes for it alone.

Shapes: P agents, B samples, K old observations that are cloned on, O numbers per observation, A per action, n critics. Samples
are columns. Nothing here is read by Python between the first operation and the last, so that a CUDA graph can hold the step;
what may change between two steps (settings, masks, learning rates) is looked at in :meth:`BatchedUpdate.refresh`.
"""

from typing import Any

import torch as th
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN

from sb3_nbsp.rehearsal.cloning import gaussian_kl
from sb3_nbsp.sac.agent_batches import AgentBatches
from sb3_nbsp.sac.agent_stack import AgentStack
from sb3_nbsp.sac.fast_update import LOG_SQRT_2_PI, Losses


class BatchedUpdate:
    """
    The update of P agents.

    :param stack: the agents
    """

    def __init__(self, stack: AgentStack):
        self.stack = stack
        model: Any = stack.models[0]
        like = stack.actor.first_weight
        self._epsilon: float = model.actor.action_dist.epsilon
        self._settings = like.new_zeros(5, stack.n_agents)
        self.tau, self.target_entropy, self.fixed_ent_coef, self.gamma, self.clone_coef = self._settings
        self._known: list[tuple[float, ...]] = []
        self._one_tau: float | None = None  # where all agents have the same
        self._critic_number = th.arange(stack.n_critics, device=like.device)[:, None]
        self.sums = like.new_zeros(5, stack.n_agents)  # of the losses, in the order of Losses, and of cloning's
        self.n_summed = 0

    def refresh(self) -> tuple[Any, ...]:
        """
        Look at the agents' settings, learning rates and masks.

        :return: what decides which operations :meth:`step` consists of: with another value a captured graph is out of date
        """
        known = [_settings_of(model) for model in self.stack.models]
        if known != self._known:
            self._known = known
            self._settings.copy_(th.tensor(known, dtype=th.float64).t())
        self._one_tau = known[0][0] if len({setting[0] for setting in known}) == 1 else None
        return self._one_tau, *(adam.refresh() for adam in self.stack.adams.values())

    @property
    def clones(self) -> bool:
        """Whether any agent does, as of the last :meth:`refresh`."""
        return any(setting[4] != 0 for setting in self._known)

    @th.no_grad()
    def step(self, batch: AgentBatches, update_target: bool) -> None:
        """
        One gradient step of every agent.

        :param batch: transitions, and noise in ``drawn``
        :param update_target: whether the target critics follow
        """
        self._act(batch)
        mean_log_prob = batch.now_log_prob.mean(dim=2)[:, 0]
        ent_coef = self._update_ent_coef(mean_log_prob)
        self._update_critic(batch, ent_coef)
        if batch.n_old:
            self._clone(batch)
        self._update_actor(batch, ent_coef, mean_log_prob)
        if update_target:
            self._follow()

    def stepped(self, n: int) -> None:
        """
        Note that :meth:`step` ran, in a graph or not.

        :param n: how often
        """
        self.n_summed += n
        for adam in self.stack.adams.values():
            adam.stepped(n)

    def losses(self) -> list[tuple[Losses, float]]:
        """The mean losses since the last call, by agent, and the mean divergence that cloning saw. Waits for the device."""
        means = (self.sums / max(self.n_summed, 1)).t().tolist()
        self.sums.zero_()
        self.n_summed = 0
        learns = "ent_coef" in self.stack.adams
        return [
            (Losses(alpha, alpha_loss if learns else None, critic, actor), cloning)
            for alpha, alpha_loss, critic, actor, cloning in means
        ]

    def _act(self, batch: AgentBatches) -> None:
        """
        Actions and their log-probabilities in s | s', mean and deviation in old s, see
        :meth:`~sb3_nbsp.sac.fast_update.FastUpdate._act`.
        """
        noise = batch.noise.copy_(batch.drawn.transpose(1, 2))
        self.stack.actor.forward(batch.observations, batch.actor_outputs)
        th.clamp(batch.raw_log_std, LOG_STD_MIN, LOG_STD_MAX, out=batch.log_std)
        th.exp(batch.log_std, out=batch.std)
        mean, log_std, std = batch.drawn_from
        actions = th.addcmul(mean, std, noise, out=batch.actions).tanh_()
        th.mul(actions, actions, out=batch.slope).neg_().add_(1)  # da/du = 1 - a^2
        th.add(batch.slope, self._epsilon, out=batch.soft)
        terms = batch.soft.log().add_(log_std).addcmul_(noise, noise, value=0.5)
        th.sum(terms, dim=1, keepdim=True, out=batch.log_prob).neg_().sub_(batch.n_actions * LOG_SQRT_2_PI)

    def _update_ent_coef(self, mean_log_prob: th.Tensor) -> th.Tensor:
        """
        loss = -log(alpha) mean(log pi + target entropy),   dloss/dlog(alpha) = -mean(log pi + target entropy)

        :param mean_log_prob: mean of log pi(a|s) over the batch, [P]
        :return: alpha before the step (the other losses use it), [P]
        """
        adam = self.stack.adams.get("ent_coef")
        if adam is None:
            self.sums[0].add_(self.fixed_ent_coef)
            return self.fixed_ent_coef
        ent_coef = adam.values.exp()
        th.add(mean_log_prob, self.target_entropy, out=adam.gradients).neg_()
        self.sums[0].add_(ent_coef)
        self.sums[1].addcmul_(adam.gradients, adam.values)
        adam.step()
        return ent_coef

    def _update_critic(self, batch: AgentBatches, ent_coef: th.Tensor) -> None:
        """
        y = r + gamma^k (1 - d) ( min_i Q'_i(s', a') - alpha log pi(a'|s') )                 [P, 1, B]
        loss = 1/2 sum_i mean( (Q_i(s, a) - y)^2 ),   dloss/dQ_i = (Q_i - y) / B             [P, n, B]
        """
        stack = self.stack
        stack.target.forward(batch.next, batch.critic_outputs)
        next_q = batch.q_values.amin(dim=1, keepdim=True)
        target = next_q.addcmul_(batch.next_log_prob, ent_coef[:, None, None], value=-1)
        target.mul_(batch.discounts).add_(batch.rewards)
        stack.critic.forward(batch.taken, batch.critic_outputs)
        errors = th.sub(batch.q_values, target, out=batch.errors)
        self.sums[2].add_(errors.square().sum(dim=(1, 2)), alpha=0.5 / batch.size)
        errors.div_(batch.size)
        stack.critic.backward(batch.taken, batch.critic_outputs, batch.critic_deltas, stack.critic_gradients)
        stack.adams["critic"].step()

    def _clone(self, batch: AgentBatches) -> None:
        """
        loss = coef / K sum over the old s of KL(pi_old(.|s) || pi(.|s)): its gradient with respect to mean and log_std, see
        :meth:`~sb3_nbsp.sac.fast_update.FastUpdate._clone`. The coefficient of an agent that does not clone is 0.
        """
        divergence, d_mean, d_log_std = gaussian_kl(*batch.old_distributions)
        strength = (self.clone_coef / batch.n_old)[:, None, None]
        for gradient, delta in zip((d_mean, d_log_std), batch.old_deltas, strict=True):
            th.mul(gradient, strength, out=delta)
        self.sums[4].add_(divergence.sum(dim=(1, 2)), alpha=1 / batch.n_old)

    def _update_actor(self, batch: AgentBatches, ent_coef: th.Tensor, mean_log_prob: th.Tensor) -> None:
        """
        loss = mean( alpha log pi(a|s) - min_i Q_i(s, a) ), see :meth:`~sb3_nbsp.sac.fast_update.FastUpdate._update_actor`:

            dloss/dmu = s / B ( 2 alpha a / (s + 1e-6) - dQ/da )                                     [P, A, B]
            dloss/dl  = dloss/dmu sigma eps - alpha / B,   and 0 where log_std was clamped           [P, A, B]
        """
        stack, alpha = self.stack, ent_coef[:, None, None]
        stack.critic.forward(batch.now, batch.critic_outputs)
        smallest, chosen = batch.q_values.min(dim=1, keepdim=True)  # [P, 1, B]
        shares = (chosen == self._critic_number).to(smallest).view(-1, 1, batch.size)  # 1 for the chosen critic, else 0
        action_gradient = stack.critic.weighted_input_gradient(
            batch.critic_outputs, batch.critic_deltas, shares, batch.n_observed
        )
        (actions, noise, slope, soft, std), (d_mean, d_log_std) = batch.now_action, batch.now_deltas
        th.div(actions, soft, out=d_mean).mul_(2 * alpha).sub_(action_gradient).mul_(slope).div_(batch.size)
        th.mul(d_mean, std, out=d_log_std).mul_(noise).sub_(alpha / batch.size)
        batch.d_log_std.mul_(th.eq(*batch.not_clamped))  # where cloning joins in, of old s too
        stack.actor.backward(
            batch.learned_observations, batch.learned_actor_outputs, batch.actor_deltas, stack.actor_gradients
        )
        stack.adams["actor"].step()
        self.sums[3].addcmul_(ent_coef, mean_log_prob).sub_(smallest.mean(dim=2)[:, 0])

    def _follow(self) -> None:
        """Target critics <- (1 - tau) target critics + tau critics."""
        stack = self.stack
        if self._one_tau is not None:
            stack.flats["target"].values.lerp_(stack.flats["critic"].values, self._one_tau)
            return
        for target, critic in zip(stack.target_layers, stack.critic_layers, strict=True):
            target.lerp_(critic, self.tau[:, None])


def _settings_of(model: Any) -> tuple[float, ...]:
    fixed = float(model.ent_coef_tensor) if model.ent_coef_optimizer is None else 0.0
    cloning = model.cloning.coef if model.cloning.is_due() else 0.0
    return float(model.tau), float(model.target_entropy), fixed, float(model.gamma), cloning
