"""Which replay buffer a model is made with: where SB3 would choose one of its own, ours takes its place."""

import warnings
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer

from sb3_nbsp.common.parents_arguments import check_keywords
from sb3_nbsp.common.ram_estimate import check_footprint
from sb3_nbsp.rehearsal.replay_buffers import MixedDictReplayBuffer, MixedNStepReplayBuffer, MixedReplayBuffer

STANDARD = (MixedReplayBuffer, MixedDictReplayBuffer, MixedNStepReplayBuffer)
OF_STEPS = ("n_steps", "gamma")  # arguments of a buffer of several steps, which the model has, too


def make_buffer(model: Any, given: type[Any] | None) -> ReplayBuffer:
    """
    :param model: an off-policy NBSP model
    :param given: the class that its user named, one with a memory, or none
    :return: an empty buffer
    :raises ValueError: for an argument that it does not have or that the model gives it, or where it would ignore ``n_steps``
    :raises AssertionError: as SB3, where no class was named and dict observations have none of several steps
    :raises MemoryError: if it cannot fit into the machine's memory
    """
    kwargs = dict(model.replay_buffer_kwargs)
    buffer_class = _class_for(model, given)
    common = {"device": model.device, "n_envs": model.n_envs, "optimize_memory_usage": model.optimize_memory_usage}
    common |= model.memory_arguments()
    check_keywords("replay_buffer_kwargs", kwargs, buffer_class, ("buffer_size", "observation_space", "action_space", *common))
    if buffer_class is MixedNStepReplayBuffer or (issubclass(buffer_class, NStepReplayBuffer) and model.n_steps > 1):
        own = {name: getattr(model, name) for name in OF_STEPS}
        kwargs = {**own, **kwargs} if model.n_steps == 1 else {**kwargs, **own}
    try:
        buffer: ReplayBuffer = buffer_class(model.buffer_size, model.observation_space, model.action_space, **common, **kwargs)
    except MemoryError as error:  # one array is larger than the machine's memory: NumPy tells its shape only
        check_footprint(model._footprint(0)[:1])
        raise error
    if model.n_steps > 1 and getattr(buffer, "n_steps", 1) != model.n_steps:
        kind = AssertionError if given is None else ValueError  # the former is SB3's
        raise kind(
            f"n_steps={model.n_steps} needs a replay buffer of several steps, and {buffer_class.__name__} gives single ones "
            "(as all of Dict observation spaces do). Use n_steps=1, or for other observations replay_buffer_class=None or "
            "a class derived from MixedNStepReplayBuffer."
        )
    return buffer


def _class_for(model: Any, given: type[Any] | None) -> type[Any]:
    """A standard one is chosen anew: ``load()`` may have changed ``n_steps``. Who names steps beside its class keeps it."""
    if given is not None and given not in STANDARD:
        return given
    if given is MixedNStepReplayBuffer and "n_steps" in model.replay_buffer_kwargs:
        return given
    fits: type[Any] = MixedNStepReplayBuffer if model.n_steps > 1 else MixedReplayBuffer
    if isinstance(model.observation_space, spaces.Dict):
        fits = MixedDictReplayBuffer
    if given is MixedNStepReplayBuffer and fits is not given and model.n_steps == 1:  # with more, dicts are refused
        warnings.warn(
            f"replay_buffer_class=MixedNStepReplayBuffer with n_steps=1: single steps are learned from, out of a "
            f"{fits.__name__}. For several steps give their number as n_steps, or in replay_buffer_kwargs.",
            stacklevel=6,
        )
    return fits
