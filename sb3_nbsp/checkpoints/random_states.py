"""The streams of random numbers that a training draws from."""

import random
import warnings
from typing import Any

import numpy as np
import torch as th


def random_states(model: Any) -> dict[str, Any]:
    """
    :param model: any SB3 model
    :return: where Python's, NumPy's, torch's and the action space's generators stand; of a model with streams, where its own
        generator on a CUDA device stands, and the noise that it has drawn there and not used
    """
    kind, keys, *rest = np.random.get_state()
    streams = getattr(model, "streams", None)
    return {
        "python": random.getstate(),
        "numpy": [kind, keys, *rest],
        "torch": th.get_rng_state(),
        "cuda": th.cuda.get_rng_state_all() if th.cuda.is_available() and th.cuda.is_initialized() else [],
        "on_device": None if streams is None else streams.on_device_state(),
        "ahead": None if streams is None else streams.ahead(),
        "action_space": model.action_space.np_random.bit_generator.state,
    }


def restore_random_states(model: Any, states: dict[str, Any]) -> None:
    """Let the generators stand there again."""
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(states["numpy"]))
    th.set_rng_state(th.as_tensor(states["torch"]))
    _restore_on_devices([th.as_tensor(state) for state in states["cuda"]])
    streams = getattr(model, "streams", None)
    if streams is not None:  # earlier versions kept nothing of them
        if states.get("on_device") is not None:
            streams.restore_on_device(th.as_tensor(states["on_device"]))
        streams.left_over = None if states.get("ahead") is None else th.as_tensor(states["ahead"])
    model.action_space.np_random.bit_generator.state = states["action_space"]


def _restore_on_devices(states: list[th.Tensor]) -> None:
    """Of the GPUs that are there."""
    there = th.cuda.device_count() if th.cuda.is_available() else 0
    for device, state in enumerate(states[:there]):
        th.cuda.set_rng_state(state, device)
    if len(states) > there:
        warnings.warn(
            f"The checkpoint was written with {len(states)} CUDA devices, {there} are there now: random numbers drawn on "
            "the others do not go on.",
            stacklevel=2,
        )
