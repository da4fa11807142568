"""What ``sb3-nbsp train`` is given, checked before rl-zoo3 stumbles over it."""

import inspect
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import yaml

from sb3_nbsp.base.arguments import AtLeast, Is, Whole, check_values, naming
from sb3_nbsp.base.names import did_you_mean, unknown_name_message
from sb3_nbsp.base.yaml_files import load_yaml
from sb3_nbsp.common.parents_arguments import SHARED
from sb3_nbsp.zoo.algorithms import NAMESPACE
from sb3_nbsp.zoo.given_arguments import Given

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SCHEDULE = re.compile(rf"[a-z]+_{NUMBER.pattern}")


def _is_schedule(value: Any) -> bool:
    return isinstance(value, str) and SCHEDULE.fullmatch(value) is not None


def _are_classes(value: Any) -> bool:
    """rl-zoo3 takes the path of a class, a dict of one path and its arguments, or a list of these."""
    names = [
        name
        for part in (value if isinstance(value, list) else [value])
        for name in (part if isinstance(part, dict) else [part])
    ]
    return all(isinstance(name, str) and "." in name.strip(".") for name in names)


def _is_noise(value: Any) -> bool:
    return value in ("normal", "ornstein-uhlenbeck")


def _is_dict_as_text(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("dict(", "{"))


Dict = Annotated[Any, Is("a dict, or the Python text of one", lambda value: isinstance(value, dict | str))] | None
Rate = Annotated[float, AtLeast(0)] | Annotated[str, Is("a schedule such as lin_0.001", _is_schedule)]
Classes = Annotated[Any, Is("the path of a class, e.g. package.module.Class, or a list of such", _are_classes)] | None
# What rl-zoo3 itself reads in its files and in -params.
SETTINGS: dict[str, Any] = {
    "policy": SHARED["policy"],
    "n_timesteps": Annotated[float, AtLeast(1)],
    "n_envs": Annotated[int, Whole(1, "envs")],
    "frame_stack": Annotated[int, Whole(1, "frames")],
    "normalize": bool
    | Annotated[dict, Is("a dict", lambda value: isinstance(value, dict))]
    | Annotated[str, Is("the Python text of a dict, e.g. dict(norm_reward=False)", _is_dict_as_text)],
    "noise_type": Annotated[str, Is("'normal' or 'ornstein-uhlenbeck'", _is_noise)] | None,
    "callback": Classes,
    "env_wrapper": Classes,
    "vec_env_wrapper": Classes,
    "learning_rate": Rate,
    "clip_range": Rate,
    "policy_kwargs": Dict,
    "replay_buffer_kwargs": Dict,
}
OTHER_SETTINGS = ("env_kwargs", "monitor_kwargs", "noise_std")  # which may be anything


def read_numbers(settings: dict[str, Any]) -> None:
    """
    :param settings: as rl-zoo3 read them; text that is a number becomes one (YAML takes 1e-3 for text)
    """
    for name, value in settings.items():
        if isinstance(value, str) and NUMBER.fullmatch(value):
            settings[name] = float(value) if set(value) & set(".eE") else int(value)


def check_names(settings: Mapping[str, Any], algorithm: type[Any]) -> None:
    """
    :param settings: of rl-zoo3's files and of ``-params``
    :param algorithm: whose constructor gets what rl-zoo3 does not take for itself
    :raises ValueError: for a name that neither knows
    """
    known = [name for name in inspect.signature(algorithm).parameters if name not in ("env", "_init_setup_model")]
    for name in settings:
        if name not in known and name not in SETTINGS and name not in OTHER_SETTINGS:
            raise ValueError(
                unknown_name_message(f"argument of {algorithm.__name__}", name, [*known, *SETTINGS, *OTHER_SETTINGS])
            )


def check_settings(settings: Mapping[str, Any]) -> None:
    """
    :param settings: of rl-zoo3's file and of ``-params``
    :raises ValueError: names the first that rl-zoo3 cannot use
    """
    if "policy" not in settings:
        raise ValueError(f"policy must be {SHARED['policy'].__metadata__[0]}; the settings have none. Add it.")
    check_values(SETTINGS, settings)
    if settings.get("noise_type") and "noise_std" not in settings:
        raise ValueError("noise_type needs noise_std, the noise's standard deviation, beside it.")


def check_length(settings: dict[str, Any], steps: int) -> None:
    """
    :param settings: of rl-zoo3's file and of ``-params``; rl-zoo3 wants a length there, also where ``-n`` gives another
    :param steps: those that ``-n`` gives, else 0 or less
    :raises ValueError: if nobody says how long to train
    """
    if steps > 0:
        settings.setdefault("n_timesteps", steps)
    if "n_timesteps" not in settings:
        raise ValueError("n_timesteps, the number of env steps, must be in the settings or be given with -n; got neither.")


def check_arguments(given: Given) -> None:
    """
    :param given: on the command line
    :raises ValueError: for an env that is not registered, and for a device or a file that cannot be used
    """
    env, conf_file, model = given.get("env"), given.get("conf_file"), given.get("trained_agent")
    if env is not None and not given.get("gym_packages"):  # else rl-zoo3 looks, when they are imported
        check_env(env)
    with naming("--device"):
        check_values({"device": SHARED["device"]}, {"device": given.get("device", "auto")})
    if conf_file is not None:
        check_settings_file(conf_file)
    if model and not (model.endswith(".zip") and Path(model).is_file()):
        raise ValueError(f"-i must be the zip file of a model; got {model!r}, which is none.")


def check_env(name: str) -> None:
    """
    :param name: id of an env
    :raises ValueError: for one that is not registered, and can come from no module that the id names
    """
    if name in gym.registry or ":" in name:
        return
    # Many begin without the namespace.
    short = {env_id.rpartition("/")[2]: env_id for env_id in sorted(gym.registry, key=lambda env_id: NAMESPACE in env_id)}
    hint = did_you_mean(name.rpartition("/")[2], short, written=short)
    raise ValueError(" ".join(filter(None, [f"Unknown env {name!r}.", hint, "`sb3-nbsp envs` lists task sequences."])))


def check_settings_file(path: str) -> None:
    """
    :param path: what ``--conf-file`` names; a module or a Python file is left to rl-zoo3
    :raises ValueError: if it is no YAML file with settings by env
    """
    if not path.endswith((".yml", ".yaml")):
        if path.endswith(".py") and not Path(path).is_file():
            raise ValueError(f"--conf-file {path} is no file.")
        return
    try:
        content = load_yaml(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"--conf-file {path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(settings, dict) for settings in content.values()):
        raise ValueError(
            f"--conf-file {path} must hold settings by name of the env, as the files in hyperparams/ do; got {content!r}."
        )


def check_algorithm(path: str | Path, algo: str) -> None:
    """
    :param path: a model's file
    :param algo: key of a plain SB3 algorithm that shall go on with it
    :raises ValueError: if one of our algorithms saved it
    """
    with zipfile.ZipFile(path) as archive:
        data = json.loads(archive.read("data"))
    if "skill_fraction" in data:
        raise ValueError(f"{path} was saved by an NBSP algorithm, not by {algo}: --algo nbsp{algo}.")
