"""What a suite's cells will be trained with, checked before the first one is: a mistake in it would cost every cell."""

import inspect
import io
from collections.abc import Iterable, Mapping
from contextlib import redirect_stderr
from importlib import import_module
from typing import Any

import gymnasium as gym
from rl_zoo3 import ALGOS

from sb3_nbsp.base.arguments import check_arguments, check_values, naming
from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.resolved_arguments import dropped_arguments, env_settings, environment_arguments, hyperparameters
from sb3_nbsp.common.parents_arguments import check_keywords
from sb3_nbsp.zoo.algorithms import ALGORITHMS, PARENTS, told_sequence
from sb3_nbsp.zoo.given_arguments import Given, read_arguments
from sb3_nbsp.zoo.policy_kwargs import policy_kwargs_of
from sb3_nbsp.zoo.train_checks import SETTINGS, check_env, check_names, check_settings, read_numbers
from sb3_nbsp.zoo.train_checks import check_arguments as check_arguments_of_train


def check_cells(cells: Iterable[Cell]) -> None:
    """
    :param cells: that are to be trained
    :raises ValueError: names the first method, sequence and setting that no training can use
    """
    seen: set[Any] = set()
    for cell in cells:
        what = (cell.algo, cell.env, cell.arguments)
        if cell.is_done or what in seen:
            continue
        seen.add(what)
        with naming(f"method {cell.method!r}, sequence {cell.sequence or cell.env!r}"):
            if cell.algo not in {*ALGOS, *ALGORITHMS}:
                raise ValueError(unknown_name_message("algo", cell.algo, [*ALGORITHMS, *ALGOS]))
            given = _check_command(cell)
            _check_env(cell, str(given.get("conf_file", "")))
            _check_algorithm(cell, given.get("gym_packages", []))


def _check_command(cell: Cell) -> Given:
    """As ``train`` reads it. The modules that it imports, which may register envs and scores, are imported."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            given = read_arguments(cell.train_arguments())
    except SystemExit as error:
        raise ValueError(said.getvalue().strip()) from error
    for module in given.get("gym_packages", []):
        try:
            import_module(module)
        except Exception as error:
            raise ValueError(f"--gym-packages {module} cannot be imported: {type(error).__name__}: {error}") from error
    check_env(cell.env)
    check_arguments_of_train(given)
    return given


def _check_env(cell: Cell, conf_file: str) -> None:
    kwargs = env_settings(PARENTS.get(cell.algo, cell.algo), cell.env, cell.arguments)
    if conf_file and not conf_file.endswith((".yml", ".yaml")) and not environment_arguments(cell.arguments):
        return  # a module may say what the env is made with
    try:
        gym.spec(cell.env)
        told_sequence(cell.env, kwargs)
    except ImportError:  # which names the extra that is missing
        raise
    except Exception as error:  # an env of others may raise anything
        raise ValueError(f"{cell.env} cannot be made with {kwargs}: {error}") from error


def _check_algorithm(cell: Cell, packages: list[str]) -> None:
    """As ``train`` does it, and what the algorithm's constructor will say."""
    algo = cell.algo
    ours: Any = ALGORITHMS.get(PARENTS.get(algo, algo))
    left_out = dropped_arguments(algo)  # what only ours know, where the algorithm is SB3's
    params = hyperparameters(algo, cell.env, cell.arguments)
    params = {name: value for name, value in params.items() if name not in left_out}
    read_numbers(params)
    check_names(params, ALGORITHMS.get(algo) or ALGOS[algo])
    check_settings({"policy": "MlpPolicy", **params})  # files that are not read here name one
    policy = ALGOS[algo].policy_aliases.get(str(params.get("policy", "MlpPolicy")))
    if params.get("policy_kwargs") and policy is not None:
        check_keywords("policy_kwargs", policy_kwargs_of(params["policy_kwargs"], packages), policy)
    if ours is not None:
        check_values({name: hint for name, hint in ours.parents_arguments.items() if name not in SETTINGS}, params)
    if algo in ALGORITHMS:
        check_arguments(ours.__init__, params)
    given = params.get("callback") or []
    for entry in given if isinstance(given, list) else [given]:
        _check_callback(entry)


def _check_callback(entry: str | Mapping[str, Any]) -> None:
    path, kwargs = next(iter(entry.items())) if isinstance(entry, Mapping) else (entry, {})
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(import_module(module), name)
        inspect.signature(cls).bind(**(kwargs or {}))
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"callback {path} cannot be made: {error}") from error
