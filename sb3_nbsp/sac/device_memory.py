"""How much of a GPU's memory SAC agents take that learn in one program, computed before they do."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch as th

from sb3_nbsp.sac.mirrored_rows import mirror_bytes
from sb3_nbsp.sac.noise_ahead import NOISE_STEPS

# What CUDA's libraries take while a graph is made and run: matrix products have a workspace in the stream of training and one
# in that of the capture (32 MiB each on Hopper, less elsewhere).
WORKSPACES = 2 * 32 * 2**20
SMALL = 8 * 2**20  # bytes that torch's allocator keeps beyond what is asked of it, in its pools of small and of large tensors


@dataclass(frozen=True)
class Shape:
    """
    What decides how much memory agents take.

    :param n_agents: P
    :param n_observed: O, numbers of an observation
    :param n_actions: A
    :param actor: widths of the actor's hidden layers
    :param critic: widths of a critic's hidden layers
    :param n_critics: n
    :param batch_size: B
    :param n_old: K, old observations that are cloned on beside each batch
    :param n_masks: 1 where parameters may be held, else 0
    :param entry: bytes of a number
    """

    n_agents: int
    n_observed: int
    n_actions: int
    actor: tuple[int, ...]
    critic: tuple[int, ...]
    n_critics: int
    batch_size: int
    n_old: int = 0
    n_masks: int = 1
    entry: int = 4


def shape_of(models: Sequence[Any]) -> Shape:
    """
    :param models: agents that can be computed together
    :return: what decides how much memory they take
    """
    first = models[0]
    actor, critic = (
        [layer.out_features for layer in mlp if hasattr(layer, "out_features")]
        for mlp in (first.actor.latent_pi, first.critic.q_networks[0])
    )
    return Shape(
        n_agents=len(models),
        n_observed=int(np.prod(first.observation_space.shape)),
        n_actions=int(np.prod(first.action_space.shape)),
        actor=tuple(actor),
        critic=tuple(critic[:-1]),
        n_critics=len(first.critic.q_networks),
        batch_size=first.batch_size,
        n_old=first.clone_batch_size if any(model.cloning.is_wanted for model in models) else 0,
        n_masks=int(any(model.skill_fraction > 0 for model in models)),
        entry=next(first.policy.parameters()).element_size(),
    )


def n_parameters(sizes: Sequence[int]) -> int:
    """
    :param sizes: numbers of inputs, of every layer's neurons, of outputs
    :return: weights and biases of an MLP
    """
    return sum((before + 1) * after for before, after in pairwise(sizes))


def stack_bytes(shape: Shape) -> int:
    """
    Parameters of actor, critics and target critics; of what is learned, Adam's gradients and two moments, and with masks two
    factors and a copy of each.

    :param shape: of the agents
    """
    learned, target = _n_learned_and_target(shape)
    return shape.n_agents * (learned * (1 + 3 + 3 * shape.n_masks) + target) * shape.entry


def own_bytes(shape: Shape) -> int:
    """
    What is in memory of the agents' own: the masks' factors, and parameters and moments before and after, and for a moment
    when they are saved.

    :param shape: of the agents
    """
    learned, target = _n_learned_and_target(shape)
    return shape.n_agents * (learned * (3 + shape.n_masks) + target) * shape.entry


def _n_learned_and_target(shape: Shape) -> tuple[int, int]:
    actor = n_parameters((shape.n_observed, *shape.actor, 2 * shape.n_actions))
    critics = shape.n_critics * n_parameters((shape.n_observed + shape.n_actions, *shape.critic, 1))
    return actor + critics, critics


def batch_bytes(shape: Shape) -> int:
    """
    A batch of each agent, with what is computed on its way through the networks (:class:`AgentBatches`).

    :param shape: of the agents
    """
    s, drawn, learned = shape, shape.n_old + 2 * shape.batch_size, shape.n_old + shape.batch_size
    inputs = s.n_observed + s.n_actions
    read = inputs * (s.batch_size + drawn) + 2 * s.batch_size
    passed = (sum(s.actor) + 2 * s.n_actions) * (drawn + learned) + 2 * s.n_critics * (sum(s.critic) + 1) * s.batch_size
    distribution = s.n_actions * (2 * drawn + 4 * 2 * s.batch_size + 2 * s.n_old) + 2 * s.batch_size
    return s.n_agents * (read + passed + distribution) * s.entry


def passing_bytes(shape: Shape) -> int:
    """
    The rows of the replay buffers that batches are taken from, and the noise that is drawn ahead.

    :param shape: of the agents
    """
    s = shape
    rows = s.batch_size * (2 * s.n_observed + s.n_actions + 2) + s.n_old * (s.n_observed + 2 * s.n_actions)
    return s.n_agents * (rows + NOISE_STEPS * 2 * s.batch_size * s.n_actions) * s.entry


def clone_bytes(models: Sequence[Any]) -> int:
    """
    :param models: the agents
    :return: bytes of the old observations that they are held to at the end of their sequences, for a moment twice
    """
    first = models[0]
    width = int(np.prod(first.observation_space.shape)) + 2 * int(np.prod(first.action_space.shape))
    entry = next(first.policy.parameters()).element_size()
    rows = sum(
        int(m.memory_size) * len({task for task, _ in m.position.record["visits"]}) for m in models if m.cloning.is_wanted
    )
    return 2 * rows * width * entry


def parts_of(models: Sequence[Any], has_mirror: bool, outside: int) -> dict[str, int]:
    """
    :param models: the agents
    :param has_mirror: whether their replay buffers are mirrored on the device
    :param outside: bytes that CUDA and other programs take already, see :func:`taken_outside`
    :return: bytes by what takes them; the sum is what the device has less of while they learn
    """
    shape = shape_of(models)
    mirror = mirror_bytes(models, shape.entry) + clone_bytes(models) if has_mirror else 0
    return {
        "CUDA and other programs": outside + WORKSPACES + SMALL,
        "networks and optimizers": stack_bytes(shape) + own_bytes(shape),
        "batches": batch_bytes(shape) + passing_bytes(shape),
        "replay buffers and memories": mirror,
    }


def taken_outside(device: th.device) -> int:
    """
    :param device: a CUDA device that is in use
    :return: bytes of its memory that are no tensors of this process: CUDA's own context, and other programs
    """
    free, total = th.cuda.mem_get_info(device)
    return int(total - free - th.cuda.memory_reserved(device))


def statement(parts: dict[str, int], device: th.device) -> str:
    """
    :param parts: see :func:`parts_of`
    :param device: whose memory it is
    :return: a line that says it
    """
    told = ", ".join(f"{name} {n_bytes / 1e9:.2f}" for name, n_bytes in parts.items() if n_bytes)
    return f"Memory of {device}: {sum(parts.values()) / 1e9:.2f} GB while they learn ({told})."
