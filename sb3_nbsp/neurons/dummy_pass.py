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

FAR = 1e3  # from the value nearest to 0, in made-up observations: what is further makes networks overflow


def observations(policy: Any, rows: Sequence[int]) -> Any:
    """
    :param policy: an SB3 policy
    :param rows: which samples, some perhaps more than once
    :return: a batch of samples of its observation space, as its networks take them; the space's own generator stays as it is
    """
    space = _drawable(policy.observation_space)
    space.seed(0)
    drawn = [space.sample() for _ in range(max(rows) + 1)]
    samples = [drawn[row] for row in rows]
    if isinstance(space, spaces.Dict):
        return obs_as_tensor({key: np.stack([sample[key] for sample in samples]) for key in space.spaces}, policy.device)
    return obs_as_tensor(np.stack(samples), policy.device)


def _drawable(space: spaces.Space) -> spaces.Space:
    """A copy of a space. Bounds may be as far as numbers go (``np.finfo(np.float32).max``): then nearer ones."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: _drawable(part) for key, part in space.spaces.items()})
    if not isinstance(space, spaces.Box):
        return deepcopy(space)
    nearest = np.clip(0, space.low, space.high)
    low, high = (
        np.where(np.isinf(bound), bound, np.clip(bound, nearest - FAR, nearest + FAR)).astype(space.dtype)
        for bound in (space.low, space.high)
    )
    return spaces.Box(low, high, dtype=space.dtype.type)


def actions(policy: Any, n: int) -> th.Tensor:
    """
    :param policy: an SB3 policy
    :param n: how many
    :return: as its networks take them, [n, action_dim], or [n] where they are numbers
    """
    made_up = th.zeros(n, get_action_dim(policy.action_space), device=policy.device)
    return made_up[:, 0] if isinstance(policy.action_space, spaces.Discrete) else made_up


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """
    Inside the block all parts of a module are in evaluation mode, and what they write into their buffers (some count whatever
    they see, in any mode) goes into copies. Afterwards they have the modes and the buffers that they had.
    """
    parts = list(module.modules())
    modes = [part.training for part in parts]
    buffers = [(part, *named) for part in parts for named in part.named_buffers(recurse=False, remove_duplicate=False)]
    # What several parts share they share inside as well. Tensors are not copied back: autograd would take that for a change.
    copies = {id(buffer): buffer.clone() for _, _, buffer in buffers}
    try:
        for part in parts:
            part.training = False
        for part, name, buffer in buffers:
            setattr(part, name, copies[id(buffer)])
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
        for part, name, buffer in buffers:
            setattr(part, name, buffer)


@contextmanager
def undisturbed(policy: nn.Module) -> Iterator[None]:
    """
    Inside the block networks may run: random states, buffers, modes, gradients and what hooks note are afterwards what they
    were.
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
