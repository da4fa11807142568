"""Numbers that are none: NaN and infinity, found and named."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.save_util import recursive_getattr


class NotFiniteError(ValueError):
    """A NaN or an infinite number, with which learning cannot go on."""


def all_finite(values: Any) -> bool:
    """
    :param values: an array, or a dict of arrays; whole numbers (images) are not looked at, which costs nothing
    :return: whether none is NaN or infinite
    """
    if isinstance(values, Mapping):
        return all(all_finite(part) for part in values.values())
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def first_not_finite(values: Any) -> tuple[str, float] | None:
    """
    :param values: a number, an array, or a dict of arrays
    :return: where the first NaN or infinite number stands, e.g. ``"[0, 3]"`` or ``"['position'][3]"`` (empty for a single
        number), and the number; ``None`` if there is none
    """
    if isinstance(values, Mapping):
        found = ((key, first_not_finite(part)) for key, part in values.items())
        return next(((f"[{key!r}]{bad[0]}", bad[1]) for key, bad in found if bad is not None), None)
    array = np.asarray(values)
    if all_finite(array):
        return None
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    return f"{list(place)}" if place else "", float(array[place])


def first_bad_tensor(tensors: Mapping[str, th.Tensor]) -> str | None:
    """
    :param tensors: by name, all on one device; it is waited for once
    :return: name of the first that holds a NaN or an infinite number; ``None`` if all are sound
    """
    floats = {name: tensor.detach() for name, tensor in tensors.items() if tensor.is_floating_point()}
    if not floats:
        return None
    sound = th.stack([tensor.isfinite().all() for tensor in floats.values()]).tolist()
    return next((name for name, is_sound in zip(floats, sound, strict=True) if not is_sound), None)


def bad_parameter(model: Any) -> str | None:
    """
    :param model: any SB3 model
    :return: name of the first parameter, of its policy or beside it (``log_ent_coef``), that holds a NaN or an infinite number
    """
    beside = {name: recursive_getattr(model, name) for name in model._get_torch_save_params()[1]}
    policy = {f"policy.{name}": value for name, value in model.policy.state_dict().items()}
    return first_bad_tensor({**policy, **{name: value for name, value in beside.items() if value is not None}})
