"""Many agents of one shape in shared buffers: what their models' parameters and optimizers are views of."""

from collections.abc import Sequence
from typing import Any

import torch as th
from stable_baselines3 import SAC
from torch import nn

from sb3_nbsp.common.activation_functions import Activation
from sb3_nbsp.sac.batched_mlp import BatchedMlp
from sb3_nbsp.sac.fast_update_conditions import activation_of, optimizers_of
from sb3_nbsp.sac.manual_mlp import parameter_groups
from sb3_nbsp.sac.snapshot import Snapshot
from sb3_nbsp.sac.stack_kind import find_stack_obstacle, kind_of
from sb3_nbsp.sac.stacked_parameters import Groups, StackedAdam, StackedParameters


class AgentStack:
    """
    The networks of P agents, and Adam over them.

    The models stay what they are: whoever reads their parameters sees the current values, whoever writes into them writes
    into the stack. Where other tensors take a parameter's place (``load_state_dict`` of an optimizer, moments that are
    reset), :meth:`is_current` tells, and :meth:`put` takes them over, if the model still :meth:`fits`; the stack's own memory
    never moves.

    :param models: for which :func:`~sb3_nbsp.sac.stack_kind.find_stack_obstacle` finds nothing, of one kind
        (:func:`~sb3_nbsp.sac.stack_kind.kind_of`)
    """

    def __init__(self, models: Sequence[SAC]):
        self.models: list[Any] = list(models)
        first: Any = models[0]
        self.n_agents, self.n_critics = len(models), len(first.critic.q_networks)
        self._kind = kind_of(first)
        groups = [_groups(model) for model in models]
        self.flats = {name: StackedParameters([agent[name] for agent in groups]) for name in groups[0]}
        self.adams = {
            name: StackedAdam(self.flats[name], [optimizers_of(model)[name] for model in models])
            for name in optimizers_of(first)
        }
        activations = activation_of(first.actor.latent_pi), activation_of(first.critic.q_networks[0])
        values = {name: flat.values for name, flat in self.flats.items()}
        gradients = {name: adam.gradients for name, adam in self.adams.items()}
        self.actor, self.actor_gradients = (self._mlps("actor", of["actor"], 1, activations[0]) for of in (values, gradients))
        self.critic, self.critic_gradients = (
            self._mlps("critic", of["critic"], self.n_critics, activations[1]) for of in (values, gradients)
        )
        self.target = self._mlps("target", values["target"], self.n_critics, activations[1])
        # The same entries of all layers, agent by agent: [P, entries of a layer].
        self.target_layers, self.critic_layers = (
            [layer.reshape(self.n_agents, -1) for layer in (*mlps.weights, *mlps.biases)]
            for mlps in (self.target, self.critic)
        )
        self._snapshots: list[Any] = [None] * self.n_agents
        self._actors: list[list[th.Tensor]] = [[]] * self.n_agents
        self._actor_places: list[list[int]] = [[]] * self.n_agents
        self._actor_modules: list[list[nn.Module]] = [[]] * self.n_agents
        for agent in range(self.n_agents):
            self._note(agent)

    def _mlps(self, name: str, buffer: th.Tensor, n: int, activation: Activation) -> BatchedMlp:
        return BatchedMlp(*self.flats[name].layers(buffer, n * self.n_agents), activation, self.n_agents)

    def is_current(self, agent: int) -> bool:
        """Whether an agent's model still consists of the tensors that the stack was given."""
        return self._snapshots[agent].holds(self.models[agent])

    def fits(self, agent: int) -> bool:
        """Whether an agent's model, as it is now, can be in the stack."""
        model = self.models[agent]
        return find_stack_obstacle(model) is None and kind_of(model) == self._kind

    def take_over_changes(self, actors_only: bool = False) -> bool:
        """
        Put every model that does not consist of the stack's tensors any more.

        :param actors_only: only where an actor's parameters are others, or a hook hangs on it; that is looked up faster
        :return: whether they all fit; one that does not, and those behind it, stay what they are
        """
        for agent in range(self.n_agents):
            if not (self._has_actor_of(agent) if actors_only else self.is_current(agent)):
                if not self.fits(agent):
                    return False
                self.put(agent)
        return True

    def _has_actor_of(self, agent: int) -> bool:
        is_hooked = any(module._forward_hooks or module._forward_pre_hooks for module in self._actor_modules[agent])
        return not is_hooked and [p.data_ptr() for p in self._actors[agent]] == self._actor_places[agent]

    def put(self, agent: int) -> None:
        """
        Take over an agent's model with all its values, as it is now.

        :param agent: its number; its model must fit
        """
        model = self.models[agent]
        groups, optimizers = _groups(model), optimizers_of(model)
        for name, flat in self.flats.items():
            flat.put(agent, groups[name])
        for name, adam in self.adams.items():
            adam.put(agent, optimizers[name])
        self._note(agent)

    def _note(self, agent: int) -> None:
        model: Any = self.models[agent]
        self._snapshots[agent] = Snapshot(model)
        self._actors[agent] = list(model.actor.parameters())
        self._actor_modules[agent] = list(model.actor.modules())
        self._actor_places[agent] = [p.data_ptr() for p in self._actors[agent]]
        model.in_stack = (self, agent)

    def give_back(self, agent: int) -> None:
        """Give a model memory of its own again."""
        self.models[agent].in_stack = None
        self.flats["target"].give_back(agent)
        for adam in self.adams.values():
            adam.give_back(agent)


def _groups(model: Any) -> dict[str, Groups]:
    actor = model.actor
    groups = {
        "actor": parameter_groups([actor.latent_pi], heads=[actor.mu, actor.log_std]),
        "critic": parameter_groups(model.critic.q_networks),
        "target": parameter_groups(model.critic_target.q_networks),
    }
    return groups if model.ent_coef_optimizer is None else {**groups, "ent_coef": [[model.log_ent_coef]]}
