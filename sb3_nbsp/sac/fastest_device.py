"""``device="fastest"``: where an agent learns fastest, by a rule."""

from collections.abc import Mapping
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import CnnPolicy, MultiInputPolicy, SACPolicy
from torch import nn

from sb3_nbsp.common.activation_functions import ACTIVATIONS
from sb3_nbsp.sac.fast_update_conditions import ADAM_OPTIONS, changed_class


def fastest_device(arguments: Mapping[str, Any]) -> str:
    """
    The rule, from what was measured (docs/performance.md): a CUDA device, where there is one, if the gradient step is one
    captured program there (some 2,000 steps per second with two layers of 256 on an H100) or networks are convolutional; else
    the CPU, since hundreds of small operations wait for each other on a GPU (73 steps per second there with SB3's update).

    :param arguments: of NBSPSAC's constructor
    :return: ``"cuda"`` or ``"cpu"``
    """
    policy = arguments["policy"]
    policy = SAC.policy_aliases.get(policy, policy) if isinstance(policy, str) else policy
    if not th.cuda.is_available() or not isinstance(policy, type):
        return "cpu"
    is_one_program = arguments["fast_update"] is not False and _is_plain(policy, arguments)
    return "cuda" if is_one_program or issubclass(policy, CnnPolicy) else "cpu"


def _is_plain(policy: type, arguments: Mapping[str, Any]) -> bool:
    """
    Whether ``find_stack_obstacle`` will find nothing, as far as arguments tell: the model is not there yet.

    :param policy: its class
    :param arguments: of the constructor
    """
    given = arguments.get("policy_kwargs") or {}
    arch = given.get("net_arch")
    widths = [arch.get("pi"), arch.get("qf")] if isinstance(arch, dict) else [arch]
    options = given.get("optimizer_kwargs") or {}
    space = getattr(arguments.get("env"), "observation_space", None)  # None: an env that is told by its name
    return (
        not any(changed_class(policy, SACPolicy))
        and not issubclass(policy, CnnPolicy | MultiInputPolicy)
        and not (arguments["use_sde"] or arguments.get("clone_target") == "skill_neurons")
        and given.get("activation_fn", nn.ReLU) in ACTIVATIONS
        and given.get("features_extractor_class", FlattenExtractor) is FlattenExtractor
        and given.get("optimizer_class", th.optim.Adam) is th.optim.Adam
        and all(options.get(name, value) == value for name, value in ADAM_OPTIONS.items())
        and all(part is None or len(part) > 0 for part in widths)
        and (space is None or (isinstance(space, spaces.Box) and not is_image_space(space)))
    )
