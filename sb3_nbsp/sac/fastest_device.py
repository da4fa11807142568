"""``device="fastest"``: where an agent learns fastest, by a rule."""

from collections.abc import Mapping
from typing import Any

import torch as th


def fastest_device(arguments: Mapping[str, Any]) -> str:
    """
    The rule, from what was measured (docs/performance.md): a CUDA device, where there is one, if the gradient step is one
    captured program there (some 2,000 steps per second with two layers of 256 on an H100) or networks are convolutional; else
    the CPU, since hundreds of small operations wait for each other on a GPU (73 steps per second there with SB3's update).

    :param arguments: of NBSPSAC's constructor
    :return: ``"cuda"`` or ``"cpu"``
    """
    if not th.cuda.is_available():
        return "cpu"
    is_mlp = arguments["policy"] == "MlpPolicy"
    one_program = is_mlp and arguments["fast_update"] is not False and not arguments["use_sde"]
    return "cuda" if one_program or arguments["policy"] == "CnnPolicy" else "cpu"
