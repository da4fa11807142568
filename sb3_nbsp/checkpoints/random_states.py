"""The streams of random numbers that a training draws from."""

import random
from typing import Any

import numpy as np
import torch as th


def random_states(model: Any) -> dict[str, Any]:
    """
    :param model: any SB3 model
    :return: where Python's, NumPy's, torch's and the action space's generators stand
    """
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [kind, keys, *rest],
        "torch": th.get_rng_state(),
        "cuda": th.cuda.get_rng_state_all() if th.cuda.is_available() and th.cuda.is_initialized() else [],
        "action_space": model.action_space.np_random.bit_generator.state,
    }


def restore_random_states(model: Any, states: dict[str, Any]) -> None:
    """Let the generators stand there again."""
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    np.random.set_state(tuple(states["numpy"]))
    th.set_rng_state(th.as_tensor(states["torch"]))
    if states["cuda"] and th.cuda.is_available():
        th.cuda.set_rng_state_all([th.as_tensor(state) for state in states["cuda"]])
    model.action_space.np_random.bit_generator.state = states["action_space"]
