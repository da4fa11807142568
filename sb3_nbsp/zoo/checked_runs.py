"""All runs of a command are checked before the first of them learns: a mistake in the last one is not told after hours."""

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from functools import partial
from typing import Any

import rl_zoo3.train

from sb3_nbsp.base.arguments import check_arguments as check_own
from sb3_nbsp.base.arguments import check_values
from sb3_nbsp.base.folder_lock import unlock_folder
from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.zoo.algorithms import ALGORITHMS
from sb3_nbsp.zoo.given_arguments import Given, read_arguments
from sb3_nbsp.zoo.resume import split
from sb3_nbsp.zoo.shown_training import ShownExperimentManager
from sb3_nbsp.zoo.train_checks import check_arguments


class CheckingManager(ShownExperimentManager):
    """
    Reads a run's settings and makes nothing of them.

    :param locks: gets the lock of a run that goes on, which is held until all runs are checked: none goes on twice
    """

    def __init__(self, *args: Any, locks: ExitStack, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.lock is not None:
            locks.callback(unlock_folder, self.lock)

    def setup_experiment(self) -> Any:
        """No model, which rl-zoo3 takes for nothing to do."""
        settings = self._preprocess_hyperparams(self.read_hyperparameters()[0])[0]
        ours = ALGORITHMS.get(self.algo)
        if ours is not None:
            check_values(ours.parents_arguments, settings)
            check_own(vars(ours)["__init__"], settings)
        return None, {}


def check_runs(runs: Sequence[Sequence[str]]) -> None:
    """
    :param runs: arguments of ``sb3-nbsp train``, for each run
    :raises Exception: for the first mistake in the arguments or settings of a run
    """
    with isolated_rng(), ExitStack() as locks, redirect_stdout(io.StringIO()):  # each run says it all when it is prepared
        checked = set()
        for run in runs:
            given = read_arguments(run)
            but_seed = tuple(given.without("seed"))
            if but_seed in checked and not (given.get("resume") or given.get("trained_agent")):
                continue
            checked.add(but_seed)
            words = given.without("track")  # which begins with the training
            hand_over(read_arguments(words), partial(CheckingManager, locks=locks))


def hand_over(given: Given, manager: Callable[..., Any]) -> None:
    """
    Have rl-zoo3 do what it does with a run.

    :param given: to ``sb3-nbsp train``
    :param manager: makes the run's experiment manager
    :raises ValueError: for a mistake in the arguments
    """
    options, arguments = split(given)
    rl_zoo3.train.ExperimentManager = partial(manager, options=options)  # type: ignore[misc,assignment]
    sys.argv = ["sb3-nbsp train", *arguments]
    check_arguments(read_arguments(arguments))
    rl_zoo3.train.train()
