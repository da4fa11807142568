"""
Settings that a run left in ``args.yml`` and ``config.yml``, read without running what stands there.

rl-zoo3 writes Python objects into these files, reads them with a loader that makes any object, evaluates ``normalize`` as
Python, and imports and calls whatever ``env_wrapper`` names. A run may have come from somebody else (``sb3-nbsp pull``): so
only plain values, tuples and ordered dicts are made here, ``normalize`` may be ``dict(...)`` of constants, and wrappers must
be wrappers, of well-known packages or of those that ``--gym-packages`` names.
"""

import ast
import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import yaml
from stable_baselines3.common.vec_env import VecEnvWrapper

PACKAGES = (
    "ale_py",
    "gymnasium",
    "metaworld",
    "minigrid",
    "rl_zoo3",
    "sb3_contrib",
    "sb3_nbsp",
    "shimmy",
    "stable_baselines3",
)
TAG = "tag:yaml.org,2002:python/"


class NotRead(str):
    """What stood in a file and was not made: a Python object, called by its tag."""


class RunLoader(yaml.SafeLoader):
    """YAML's safe loader, with the tuples and ordered dicts that rl-zoo3 writes; other Python objects are :class:`NotRead`."""


def _tuple(loader: RunLoader, node: yaml.Node) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node, deep=True))  # type: ignore[arg-type]


def _ordered_dict(loader: RunLoader, node: yaml.Node) -> dict[Any, Any]:
    if not isinstance(node, yaml.SequenceNode):
        raise yaml.constructor.ConstructorError(None, None, "expected the entries of an ordered dict", node.start_mark)
    arguments = loader.construct_sequence(node, deep=True)
    return {key: value for key, value in arguments[0]} if arguments else {}


RunLoader.add_constructor(f"{TAG}tuple", _tuple)
RunLoader.add_constructor(f"{TAG}object/apply:collections.OrderedDict", _ordered_dict)
RunLoader.add_multi_constructor(TAG, lambda _loader, suffix, _node: NotRead(suffix))


def read_run_yaml(source: Any, *_args: Any, **_kwargs: Any) -> Any:
    """
    :param source: text, or an open file
    :return: its values, :class:`NotRead` in place of Python objects
    :raises ValueError: if it is no YAML
    """
    try:
        return yaml.load(source, Loader=RunLoader)  # a safe loader
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ValueError(f"Expected YAML in {getattr(source, 'name', 'the settings')}, got {error}") from error


# In place of the module yaml where rl-zoo3 reads what a run left
SAFE_YAML = SimpleNamespace(**{**vars(yaml), "load": read_run_yaml})


def check_made(settings: dict[str, Any], where: str) -> None:
    """
    :param settings: e.g. arguments of an env
    :param where: what they are, for the message
    :raises ValueError: where one of them is a Python object, or holds one, which was not made
    """
    for name, value in settings.items():
        for found in not_read(value):
            how = "is" if found is value else "holds"
            raise ValueError(f"{where}: {name} {how} a Python object ({found}), which is not read from a run's files")


def not_read(value: Any) -> list[NotRead]:
    """
    :param value: as :func:`read_run_yaml` read it
    :return: the Python objects in it that were not made, however deep they lie
    """
    if isinstance(value, Mapping | list | tuple):
        return [found for part in (value.values() if isinstance(value, Mapping) else value) for found in not_read(part)]
    return [value] if isinstance(value, NotRead) else []


def saved_hyperparams(
    stats_path: str, norm_reward: bool, test_mode: bool, packages: Iterable[str] = ()
) -> tuple[dict[str, Any], str | None]:
    """
    What rl-zoo3's ``get_saved_hyperparams`` does with the same first arguments.

    :param stats_path: the folder of a run's settings
    :param norm_reward: whether rewards are normalised
    :param test_mode: whether that counts more than what the run had
    :param packages: that wrappers may come from, beside the well-known ones
    :return: the run's settings, and the folder of its statistics
    :raises ValueError: for settings that are none, and for wrappers from anywhere else
    """
    folder = Path(stats_path)
    if not folder.is_dir():
        return {}, None
    config = folder / "config.yml"
    hyperparams: dict[str, Any] = {"normalize": (folder / "obs_rms.pkl").is_file()}
    if config.is_file():
        with config.open() as file:
            read = read_run_yaml(file)
        if not isinstance(read, dict):
            raise ValueError(f"Expected settings in {config}, got {read!r}")
        hyperparams = {**read, "normalize": read.get("normalize", False)}
    allowed = {*PACKAGES, *(name.partition(".")[0] for name in packages)}
    for key, kind in (("env_wrapper", gym.Wrapper), ("vec_env_wrapper", VecEnvWrapper)):
        _check_wrappers(hyperparams.get(key), kind, allowed, f"{key} in {config}")
    if normalize := hyperparams["normalize"]:
        arguments = {"norm_obs": normalize, "norm_reward": norm_reward}
        if isinstance(normalize, str):
            arguments = {**_constants(normalize, config), **({"norm_reward": norm_reward} if test_mode else {})}
        hyperparams["normalize_kwargs"] = normalize if isinstance(normalize, dict) else arguments
    return hyperparams, stats_path


def _constants(text: str, where: Path) -> dict[str, Any]:
    """``dict(a=1)``, ``{"a": 1}`` or a constant, of which rl-zoo3 takes text for Python."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
            return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
        value = ast.literal_eval(node)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"Expected normalize as true or as dict(name=constant, ...) in {where}, got {text!r}") from error
    return value if isinstance(value, dict) else {"norm_obs": bool(value)}


def _check_wrappers(given: Any, kind: type, allowed: set[str], where: str) -> None:
    for entry in given if isinstance(given, list) else [] if given is None else [given]:
        name = next(iter(entry)) if isinstance(entry, dict) and len(entry) == 1 else entry
        module, _, attribute = name.rpartition(".") if isinstance(name, str) else ("", "", "")
        if isinstance(name, NotRead) or not module or module.partition(".")[0] not in allowed:
            raise ValueError(
                f"Expected {where} of one of the packages {', '.join(sorted(allowed))}, got {name!r}. If you trust it, name "
                "its package: --gym-packages PACKAGE"
            )
        wrapper = getattr(importlib.import_module(module), attribute, None)
        if not (isinstance(wrapper, type) and issubclass(wrapper, kind)):
            raise ValueError(f"Expected {where} to be a {kind.__name__}, got {name!r}")
