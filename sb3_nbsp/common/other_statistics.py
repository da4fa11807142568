"""Whether observations look to the networks as they did in training, where an env is given by hand."""

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
    old, new = that_normalizes(before), that_normalizes(model.env)
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


def check_same_statistics(training_env: VecEnv, env: VecEnv) -> None:
    """
    :param training_env: that the model trains on
    :param env: another that its policy shall act in as it is
    :raises ValueError: where it shows observations otherwise
    """
    old, new = that_normalizes(training_env), that_normalizes(env)
    if old is None and new is None:
        return
    if old is None:
        what = "normalises observations (VecNormalize), and the training env does not"
    elif new is None:
        what = "does not normalise observations, and the training env does (VecNormalize)"
    elif not _same(old.obs_rms, new.obs_rms):
        what = "has a VecNormalize with other statistics than the training env's"
    else:
        return
    raise ValueError(
        f"The VecEnv that was given {what}: the policy would see what it never saw in training. Pass the plain Gymnasium env, "
        "which is wrapped as the training env is, or share the statistics: "
        "env.obs_rms = model.get_vec_normalize_env().obs_rms."
    )


def that_normalizes(env: VecEnv | None) -> VecNormalize | None:
    """
    :param env: a training env, or none
    :return: its ``VecNormalize``, ``None`` where there is none or it leaves observations as they are
    """
    if env is None:
        return None
    normalize = unwrap_vec_normalize(env)
    return normalize if normalize is not None and normalize.norm_obs else None


def _same(one: Any, other: Any) -> bool:
    """Whether statistics are: a running mean and variance, or one for each key of the observations."""
    if isinstance(one, dict) or isinstance(other, dict):
        both_are = isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys()
        return both_are and all(_same(one[key], other[key]) for key in one)
    return one is other or (np.array_equal(one.mean, other.mean) and np.array_equal(one.var, other.var))
