"""What a buffer, and the env that fills it, must be able to do where something is kept of old tasks."""

import logging
import warnings
from collections.abc import Callable
from typing import Any

from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

from sb3_nbsp.common.other_statistics import that_normalizes

LOGGER = logging.getLogger(__name__)


def check_buffer(model: Any, replayed_size: int) -> None:
    """
    :param model: an off-policy NBSP model
    :param replayed_size: transitions that are kept per old task
    :raises ValueError: where its replay buffer cannot be carried over a task switch; says what to do
    """
    if isinstance(model.replay_buffer, HerReplayBuffer):
        raise ValueError(
            "HerReplayBuffer relabels goals through the one env that it was made with and cannot be carried over a "
            "task switch. Use the default replay buffer."
        )
    if model.optimize_memory_usage and replayed_size > 0:
        raise ValueError(
            "optimize_memory_usage=True stores no next observations, so transitions cannot be carried over a task "
            'switch. Use optimize_memory_usage=False, rehearsal="clone", or memory_size=0.'
        )
    _check_memory_is_there(model)


def check_memory(model: Any, replayed_size: int) -> None:
    """
    :param model: an off-policy NBSP model that shall learn
    :param replayed_size: transitions that are kept per old task
    :raises ValueError: where what is kept of old tasks does not fit its arguments, which may be others than those that it was
        kept with: what is cloned, or transitions over several steps, whose discounts its replay buffer would drop
    """
    model.cloning.check_memory()
    _warn_of_other_memory(model, replayed_size)
    if replayed_size == 0 or model.memory is None or isinstance(model.replay_buffer, NStepReplayBuffer):
        return
    n_steps = max((samples.rewards.shape[1] for samples in model.memory.tasks.values()), default=1)
    if n_steps > 1:
        raise ValueError(
            f"The memory of old tasks holds transitions over {n_steps} steps, and {type(model.replay_buffer).__name__} cannot "
            f"discount them. Make the model with n_steps={n_steps}, or any number above 1."
        )


def _warn_of_other_memory(model: Any, replayed_size: int) -> None:
    """Of tasks that were kept for another way to rehearse them than the one that is asked for now."""
    wanted = {"replay": replayed_size > 0, "clone": model.cloning.is_wanted}
    memories = {"replay": model.memory, "clone": model.cloning.memory}
    has = {way: memory is not None and len(memory.tasks) > 0 for way, memory in memories.items()}
    for way, other in (("replay", "clone"), ("clone", "replay")):
        if wanted[way] and has[other] and not has[way]:
            warnings.warn(
                f"What is kept of {', '.join(model.learned_tasks)} is for rehearsal={other!r}, and nothing of them for "
                f"{way!r}, which rehearsal={model.rehearsal!r} asks for: they are not rehearsed that way. Use the rehearsal "
                "that they were learned with, or go on without.",
                stacklevel=4,
            )


def check_rollout_buffer(model: Any) -> None:
    """
    :param model: an on-policy NBSP model
    :raises ValueError: where its rollouts cannot be remembered; says what to do
    """
    _check_memory_is_there(model)
    check_wrappers_order(model)


def _check_memory_is_there(model: Any) -> None:
    if model.memory_size > 0 and model.memory is None:
        name, ours = model.buffer_name, next(iter(model.mixed_buffers.values()))
        raise ValueError(
            f"{type(getattr(model, name)).__name__} keeps nothing of old tasks. Use {name}_class=None, a class derived from "
            f"{ours.__name__}, or memory_size=0."
        )


def check_wrappers_order(model: Any) -> None:
    """
    :param model: an on-policy NBSP model
    :raises ValueError: where observations that are not normalised yet, which the memory keeps, are not what the networks take
    """
    normalize = that_normalizes(model.env)
    if normalize is None or model.memory_size == 0 or model.memory is None:
        return
    if normalize.observation_space != model.observation_space:
        raise ValueError(
            "The memory keeps observations as they are before VecNormalize, but a wrapper outside it changes them further "
            f"(from {normalize.observation_space} to {model.observation_space}). Put VecNormalize outermost, e.g. "
            "VecNormalize(VecFrameStack(env, 4)), or use norm_obs=False or memory_size=0."
        )


def say_what_is_refused(check_supported: Callable[[], None]) -> None:
    """
    Say before training what ``consolidate()`` will refuse. By hand it may never be called, and SB3's own tests hold that such
    models learn without a warning: it is a line in the log, which Python shows however quiet the model is.

    :param check_supported: the model's
    """
    try:
        check_supported()
    except ValueError as error:
        LOGGER.warning("consolidate() will not be possible with this model. %s", error)


def warn_of_nothing_to_rehearse() -> None:
    """Say why a task that ends leaves nothing to rehearse, and what to do."""
    warnings.warn(
        "No transition of the task that ends is at hand, so none of them can be rehearsed. A model's file holds no "
        "replay buffer: call load_replay_buffer() before consolidate() (with save_replay_buffer() where the model is "
        "saved), or learn() on the task first. memory_size=0 switches the memory off.",
        stacklevel=3,
    )
