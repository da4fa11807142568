"""Acting for many SAC agents at once."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN

from sb3_nbsp.base.random_states import ProcessStreams
from sb3_nbsp.sac.agent_stack import AgentStack
from sb3_nbsp.sac.cuda_graphs import CapturedFunction


class BatchedActor:
    """
    The policies of P agents, each in its own environments: what SB3's ``_sample_action`` does for one after its warm-up. The
    noise comes from the agents' generators on the CPU, wherever the networks are.

    :param stack: the agents, which have the same action space
    :param n_envs: environments per agent
    :param streams: the agents' random numbers
    :param tell: is told why, where the pass cannot be captured in a CUDA graph
    """

    def __init__(self, stack: AgentStack, n_envs: int, streams: Sequence[ProcessStreams], tell: Callable[[str], None]):
        self.stack, self.n_envs, self._streams = stack, n_envs, list(streams)
        like = stack.actor.first_weight
        n_agents, n_observed = like.shape[0], like.shape[2]
        self._outputs = stack.actor.outputs(n_envs)
        n_actions = self._outputs.last.shape[1] // 2
        self._mean, self._log_std = self._outputs.last.split(n_actions, dim=1)
        self._observations, self._noise, self._actions = (
            th.zeros(n_agents, n_envs, width, dtype=like.dtype, pin_memory=like.is_cuda)
            for width in (n_observed, n_actions, n_actions)
        )
        self._rows = self._observations.numpy().reshape(n_agents, n_envs, *stack.models[0].observation_space.shape)
        self._inputs = like.new_empty(n_agents, n_envs, n_observed + n_actions)  # observations, noise
        self._graphs = CapturedFunction(tell) if like.is_cuda else None
        self._shape = (n_agents, n_envs, *stack.models[0].action_space.shape)

    @th.no_grad()
    def act(self, models: Sequence[Any], explores: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
        """
        :param models: the agents, at their ``_last_obs``
        :param explores: which of them draw noise: the others' actions are of no use
        :return: actions for the envs, and those for the replay buffers, which are scaled to [-1, 1]; [P, n_envs, ...] each
        """
        for agent, model in enumerate(models):
            self.show(agent, model._last_obs, self._streams[agent] if explores[agent] else None)
        policy = models[0].policy
        # As SB3 goes: out of the policy, into [-1, 1] and out again.
        scaled = policy.scale_action(policy.unscale_action(self.answers()))
        actions = policy.unscale_action(scaled)
        for agent, model in enumerate(models):
            if model.action_noise is not None and explores[agent]:
                with self._streams[agent].in_use():
                    scaled[agent] = np.clip(scaled[agent] + model.action_noise(), -1, 1)
                actions[agent] = policy.unscale_action(scaled[agent])
        return actions, scaled

    def show(self, agent: int, observations: np.ndarray, noise: ProcessStreams | None) -> None:
        """
        :param agent: whose
        :param observations: what its policy is asked, [n_envs, ...]
        :param noise: what its noise is drawn from; ``None``: it takes its most likely actions
        """
        self._rows[agent] = observations
        if noise is None:
            self._noise[agent].zero_()
        else:
            self._noise[agent].normal_(generator=noise.torch)

    @th.no_grad()
    def answers(self) -> np.ndarray:
        """
        :return: what the policies do in what they were shown, in [-1, 1], [P, n_envs, ...]; lies in the actor's memory
        """
        n_observed = self._observations.shape[2]
        self._inputs[..., :n_observed].copy_(self._observations, non_blocking=True)
        self._inputs[..., n_observed:].copy_(self._noise, non_blocking=True)
        if self._graphs is None:
            self._compute()
        else:
            self._graphs.run(self._compute, ())
            th.cuda.current_stream().synchronize()
        return self._actions.numpy().reshape(self._shape)

    def _compute(self) -> None:
        observations, noise = self._inputs.split((self._observations.shape[2], self._noise.shape[2]), dim=2)
        self.stack.actor.forward(observations.transpose(1, 2), self._outputs)
        std = self._log_std.clamp(LOG_STD_MIN, LOG_STD_MAX).exp_()
        actions = th.addcmul(self._mean, std, noise.transpose(1, 2)).tanh_()
        self._actions.copy_(actions.transpose(1, 2), non_blocking=True)
