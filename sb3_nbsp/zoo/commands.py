"""
Our algorithms inside rl-zoo3: registration, settings, the evaluation of task sequences, and going on where a run stopped.

rl-zoo3 has no plugin mechanism. What it looks up in modules is exchanged there, for this process only; importing
``sb3_nbsp`` does not import rl-zoo3, which changes Gymnasium on import.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import rl_zoo3
import rl_zoo3.enjoy
import rl_zoo3.exp_manager
import rl_zoo3.load_from_hub
import rl_zoo3.train
import rl_zoo3.utils
import stable_baselines3.common.env_util
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.common.env_util import is_task_sequence
from sb3_nbsp.evaluation.contexts import play_by_task
from sb3_nbsp.evaluation.watch_table import TaskReport
from sb3_nbsp.zoo.algorithms import ALGORITHMS, PARENTS, sequence_of
from sb3_nbsp.zoo.env_workers import EnvWorkers
from sb3_nbsp.zoo.find_agents import NO_RUN
from sb3_nbsp.zoo.given_arguments import Given, read_arguments
from sb3_nbsp.zoo.logs_may_fail import MonitorMayFail
from sb3_nbsp.zoo.mistakes import raised_in
from sb3_nbsp.zoo.opened_runs import RunParser, read_hyperparams
from sb3_nbsp.zoo.resume import CheckpointOptions, close, env_name, is_finished, split
from sb3_nbsp.zoo.run_folders import files_like, latest_run_id
from sb3_nbsp.zoo.run_settings import SAFE_YAML, check_made
from sb3_nbsp.zoo.samplers import TrialEvaluation, register_sampler
from sb3_nbsp.zoo.shown_training import ShownExperimentManager, Shows
from sb3_nbsp.zoo.together import runs_of, train_together
from sb3_nbsp.zoo.train_checks import check_arguments
from sb3_nbsp.zoo.train_parser import ARGPARSE, USE


def register(options: CheckpointOptions | None = None, shows: Shows | None = None) -> None:
    """
    Make our algorithms known to rl-zoo3.

    :param options: how ``train`` writes checkpoints; default: as for a new run
    :param shows: what ``train`` shows; default: all
    """
    rl_zoo3.ALGOS.update(ALGORITHMS)
    for parent, algo in PARENTS.items():
        register_sampler(algo, parent)
    manager = partial(ShownExperimentManager, options=options or CheckpointOptions(), shows=shows)
    rl_zoo3.train.ExperimentManager = manager  # type: ignore[misc,assignment]
    rl_zoo3.exp_manager.TrialEvalCallback = TrialEvaluation  # type: ignore[misc]
    rl_zoo3.utils.get_latest_run_id = rl_zoo3.load_from_hub.get_latest_run_id = latest_run_id
    rl_zoo3.utils.glob = SimpleNamespace(glob=files_like)  # type: ignore[assignment]
    stable_baselines3.common.env_util.Monitor = MonitorMayFail  # type: ignore[misc]
    rl_zoo3.train.argparse = ARGPARSE  # type: ignore[assignment]
    rl_zoo3.enjoy.create_test_env = create_test_env


def train(arguments: list[str]) -> None:
    """
    rl-zoo3's train; with ``--seeds 0-9`` one run for each seed, which learn together.

    :param arguments: its command line arguments
    :raises SystemExit: with a message for options that cannot be; other mistakes in the arguments are raised as they are
    """
    given = read_arguments(arguments)
    _say_how_it_is_used(given)
    shows = _shows(given)
    runs = runs_of(given)
    if runs is not None:
        register()
        train_together(runs, EnvWorkers.asked_for(given, len(runs)), shows)
        return
    options, arguments = split(given)
    register(options, shows)
    given = read_arguments(arguments)
    if options.run is not None and is_finished(options.run, env_name(given.get("env"))):
        close(options.run)
        print(
            f"The run in {options.run} has come to its end: there is nothing to go on with. Its model learns more with -i "
            "and its zip file, e.g. on a sequence that has more tasks."
        )
        return
    sys.argv = ["sb3-nbsp train", *arguments]
    check_arguments(given)
    rl_zoo3.train.train()


def enjoy(arguments: list[str]) -> None:
    """
    rl-zoo3's enjoy. On a task sequence the tasks take turns by episode, and a table closes the show.

    :param arguments: its command line arguments
    :raises SystemExit: with a message if there is no such run
    """
    register()
    rl_zoo3.enjoy.ALGOS = {name: Watched(algorithm) for name, algorithm in rl_zoo3.ALGOS.items()}  # type: ignore[misc]
    rl_zoo3.enjoy.yaml = SAFE_YAML  # type: ignore[assignment]
    rl_zoo3.enjoy.argparse = SimpleNamespace(**{**vars(argparse), "ArgumentParser": EnjoyParser})  # type: ignore[assignment]
    sys.argv = ["sb3-nbsp enjoy", *arguments]
    try:
        rl_zoo3.enjoy.enjoy()
    except (AssertionError, ValueError) as error:
        if not raised_in(error, "get_model_path"):
            raise
        sys.exit(f"sb3-nbsp enjoy: {error}. {NO_RUN}")


def _say_how_it_is_used(given: Given) -> None:
    """rl-zoo3 would train PPO on CartPole."""
    agent = given.get("trained_agent")
    goes_on = given.get("resume") or given.get("together") or (agent and Path(agent).is_dir())
    missing = [f"--{name}" for name in ("algo", "env") if not given.get(name)]
    if missing and not goes_on:
        what = f"sb3-nbsp train needs {' and '.join(missing)}.\n\n" if given.values else ""
        sys.exit(f"{what}usage: {USE}")


def _shows(given: Given) -> Shows:
    """Progress and ending, unless someone says how much to tell. A search for settings tells of itself."""
    told, searches = given.get("verbose"), given.get("optimize_hyperparameters")
    return Shows(progress=told is None and not searches, ending=told != 0 and not searches)


class EnjoyParser(RunParser):
    """enjoy's, which reads a run's settings with the modules that were given."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See argparse."""
        given = super().parse_args(args, namespace)
        rl_zoo3.enjoy.get_saved_hyperparams = partial(read_hyperparams, given.gym_packages)
        return given


class Watched:
    """
    An algorithm's class as rl-zoo3's enjoy uses it. What it loads plays each task of a sequence as it should, such as a model
    that was trained with PackNet with the task's subnetwork.

    :param algorithm: the class
    """

    env: VecEnv | None = None  # the env that was made last, on which the model will be played

    def __init__(self, algorithm: type[BaseAlgorithm]):
        self.algorithm = algorithm

    def load(self, *args: Any, **kwargs: Any) -> BaseAlgorithm:
        """See SB3."""
        model = self.algorithm.load(*args, **kwargs)
        if self.env is not None and is_task_sequence(self.env):
            play_by_task(model, self.env)
        return model


def create_test_env(env_id: str, *args: Any, env_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> VecEnv:
    """rl-zoo3's, with the tasks of a sequence in turns and a table of the successes at the end."""
    check_made(env_kwargs or {}, "env_kwargs in args.yml")
    if sequence_of(env_id, env_kwargs) is not None:
        env_kwargs = {**(env_kwargs or {}), "switch_on": "episode"}
    env = Watched.env = rl_zoo3.create_test_env(env_id, *args, **{**kwargs, "env_kwargs": env_kwargs})
    return TaskReport(env) if is_task_sequence(env) else env
