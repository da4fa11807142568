"""``policy_kwargs`` as settings give them: a dict, or the Python text of one."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import torch as th
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

import sb3_nbsp.baselines

NAMES: dict[str, Any] = {"th": th, "torch": th, "nn": th.nn, "RMSpropTFLike": RMSpropTFLike, "sb3_nbsp": sb3_nbsp}


def policy_kwargs_of(given: str | Mapping[str, Any], packages: Iterable[str] = ()) -> Any:
    """
    rl-zoo3 evaluates such text where a few names of torch's and SB3's are known: these, and ours.

    :param given: e.g. ``"dict(net_arch=[64, 64], activation_fn=nn.Tanh)"``
    :param packages: modules whose names the text may use as well, those of ``--gym-packages``
    :return: what the text says; of a dict a copy
    :raises ValueError: if the text cannot be evaluated
    """
    if not isinstance(given, str):
        return dict(given)
    roots = {name.partition(".")[0] for name in packages}
    known = {**NAMES, **{root: import_module(root) for root in roots}}
    try:
        return eval(given, known)
    except Exception as error:
        raise ValueError(
            f"policy_kwargs: {given!r} cannot be evaluated: {type(error).__name__}: {error}. Known there are "
            f"{', '.join(NAMES)} and the modules that --gym-packages names."
        ) from error
