"""What a gradient step of many SAC agents computes with, see :mod:`sb3_nbsp.sac.batched_update`."""

from typing import Any

import torch as th
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from sb3_nbsp.sac.agent_stack import AgentStack


class AgentBatches:
    """
    Room for a batch of every agent and for what is computed on its way through the networks, as in
    :class:`~sb3_nbsp.sac.fast_update.Batch`. Where samples are s | s', the first B are the observations and the other B are
    the next observations; ``now_`` stands for the first half. The actor reads old s | s | s' at once and learns from
    old s | s, ``learned_``.

    :param size: B
    :param n_old: K; 0 where no agent clones
    :param stack: the agents
    """

    def __init__(self, size: int, n_old: int, stack: AgentStack):
        actor, critic, n_agents = stack.actor, stack.critic, stack.n_agents
        like = actor.first_weight
        n_observed, n_inputs = like.shape[2], critic.first_weight.shape[2]
        n_actions = n_inputs - n_observed
        self.size, self.n_old, self.n_observed, self.n_actions = size, n_old, n_observed, n_actions
        n_learned = n_old + size
        # What the critics read: observations over actions.
        self.taken = like.new_empty(n_agents, n_inputs, size)  # s, a of the replay buffer
        self.taken_observations, self.taken_actions = self.taken[:, :n_observed], self.taken[:, n_observed:]
        chosen = like.new_zeros(n_agents, n_inputs, n_old + 2 * size)  # old s | s, a of the actor | s', a' of the actor
        self.observations, self.actions = chosen[:, :n_observed], chosen[:, n_observed:, n_old:]
        self.now, self.next = chosen[:, :, n_old:].split(size, dim=2)
        self.old_observations, self.learned_observations = self.observations[..., :n_old], self.observations[..., :n_learned]
        self.now_observations, self.next_observations = self.now[:, :n_observed], self.next[:, :n_observed]
        self.rewards, self.discounts = like.new_empty(2, n_agents, 1, size)  # discounts: gamma^k (1 - d)

        self.actor_outputs, self.actor_deltas = actor.outputs(n_old + 2 * size), actor.outputs(n_learned)
        self.critic_outputs, self.critic_deltas = critic.outputs(size), critic.outputs(size)
        self.learned_actor_outputs = self.actor_outputs.columns(n_learned)
        by_agent = (n_agents, stack.n_critics, size)
        self.q_values, self.errors = (part.last.view(by_agent) for part in (self.critic_outputs, self.critic_deltas))
        self.drawn = like.new_empty(n_agents, 2 * size, n_actions)  # noise: by agent that in s, then that in s'
        # The actor's distribution in old s | s | s', and what is drawn from it in s | s'.
        self.mean, self.raw_log_std = self.actor_outputs.last.split(n_actions, dim=1)
        self.d_mean, self.d_log_std = self.actor_deltas.last.split(n_actions, dim=1)
        self.log_std, self.std = like.new_empty(2, n_agents, n_actions, n_old + 2 * size)
        self.noise, self.slope, self.soft = like.new_empty(3, n_agents, n_actions, 2 * size)
        self.log_prob = like.new_empty(n_agents, 1, 2 * size)
        self.now_log_prob, self.next_log_prob = self.log_prob.split(size, dim=2)
        self.drawn_from = [values[..., n_old:] for values in (self.mean, self.log_std, self.std)]
        self.not_clamped = [values[..., :n_learned] for values in (self.raw_log_std, self.log_std)]
        now_std = self.std[..., n_old:n_learned]
        self.now_action = [*(values[..., :size] for values in (self.actions, self.noise, self.slope, self.soft)), now_std]
        self.now_deltas = [values[..., n_old:] for values in (self.d_mean, self.d_log_std)]
        # What cloning holds, and to what. An agent that does not clone has zeros as old s and ones as what was kept.
        self.kept = like.new_ones(n_agents, 2 * n_actions, n_old)
        self.old_distributions = [
            *self.kept.split(n_actions, dim=1),
            *(values[..., :n_old] for values in (self.mean, self.std)),
        ]
        self.old_deltas = [values[..., :n_old] for values in (self.d_mean, self.d_log_std)]

    def load_old(self, agent: int, observations: th.Tensor, kept: th.Tensor) -> None:
        """
        :param agent: whose
        :param observations: K old ones, samples as rows
        :param kept: mean and standard deviation of the action that were kept there, [K, 2 A]
        """
        self.old_observations[agent].copy_(observations.reshape(self.n_old, self.n_observed).t())
        self.kept[agent].copy_(kept.t())

    def load(self, agent: int, samples: ReplayBufferSamples, gamma: float) -> None:
        """
        :param agent: whose
        :param samples: B transitions, samples as rows
        :param gamma: discount where the samples bring none
        """
        shape = (self.size, self.n_observed)
        observations = samples.observations.reshape(shape).t()
        self.now_observations[agent].copy_(observations)
        self.taken_observations[agent].copy_(observations)
        self.next_observations[agent].copy_(samples.next_observations.reshape(shape).t())
        self.taken_actions[agent].copy_(samples.actions.t())
        self.rewards[agent].copy_(samples.rewards.t())
        discounts: Any = gamma if samples.discounts is None else samples.discounts.t()
        self.discounts[agent].copy_(samples.dones.t()).neg_().add_(1).mul_(discounts)
