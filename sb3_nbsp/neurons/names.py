"""The names of a policy's layers, by which masks and scores are saved."""

import torch as th
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from torch import nn

NATURE_CNN = {"cnn": "0", "linear": "1"}  # its two parts, one after the other


def parameter_names(policy: nn.Module) -> dict[th.Tensor, str]:
    """
    Name the parameters that are learned. What is registered under several names has its first one.

    :param policy: an SB3 policy
    :return: by parameter; those of target networks are left out
    """
    names: dict[th.Tensor, str] = {}
    for path, module in module_names(policy):
        for name, parameter in module.named_parameters(recurse=False):
            names.setdefault(parameter, f"{path}.{name}" if path else name)
    return names


def module_names(policy: nn.Module) -> list[tuple[str, nn.Module]]:
    """
    :param policy: an SB3 policy
    :return: path and module, in the order of their registration, some more than once; without target networks
    """
    found: list[tuple[str, nn.Module]] = []
    # Where they are not shared, PPO's features extractor of the policy is registered under the name of the shared one too.
    is_double = hasattr(policy, "pi_features_extractor") and not getattr(policy, "share_features_extractor", True)
    passed_over = "features_extractor" if is_double else ""

    def visit(path: str, module: nn.Module, is_root: bool = False) -> None:
        found.append((path, module))
        for name, child in module._modules.items():
            if child is not None and not (is_root and (name.endswith("_target") or name == passed_over)):
                visit(_child_path(path, module, name), child)

    visit("", policy, is_root=True)
    return found


def _child_path(path: str, module: nn.Module, name: str) -> str:
    if isinstance(module, NatureCNN):
        name = NATURE_CNN.get(name, name)
    elif name == "_orig_mod" or (isinstance(module, CombinedExtractor) and name == "extractors"):
        return path  # a compiled module; a dictionary of parts
    return f"{path}.{name}" if path else name
