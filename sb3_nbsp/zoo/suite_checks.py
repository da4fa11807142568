"""What a suite's cells will be trained with, checked before the first one is: a mistake in it would cost every cell."""

import inspect
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import gymnasium as gym
from rl_zoo3 import ALGOS

from sb3_nbsp.base.arguments import check_arguments, check_values, naming
from sb3_nbsp.base.names import unknown_name_message
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.resolved_arguments import dropped_arguments, environment_arguments, hyperparameters
from sb3_nbsp.tasks.registration import sequence_of_id
from sb3_nbsp.zoo.algorithms import ALGORITHMS
from sb3_nbsp.zoo.train_checks import SETTINGS

NOT_OF_SEQUENCES = ("n_envs", "switch_on", "render_mode")  # arguments of environments
OF_THE_ZOO = ("noise_std", "vec_env_wrapper", "monitor_kwargs", "env_kwargs")  # that it takes beside SETTINGS


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
            _check_env(cell)
            _check_algorithm(cell)


def _check_env(cell: Cell) -> None:
    kwargs = {name: value for name, value in environment_arguments(cell.arguments).items() if name not in NOT_OF_SEQUENCES}
    if cell.env.startswith("sb3_nbsp/"):
        try:
            gym.spec(cell.env)
            sequence_of_id(cell.env, **kwargs)
        except (TypeError, gym.error.Error) as error:
            raise ValueError(str(error)) from error


def _check_algorithm(cell: Cell) -> None:
    algo = cell.algo
    if algo not in {*ALGOS, *ALGORITHMS}:
        raise ValueError(unknown_name_message("algo", algo, [*ALGORITHMS, *ALGOS]))
    cls: Any = ALGORITHMS.get(algo) or ALGOS[algo]
    left_out = dropped_arguments(algo)  # what only ours know, where the algorithm is SB3's
    params = hyperparameters(algo, cell.env, cell.arguments)
    params = {name: value for name, value in params.items() if name not in left_out}
    known = {*inspect.signature(cls).parameters, *SETTINGS, *OF_THE_ZOO}
    for name in params:
        if name not in known:
            raise ValueError(unknown_name_message(f"argument of {cls.__name__}", name, sorted(known)))
    check_values(SETTINGS, params)
    if algo in ALGORITHMS:
        check_arguments(cls.__init__, params)
        check_values({name: hint for name, hint in cls.parents_arguments.items() if name not in SETTINGS}, params)
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
