"""
How much memory the buffers of a run take when they are full, and how much disk its files: computed, stated and checked before
the run starts.

Arrays of zeros take memory only when they are written to. So a replay buffer that cannot fit is no error when it is made,
and the run is killed hours later, when it has filled the machine.
"""

import logging
import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim, get_obs_shape
from torch import nn

LOGGER = logging.getLogger(__name__)
FLOAT = 4  # bytes of float32
# Limits of a container, which may have less memory than the machine: cgroups version 2, version 1.
CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Part:
    """
    A part of the memory that a run takes.

    :param name: e.g. ``"replay buffer"``
    :param n_bytes: its size when it is full
    :param argument: which argument of the model makes it smaller
    """

    name: str
    n_bytes: int
    argument: str


def observation_bytes(space: spaces.Space, float64: int = 8) -> int:
    """
    Size of one observation as SB3's buffers hold it, in bytes.

    :param space: as the model sees it
    :param float64: bytes that a number of this type is kept in
    """
    if isinstance(space, spaces.Dict):
        return sum(observation_bytes(part, float64) for part in space.values())
    shape = get_obs_shape(space)
    assert isinstance(shape, tuple)
    return int(np.prod(shape, dtype=np.int64)) * (float64 if space.dtype == np.float64 else _item(space))


def replay_buffer_bytes(
    observation_space: spaces.Space,
    action_space: spaces.Space,
    buffer_size: int,
    n_envs: int = 1,
    optimize_memory_usage: bool = False,
) -> int:
    """
    Size of SB3's replay buffers (and of ours without their memory), in bytes.

    :param observation_space: as the model sees it
    :param action_space: the model's
    :param buffer_size: transitions over all sub-envs
    :param n_envs: number of sub-envs
    :param optimize_memory_usage: whether next observations are not stored
    """
    n_transitions = max(buffer_size // n_envs, 1) * n_envs
    n_observations = 1 if optimize_memory_usage else 2
    scalars = 3 * FLOAT  # reward, done, timeout
    return n_transitions * (n_observations * observation_bytes(observation_space) + _stored_action(action_space) + scalars)


def transitions_bytes(
    observation_space: spaces.Space, action_space: spaces.Space, n_transitions: int, n_steps: int = 1
) -> int:
    """
    Size of a task's :class:`~sb3_nbsp.rehearsal.memory.Transitions`, in bytes.

    :param observation_space: as the model sees it
    :param action_space: the model's
    :param n_transitions: number of transitions
    :param n_steps: n of n-step returns
    """
    scalars = 2 * FLOAT + 2 * n_steps * FLOAT  # done, discount; a reward and its weight for each step
    return n_transitions * (2 * observation_bytes(observation_space) + _stored_action(action_space) + scalars)


def clones_bytes(observation_space: spaces.Space, n_observations: int, n_outputs: int) -> int:
    """
    Size of a task's :class:`~sb3_nbsp.rehearsal.memory.Clones`, in bytes: float64 is kept as float32.

    :param observation_space: as the model sees it
    :param n_observations: number of observations
    :param n_outputs: numbers that are kept beside each
    """
    return n_observations * (observation_bytes(observation_space, float64=FLOAT) + n_outputs * FLOAT)


def scoring_bytes(observation_space: spaces.Space, scoring_steps: int) -> int:
    """
    Size of the steps that neurons are scored on, in bytes: each with its next observation, for a moment twice.

    :param observation_space: as the model sees it
    :param scoring_steps: number of steps
    """
    return 4 * scoring_steps * observation_bytes(observation_space)


def rollout_buffer_bytes(observation_space: spaces.Space, action_space: spaces.Space, n_steps: int, n_envs: int = 1) -> int:
    """
    Size of SB3's rollout buffers, in bytes. While they are learned from, one of the arrays is held twice for a moment.

    :param observation_space: as the model sees it
    :param action_space: the model's
    :param n_steps: steps of each sub-env in a rollout
    :param n_envs: number of sub-envs
    """
    scalars = 6 * FLOAT  # reward, return, episode start, value, log probability, advantage
    action = get_action_dim(action_space) * _item(action_space)
    return n_steps * n_envs * (observation_bytes(observation_space) + action + scalars)


def check_footprint(parts: Sequence[Part], memory: int | None = None) -> str:
    """
    Say what a run takes, and refuse what cannot fit.

    The sum is compared with *all* of the machine's memory, not with what is free: what a resumed run has loaded already
    would count twice, and what other programs take changes within hours of training.

    :param parts: what the run takes
    :param memory: bytes of the machine, by default :func:`machine_memory`
    :return: a sentence
    :raises MemoryError: if the parts are larger than the machine's memory; names every part and the arguments to lower
    """
    memory = machine_memory() if memory is None else memory
    parts = [part for part in parts if part.n_bytes > 0]  # what is switched off is not worth a word
    sizes = ", ".join(f"{part.name} {gigabytes(part.n_bytes)}" for part in parts)
    total = sum(part.n_bytes for part in parts)
    if memory is not None and total > memory:
        raise MemoryError(
            f"The run would fill {gigabytes(total)} of memory ({sizes}), but there are {gigabytes(memory)}. Lower "
            f"{' or '.join(dict.fromkeys(part.argument for part in parts))}."
        )
    return f"Memory when full: {sizes}" + ("" if memory is None else f", of {gigabytes(memory)}")


def disk_statement(parts: Sequence[Part], networks: int, folder: str | os.PathLike[str] | None = None) -> str:
    """
    Say what a checkpoint takes on disk; warn where a folder has less.

    :param parts: what the run takes in memory
    :param networks: bytes of networks and optimizers in a model's file
    :param folder: where files go, as far as is known
    :return: a sentence. Sizes are those before a model's file is deflated: images often take a few percent of theirs.
    """
    model = networks + sum(part.n_bytes for part in parts if part.argument == "memory_size")
    buffer = sum(part.n_bytes for part in parts if part.argument == "buffer_size")
    sentence = f"Disk: each saved model up to {gigabytes(model)}, deflated"
    if buffer > 0:
        sentence += f"; each saved replay buffer {gigabytes(buffer)}"
    free = None if folder is None else _free_disk(folder)
    if free is None:
        return sentence
    if model > free:
        warnings.warn(
            f"A saved model may take {gigabytes(model)} when all tasks were learned, and {folder} has {gigabytes(free)} left. "
            "Lower memory_size, or save elsewhere.",
            stacklevel=2,
        )
    return f"{sentence}; {gigabytes(free)} are free in {folder}"


def network_bytes(policy: nn.Module) -> int:
    """
    :param policy: a model's
    :return: what its networks take in a model's file, with Adam's two moments, in bytes
    """
    return 3 * sum(tensor.numel() * tensor.element_size() for tensor in policy.state_dict().values())


def tell(statements: Sequence[str], verbose: int) -> None:
    """
    :param statements: about a run that is about to start
    :param verbose: the model's; 1 or more prints them, else they are told to the package's logger
    """
    for text in statements:
        print(text) if verbose >= 1 else LOGGER.info(text)


def machine_memory() -> int | None:
    """
    :return: bytes of memory of this machine, or of the container where it is given less; ``None`` where neither psutil nor
        the operating system tells
    """
    known = [total for total in (_physical_memory(), *map(_container_limit, CONTAINER_LIMITS)) if total is not None]
    return min(known) if known else None


def gigabytes(n_bytes: int) -> str:
    """
    :param n_bytes: a size
    :return: the size for people, e.g. ``"5.6 GB"``
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 5e7 else f"{n_bytes / 1e6:.1f} MB"


def _free_disk(folder: str | os.PathLike[str]) -> int | None:
    """Bytes that are free where a folder is, or will be made."""
    path = Path(folder).absolute()
    try:
        return shutil.disk_usage(next(part for part in (path, *path.parents) if part.exists())).free
    except (OSError, StopIteration):
        return None


def _physical_memory() -> int | None:
    try:
        import psutil

        return int(psutil.virtual_memory().total)
    except ImportError:  # optional for SB3, too
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _container_limit(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # not in a container; "max"
        return None


def _stored_action(space: spaces.Space) -> int:
    """Bytes of one action in a replay buffer, where SB3 makes float64 smaller."""
    return get_action_dim(space) * (FLOAT if space.dtype == np.float64 else _item(space))


def _item(space: spaces.Space) -> int:
    return np.dtype(space.dtype).itemsize
