"""Whether a model still consists of the parts that were looked at."""

from collections.abc import Collection
from itertools import chain
from operator import attrgetter, is_
from typing import Any

import torch as th
from stable_baselines3 import SAC
from torch import nn
from torch.utils.hooks import RemovableHandle

from sb3_nbsp.common.off_policy_algorithm import OffPolicyContinualAlgorithm
from sb3_nbsp.protection.optimizer import base_of
from sb3_nbsp.sac.fast_update_conditions import ADAM_OPTIONS, adam_obstacle, named_optimizers, optimizers_of
from sb3_nbsp.sac.summed_mlp import added_to


class Snapshot:
    """
    Notices, in some 20 microseconds, whether anything has been exchanged that
    :func:`~sb3_nbsp.sac.fast_update_conditions.find_obstacle` looked at.

    :param model: the model
    """

    def __init__(self, model: SAC):
        optimizers = list(optimizers_of(model).values())
        bases = [base_of(optimizer) for optimizer in optimizers]
        # Others step by themselves, whatever their options and their state.
        adams = [base_of(optimizer) for optimizer in optimizers if adam_obstacle(optimizer) is None]
        modules = [*model.actor.modules(), *model.critic.modules(), *model.critic_target.modules()]
        added = [part for module in modules for part in added_to(module)]
        frozen = [module for part in added for top in (part.body, *part.heads) for module in top.modules()]
        modules += frozen
        self._parts = _parts(model)
        self._trained = [p for _, _, parameters in named_optimizers(model) for p in parameters]
        self._frozen = [p for module in frozen for p in module.parameters(recurse=False)]
        self._versions = [p._version for p in self._frozen]  # of which the update has copies
        self._tensors = [*self._trained, *model.critic_target.parameters(), *self._frozen]
        self._places = [p.data_ptr() for p in self._tensors]
        self._options = [base.param_groups[0] for base in adams]
        # Live views: they show what is in the dictionaries and lists at the time when one looks.
        tables: list[Collection[Any]] = [m._modules.values() for m in modules] + [m._parameters.values() for m in modules]
        self._hooked = [m for m in modules if m._forward_hooks]
        self._hooks = [m._forward_hooks for m in self._hooked]
        tables += [hooks.values() for hooks in self._hooks]
        tables += [model.critic.q_networks, model.critic_target.q_networks]
        tables += [group["params"] for base in bases for group in base.param_groups] + [base.param_groups for base in bases]
        tables += [state.values() for base in adams for state in (base.state, *base.state.values())]
        self._tables = [table for table in tables if len(table) > 0]
        self._members = list(chain.from_iterable(self._tables))
        # A method that is put on an instance makes its dictionary longer.
        self._attributes = [vars(owner) for owner in (model.policy, model.actor.action_dist, *modules, *optimizers, *bases)]
        self._n_attributes = sum(map(len, self._attributes))
        self._n_hooks = RemovableHandle.next_id
        self._leaky = [module for module in modules if isinstance(module, nn.LeakyReLU)]
        self._slopes = list(map(attrgetter("negative_slope"), self._leaky))

    def holds(self, model: SAC) -> bool:
        """Whether all is as it was."""
        return (
            all(map(is_, _parts(model), self._parts))
            and RemovableHandle.next_id == self._n_hooks  # no hook was registered since, on anything
            and list(map(th.Tensor.data_ptr, self._tensors)) == self._places
            and [p._version for p in self._frozen] == self._versions
            and all(map(is_, map(attrgetter("_forward_hooks"), self._hooked), self._hooks))
            and sum(map(len, self._tables)) == len(self._members)
            and all(map(is_, chain.from_iterable(self._tables), self._members))
            and sum(map(len, self._attributes)) == self._n_attributes
            and all(map(attrgetter("requires_grad"), self._trained))
            and all(group.get(name, value) == value for group in self._options for name, value in ADAM_OPTIONS.items())
            and list(map(attrgetter("negative_slope"), self._leaky)) == self._slopes
            and not th.is_autocast_enabled(model.device.type)
        )


def _parts(model: SAC) -> list[Any]:
    optimizers = list(optimizers_of(model).values())
    bases = list(map(base_of, optimizers))
    distribution: Any = model.actor.action_dist
    networks = (model.policy, model.actor, model.critic, model.critic_target, distribution)
    settings = isinstance(model, OffPolicyContinualAlgorithm) and model.cloning.is_wanted, distribution.epsilon
    states = [base.state for base in bases if type(base) is th.optim.Adam]  # others' are their own affair
    return [*networks, *settings, model.log_ent_coef, *optimizers, *bases, *states]
