"""
``sb3-nbsp train`` for many runs in one process: the runs are prepared by rl-zoo3 one after another, each with a folder of its
own, and learn together where they agree in what a population must agree in (:mod:`sb3_nbsp.population`).
"""

import gc
import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_nbsp.base.interruption import WORKER_GONE, Stopped
from sb3_nbsp.checkpoints.random_states import random_states
from sb3_nbsp.checkpoints.signals import StopSignals
from sb3_nbsp.common.env_util import task_sequence_of
from sb3_nbsp.common.ram_estimate import Part, check_footprint, tell
from sb3_nbsp.population import Population, packs
from sb3_nbsp.population.agreement import check_agreement
from sb3_nbsp.zoo.argument_types import seeds_of
from sb3_nbsp.zoo.checked_runs import check_runs, hand_over
from sb3_nbsp.zoo.checkpointed import CheckpointedExperimentManager
from sb3_nbsp.zoo.env_workers import EnvWorkers
from sb3_nbsp.zoo.given_arguments import Given, read_arguments
from sb3_nbsp.zoo.kept_errors import Errors
from sb3_nbsp.zoo.one_by_one import train_one_by_one
from sb3_nbsp.zoo.shown_training import ShownExperimentManager, Shows, showing
from sb3_nbsp.zoo.train_ending import ending

Prepared = tuple["PreparingManager", Any]  # what knows a run, and its model
# What makes no sense for several runs at once, as it is typed
OF_ONE_RUN = {
    "seed": "--seed",
    "trained_agent": "-i",
    "resume": "--resume",
    "optimize_hyperparameters": "-optimize",
    "track": "--track",
}


class PreparingManager(ShownExperimentManager):
    """Prepares a run and leaves the learning to others."""

    prepared: ClassVar[list[Prepared]] = []
    env_workers: ClassVar[EnvWorkers]
    random_states: dict[str, Any]

    def create_envs(self, n_envs: int, eval_env: bool = False, no_log: bool = False) -> VecEnv:
        """The run's envs, in processes beside this one where that pays."""
        one_by_one = self.vec_env_class
        pool = self.env_workers.pool(self.env_name.gym_id, self.env_kwargs) if one_by_one is DummyVecEnv else None
        if pool is None or eval_env:
            return super().create_envs(n_envs, eval_env, no_log)
        self.vec_env_class = pool.add  # type: ignore[assignment]
        try:
            return super().create_envs(n_envs, eval_env, no_log)
        finally:
            self.vec_env_class = one_by_one

    def learn(self, model: Any) -> None:
        """Note the run, and where its random streams stand."""
        self.random_states = random_states(model)
        self.prepared.append((self, model))

    def save_trained_model(self, model: Any) -> None:
        """Nothing yet: :meth:`finish` does it."""

    def ready(self, model: Any) -> dict[str, Any]:
        """
        Have a model stand where its training begins or goes on.

        :param model: what will learn
        :return: arguments of its ``learn()``
        """
        self._stand_ready(model)
        return self._learn_arguments(model)

    def finish(self, model: Any) -> None:
        """After ``learn()``. The model is saved whatever failed before it."""
        with self.when_saved:
            CheckpointedExperimentManager._save(self, model)  # the ending is told of all


def runs_of(given: Given) -> list[list[str]] | None:
    """
    :param given: to ``sb3-nbsp train``
    :return: the arguments of every run, where several are asked for: with ``--seeds 0-9`` one for each seed, with
        ``--together FILE`` those that a JSON file lists
    :raises ValueError: for seeds that cannot be understood, or beside what makes a single run
    """
    if given.get("together") is not None:
        return _runs_in(given.get("together"))
    if given.get("seeds") is None:
        return None
    for name, option in OF_ONE_RUN.items():
        if name in given.values:
            raise ValueError(f"--seeds trains several agents, and {option} is for one. Leave one of them out.")
    return [[*given.without("seeds", "env_workers"), "--seed", str(seed)] for seed in seeds_of(given.get("seeds"))]


def _runs_in(file: Path) -> list[list[str]]:
    told = json.loads(file.read_text())
    runs = told.get("runs") if isinstance(told, dict) else None
    if not isinstance(runs, list) or not runs or not all(isinstance(run, list) for run in runs):
        raise ValueError(f'--together {file} must hold {{"runs": [[ARGUMENT, ...], ...]}}, a list for each run; got {told!r}.')
    return [[str(part) for part in run] for run in runs]


def train_together(runs: Sequence[Sequence[str]], env_workers: EnvWorkers, shows: Shows) -> None:
    """
    :param runs: arguments of ``sb3-nbsp train``, for each run
    :param env_workers: where their envs step
    :param shows: what is shown of it
    """
    check_runs(runs)
    PreparingManager.prepared.clear()
    PreparingManager.env_workers = env_workers
    prepared, errors, has_trained = PreparingManager.prepared, Errors(), False
    for number, run in enumerate(runs):
        prepare = partial(hand_over, read_arguments(run), partial(PreparingManager, shows=shows))
        if not has_trained:
            prepare()
        elif not errors.of(shlex.join(run), prepare):  # nothing of what was trained, or waits, is lost
            continue
        if not _can_join(*prepared[-1]):  # it learns now: when the next one is made, nothing of it is in memory
            waiting, has_trained = [manager for manager, _ in prepared[:-1]], True
            train_one_by_one([prepared.pop()], errors, waiting, len(runs) - number - 1)
    groups = [[prepared[number] for number in pack] for pack in packs([model for _, model in prepared])]
    prepared.clear()
    alone = [group[0] for group in groups if len(group) == 1]
    parts = [part for group in groups if len(group) > 1 for part in _alike(group, errors)]
    groups.clear()
    while parts:
        _learn_together(parts.pop(0), errors)
    train_one_by_one(alone, errors)
    errors.raise_first()


def _can_join(manager: Any, model: Any) -> bool:
    """Whether a run may learn together with others."""
    try:
        check_agreement([model])
    except (TypeError, ValueError):
        return False
    return manager.sequence is not None


def _alike(group: Sequence[Prepared], errors: Errors) -> list[list[Prepared]]:
    """The runs of a pack in parts that take as many steps, and go on or begin, alike."""
    parts: dict[Any, list[Prepared]] = {}
    for run in group:
        if not errors.of(run[0].save_path, partial(_put, run, parts)):
            errors.of(run[0].save_path, run[0].leave)
    return list(parts.values())


def _put(run: Prepared, parts: dict[Any, list[Prepared]]) -> None:
    kwargs = run[0].ready(run[1])
    parts.setdefault((run[0].n_timesteps, repr(kwargs)), []).append(run)


def _learn_together(part: Sequence[Prepared], errors: Errors) -> None:
    errors.of(_folders(part), partial(_train, part, errors))
    for manager, _ in part:
        errors.of(manager.save_path, manager.leave)


def _folders(runs: Sequence[Prepared]) -> str:
    return ", ".join(str(manager.save_path) for manager, _ in runs)


def _check_memory(models: Sequence[Any]) -> None:
    """What each of them says of itself alone, of all that are in memory at the same time."""
    totals: Counter[tuple[str, str]] = Counter()
    for model in models:
        for part in model._footprint(len(task_sequence_of(model.env).task_names)):
            totals[part.name, part.argument] += part.n_bytes
    of_all = [Part(f"{name} of {len(models)} agents", size, argument) for (name, argument), size in totals.items()]
    tell([check_footprint(of_all)], models[0].verbose)


def _train(runs: Sequence[Prepared], errors: Errors) -> None:
    """Those that diverge or fail are told; the others learn to the end, are saved, and tell how they ended."""
    shows = runs[0][0].shows
    gc.collect()  # those that learned before
    _check_memory([model for _, model in runs])
    print(f"{len(runs)} agents learn together: {_folders(runs)}")
    population = Population([model for _, model in runs])
    _learn(population, [manager for manager, _ in runs])
    for number, error in population.failed.items():
        errors.keep(runs[number][0].save_path, error)
    learned = [run for number, run in enumerate(runs) if number not in population.failed]
    # Each is saved, whatever fails for another.
    saved = [run for run in learned if errors.of(run[0].save_path, partial(run[0].finish, run[1]))]
    if saved and shows.ending:
        print(ending([manager.trained_run(model) for manager, model in saved]), flush=True)


def _learn(population: Population, managers: Sequence[PreparingManager]) -> None:
    """
    :raises Exception: unless members have left by an error and the others have learned to the end
    """
    first = managers[0]
    stop = StopSignals(lambda: "\n".join(manager._how_to_go_on() for manager in managers), len(managers))
    try:
        with stop if first.has_checkpoints else nullcontext(), showing(managers):
            population.learn(
                first.n_timesteps,
                callbacks=[manager.callbacks or None for manager in managers],
                **first._learn_arguments(population.models[0]),
            )
    except (Stopped, *WORKER_GONE):
        if stop.signal is None:
            raise
        print(stop.told(), flush=True)
        sys.exit(stop.exit_status)
    except Exception:
        if not population.failed:
            raise
