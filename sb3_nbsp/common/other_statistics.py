"""Whether what is remembered of old tasks still looks to the networks as it did, where the env is exchanged by hand."""

import warnings
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize


def warn_of_other_statistics(model: Any, before: VecEnv | None) -> None:
    """
    Memories are kept raw and normalised when they are sampled, by what the env has then.

    :param model: an NBSP algorithm whose env was just exchanged
    :param before: the env that it had, if any
    """
    if before is None or not _remembers(model):
        return
    old, new = _that_normalizes(before), _that_normalizes(model.env)
    if old is None and new is None:
        return
    if old is None or new is None:
        having, lacking = ("new", "old") if old is None else ("old", "new")
        warnings.warn(
            f"The {having} env normalises observations (VecNormalize) and the {lacking} one does not: what is remembered of "
            "old tasks will be shown to the networks in another form than they learned it. Wrap the envs of all tasks alike, "
            "with one set of statistics: new.obs_rms = old.obs_rms, or VecNormalize.load(path, venv).",
            stacklevel=3,
        )
    elif not _same(old.obs_rms, new.obs_rms):
        warnings.warn(
            "The new env's VecNormalize has other statistics than the old one's: what is remembered of old tasks will be "
            "normalised by them, and look to the networks as it never did. Share the statistics before set_env(): "
            "new.obs_rms = old.obs_rms, or VecNormalize.load(path, venv).",
            stacklevel=3,
        )


def _remembers(model: Any) -> bool:
    cloning = getattr(model, "cloning", None)  # off-policy algorithms have it
    memories = [model.memory, None if cloning is None else cloning.memory]
    return any(memory is not None and len(memory.tasks) > 0 for memory in memories)


def _that_normalizes(env: VecEnv) -> VecNormalize | None:
    normalize = unwrap_vec_normalize(env)
    return normalize if normalize is not None and normalize.norm_obs else None


def _same(one: Any, other: Any) -> bool:
    """Whether statistics are: a running mean and variance, or one for each key of the observations."""
    if isinstance(one, dict) or isinstance(other, dict):
        both_are = isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys()
        return both_are and all(_same(one[key], other[key]) for key in one)
    return one is other or (np.array_equal(one.mean, other.mean) and np.array_equal(one.var, other.var))
