"""Acting for many agents at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN

from sb3_nbsp.base.random_states import ProcessStreams
from sb3_nbsp.sac.agent_stack import AgentStack


class BatchedActor:
    """
    The policies of P agents, each in its own environments: what SB3's ``predict(deterministic=False)`` does for one.

    :param stack: the agents
    :param n_envs: environments per agent
    :param streams: the agents' random numbers
    """

    def __init__(self, stack: AgentStack, n_envs: int, streams: Sequence[ProcessStreams]):
        self._mlp, self._streams = stack.actor, streams
        like = stack.actor.first_weight
        n_agents, n_observed = like.shape[0], like.shape[2]
        self._observations = th.empty(n_agents, n_envs, n_observed, pin_memory=like.is_cuda)
        self._inputs = like.new_empty(n_agents, n_observed, n_envs)
        self._outputs = stack.actor.outputs(n_envs)
        n_actions = self._outputs.last.shape[1] // 2
        self._mean, self._log_std = self._outputs.last.split(n_actions, dim=1)
        self._noise = th.zeros(n_agents, n_envs, n_actions, dtype=like.dtype, pin_memory=like.is_cuda)

    @th.no_grad()
    def act(self, models: Sequence[Any], explores: Sequence[bool]) -> list[np.ndarray]:
        """
        :param models: the agents, at their ``_last_obs``
        :param explores: which of them draw noise: the others' actions are of no use
        :return: by agent actions in its action space, [n_envs, ...]
        """
        for agent, model in enumerate(models):
            self._observations[agent].copy_(th.from_numpy(model._last_obs).flatten(1))
            if explores[agent]:
                self._noise[agent].normal_(generator=self._streams[agent].torch)
        self._inputs.copy_(self._observations.transpose(1, 2), non_blocking=True)
        self._mlp.forward(self._inputs, self._outputs)
        std = self._log_std.clamp(LOG_STD_MIN, LOG_STD_MAX).exp_()
        noise = self._noise.to(std.device, non_blocking=True).transpose(1, 2)
        actions = th.addcmul(self._mean, std, noise).tanh_().transpose(1, 2).cpu().numpy()
        shape = (-1, *models[0].action_space.shape)
        return [model.policy.unscale_action(own.reshape(shape)) for model, own in zip(models, actions, strict=True)]
