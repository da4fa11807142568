"""
A run that a command opens: its settings, its env, and the modules that register the env.

What ``--gym-packages`` named when a run was trained stands in its ``args.yml`` and is imported again, so that nobody has to
repeat it. A run from the Hub names modules, too, and somebody else wrote them down: those are told, not imported.
"""

import argparse
import importlib
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import rl_zoo3
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.zoo.find_agents import AgentParser
from sb3_nbsp.zoo.judged_actions import deterministic_for
from sb3_nbsp.zoo.run_folders import latest_run_id
from sb3_nbsp.zoo.run_settings import check_made, read_run_yaml, saved_hyperparams
from sb3_nbsp.zoo.train_checks import check_env

FROM_HUB = "env_kwargs.yml"  # every download writes it beside args.yml, and no training does


def run_arguments(saved: Path) -> dict[str, Any]:
    """
    :param saved: the folder of a run's settings, RUN/ENV
    :return: the arguments that it was trained with; Python objects are not made; empty without ``args.yml``
    :raises ValueError: if the file holds something else
    """
    file = saved / "args.yml"
    told = read_run_yaml(file.read_text()) if file.is_file() else {}
    if not isinstance(told, dict):
        raise ValueError(f"Expected the arguments of a run in {file}, got {told!r}")
    return told


def env_kwargs_of(saved: Path, hyperparams: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    :param saved: the folder of a run's settings
    :param hyperparams: of its ``config.yml``, whose ``env_kwargs`` count where the command line gave none
    :return: arguments of the run's env
    :raises ValueError: if one of them is a Python object
    """
    kwargs = run_arguments(saved).get("env_kwargs") or (hyperparams or {}).get("env_kwargs") or {}
    if not isinstance(kwargs, dict):
        raise ValueError(f"Expected env_kwargs by name in {saved}, got {kwargs!r}")
    check_made(kwargs, f"env_kwargs in {saved}")
    return dict(kwargs)


def read_hyperparams(
    packages: Collection[str], stats_path: str, norm_reward: bool = False, test_mode: bool = False
) -> tuple[dict[str, Any], str | None]:
    """
    In place of rl-zoo3's ``get_saved_hyperparams``, whose arguments stand behind ours.

    :param packages: from which wrappers may come, beside the well-known ones and those of a run of one's own
    :param stats_path: the folder of a run's settings
    :param norm_reward: whether rewards are normalised
    :param test_mode: whether that counts more than what the run had
    :return: the run's settings, and the folder of its statistics
    """
    return saved_hyperparams(stats_path, norm_reward, test_mode, [*packages, *packages_of(Path(stats_path))])


def open_env(env_id: str, saved: Path, env_kwargs: dict[str, Any], seed: int, packages: Collection[str] = ()) -> VecEnv:
    """
    :param env_id: id of the env
    :param saved: the folder of a run's settings
    :param env_kwargs: arguments of the env
    :param seed: of the env
    :param packages: see :func:`read_hyperparams`
    :return: one env as the run had it, with its wrappers and statistics
    """
    hyperparams, statistics = read_hyperparams(packages, str(saved), test_mode=True)
    hyperparams.pop("env_kwargs", None)
    settings: dict[str, Any] = {"hyperparams": hyperparams, "env_kwargs": env_kwargs}
    return rl_zoo3.create_test_env(env_id, 1, statistics, seed, log_dir=None, should_render=False, **settings)


def is_from_hub(saved: Path) -> bool:
    """
    :param saved: the folder of a run's settings
    :return: whether a download wrote it
    """
    return (saved / FROM_HUB).exists()


def packages_of(saved: Path) -> list[str]:
    """
    :param saved: the folder of a run's settings
    :return: the modules after its ``--gym-packages``; none of a run from the Hub
    """
    return [] if is_from_hub(saved) else _named_packages(saved)


def import_packages(given: Iterable[str], saved: Path) -> list[str]:
    """
    Import the modules that register a run's env.

    :param given: those that the command line names
    :param saved: the folder of the run's settings
    :return: what was imported
    :raises ImportError: names the one that cannot be
    """
    given = list(given)
    names = list(dict.fromkeys([*given, *packages_of(saved)]))
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            whose = "" if name in given else f", with which the run in {saved.parent} was trained,"
            where = "Start the command in the folder that holds it, or install it."
            raise ImportError(f"--gym-packages {name}{whose} cannot be imported: {error}. {where}") from error
    return names


def check_run_env(env_id: str, saved: Path) -> None:
    """
    :param env_id: id of a run's env
    :param saved: the folder of the run's settings
    :raises ValueError: if it is not registered; where a run from the Hub names modules, they are told
    """
    module, colon, _ = env_id.partition(":")
    if colon and module not in sys.modules:  # Gymnasium would import it
        raise ValueError(f"The env {env_id!r} lies in {module}. If you trust it, name it: --gym-packages {module}")
    try:
        check_env(env_id)
    except ValueError as error:
        named = " ".join(_named_packages(saved))
        hint = f" The run's args.yml names modules. If you trust them: --gym-packages {named}" if named else ""
        raise ValueError(f"{error}{hint}") from error


def _named_packages(saved: Path) -> list[str]:
    named = run_arguments(saved).get("gym_packages") or []
    return [str(name) for name in named if type(name) is str] if isinstance(named, list) else []


class RunParser(AgentParser):
    """The parser of a command that opens a run: its modules are imported, and the agent acts as it is judged."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """
        See argparse.

        :raises ImportError: if a module cannot be imported
        :raises ValueError: if the env is not registered
        """
        given: argparse.Namespace = super().parse_args(args, namespace)
        saved = _run_folder(given.exp_id, given.folder, given.algo, given.env) / given.env
        module, colon, _ = given.env.gym_id.partition(":")  # of my_module:My-v0
        given.gym_packages = import_packages([*given.gym_packages, *([module] if colon else [])], saved)
        check_run_env(given.env.gym_id, saved)
        given.stochastic |= not (given.deterministic or deterministic_for(given.algo, given.env.gym_id))
        return given


def _run_folder(exp_id: int, folder: str, algo: str, env: str) -> Path:
    """Where rl-zoo3 will look for the run."""
    parent = Path(folder, algo)
    number = exp_id or latest_run_id(str(parent), env)
    return parent / f"{env}_{number}" if number > 0 else parent
