"""A forward pass on made-up observations that leaves no trace."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.utils import obs_as_tensor
from torch import nn

from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.neurons.functional_activation import uncompiled, unwatched

BATCH = 2


def observations(policy: Any, rows: Sequence[int] = range(BATCH)) -> Any:
    """
    :param policy: an SB3 policy
    :param rows: which of the samples, some perhaps more than once
    :return: a batch of samples of its observation space, as its networks take them; the space's own generator stays as it is
    """
    space = deepcopy(policy.observation_space)
    space.seed(0)
    drawn = [space.sample() for _ in range(BATCH)]
    samples = [drawn[row] for row in rows]
    if isinstance(space, spaces.Dict):
        return obs_as_tensor({key: np.stack([sample[key] for sample in samples]) for key in space.spaces}, policy.device)
    return obs_as_tensor(np.stack(samples), policy.device)


def actions(policy: Any, n: int = BATCH) -> th.Tensor:
    """
    :param policy: an SB3 policy with continuous actions
    :param n: how many
    :return: as its critics take them, [batch, action_dim]
    """
    return th.zeros(n, get_action_dim(policy.action_space), device=policy.device)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Inside the block all parts of a module are in evaluation mode, and afterwards in the mode that they were in."""
    parts = list(module.modules())
    modes = [part.training for part in parts]
    try:
        for part in parts:
            part.training = False
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode


@contextmanager
def undisturbed(policy: nn.Module) -> Iterator[None]:
    """
    Inside the block networks may run: random states, statistics of normalisations, modes, gradients and what hooks note are
    afterwards what they were.
    """
    modules = list(policy.modules())
    hooked = [module for module in modules if not isinstance(module, th.jit.ScriptModule)]
    hooks = [module._forward_hooks for module in hooked]
    distributions = [module.action_dist for module in modules if hasattr(module, "action_dist")]
    attributes = [dict(vars(distribution)) for distribution in distributions]
    with ExitStack() as stack:
        stack.enter_context(isolated_rng(0))
        stack.enter_context(th.no_grad())
        stack.enter_context(unwatched())
        stack.enter_context(uncompiled())
        stack.enter_context(evaluating(policy))
        try:
            for module in hooked:
                module._forward_hooks = OrderedDict()
            yield
        finally:
            for module, hook in zip(hooked, hooks, strict=True):
                module._forward_hooks = hook
            for distribution, values in zip(distributions, attributes, strict=True):
                vars(distribution).clear()
                vars(distribution).update(values)


def rows_of(values: Any, rows: Sequence[int]) -> Any:
    """
    :param values: tensors, or collections of them
    :param rows: of which batch entries, beginning anew where there are fewer
    :return: the same with these rows of each tensor
    """
    if isinstance(values, th.Tensor):
        return values if values.dim() == 0 else values[[row % len(values) for row in rows]]
    if isinstance(values, dict):
        return {key: rows_of(value, rows) for key, value in values.items()}
    return type(values)(rows_of(value, rows) for value in values) if type(values) in (list, tuple) else values


def outputs_of(found: Any) -> list[th.Tensor]:
    """
    :param found: what a network returned: tensors, collections of them, or a distribution
    :return: all tensors in it
    """
    tensors: list[th.Tensor] = []
    waiting, seen = [found], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, th.Tensor):
            tensors.append(value)
        elif id(value) in seen:
            continue
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif "distributions" in type(value).__module__:
            waiting += vars(value).values()
        seen.add(id(value))
    return tensors
