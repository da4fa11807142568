"""rl-zoo3's experiment manager as a user sees it: how far the training is, and what came of it."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

import sb3_nbsp
from sb3_nbsp.common.continual_algorithm import ContinualAlgorithm
from sb3_nbsp.evaluation import SequenceEvalCallback
from sb3_nbsp.zoo.checkpointed import CheckpointedExperimentManager
from sb3_nbsp.zoo.progress_callback import ProgressCallback
from sb3_nbsp.zoo.progress_display import ToldToDisplay, fitting_display
from sb3_nbsp.zoo.resume import keeps_checkpoints
from sb3_nbsp.zoo.train_ending import TrainedRun, ending

LOGGER = logging.getLogger(sb3_nbsp.__name__)


class Trial(int):
    """A trial's number in a study, of which rl-zoo3 takes 0 for none."""

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True)
class Shows:
    """
    What a training shows beside rl-zoo3's own output.

    :param progress: how far it is
    :param ending: what came of it
    """

    progress: bool = True
    ending: bool = True


class ShownExperimentManager(CheckpointedExperimentManager):
    """
    The same, which shows progress and an ending.

    :param shows: which of them
    """

    def __init__(self, *args: Any, shows: Shows | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.shows = shows or Shows()
        if self.trial_id is not None:
            self.trial_id = Trial(self.trial_id)
        if self.shows.progress:
            self.show_progress = False  # rl-zoo3's bar

    @property
    def evaluation(self) -> SequenceEvalCallback | None:
        """What evaluates the agent on its task sequence."""
        return next((callback for callback in self.callbacks if isinstance(callback, SequenceEvalCallback)), None)

    def learn(self, model: BaseAlgorithm) -> None:
        """The same, shown."""
        if not self.optimize_hyperparameters:
            self.say_what_a_single_task_means()
        with showing([self]):
            super().learn(model)

    def _save(self, model: BaseAlgorithm) -> None:
        """The same, and an ending."""
        super()._save(model)
        if self.shows.ending:
            print(ending([self.trained_run(model)]), flush=True)

    def say_what_a_single_task_means(self) -> None:
        """Where one of our algorithms learns an ordinary env, it is its parent. That is said once, before training."""
        if self.sequence is None and issubclass(self._algorithm, ContinualAlgorithm):
            print(
                f"{self.env_name.gym_id} is a single task, no task sequence: nothing will be held or rehearsed, and "
                f"{self._algorithm.__name__} learns as {self._algorithm.sb3_class.__name__} does. `sb3-nbsp envs` lists task "
                "sequences; `sb3-nbsp new my_tasks.py` writes a script with one of your own."
            )

    def trained_run(self, model: BaseAlgorithm) -> TrainedRun:
        """
        :param model: what was trained
        :return: what an ending tells of it
        """
        results = getattr(self.evaluation, "results", None)
        run, steps_left = Path(self.save_path), 0
        if self.sequence is not None and isinstance(model, ContinualAlgorithm) and keeps_checkpoints(run):
            steps_left = max(self.sequence.total_steps - model.position.steps, 0)
        return TrainedRun(self.algo, self.env_name.gym_id, run, results, steps_left)

    @property
    def _algorithm(self) -> type[Any]:
        from rl_zoo3 import ALGOS

        return ALGOS[self.algo]


@contextmanager
def showing(managers: Sequence[ShownExperimentManager]) -> Iterator[None]:
    """
    Within the block the progress of a training is shown, where that is wanted.

    :param managers: of the agents that learn together
    """
    if not managers[0].shows.progress:
        yield
        return
    display = fitting_display()
    evaluations = [manager.evaluation for manager in managers]
    # The last agent's: it is told after all others have made a step.
    managers[-1].callbacks.append(ProgressCallback(display, [found for found in evaluations if found is not None]))
    told, level = ToldToDisplay(display), LOGGER.level
    if len(managers) > 1:
        told.addFilter(lambda record: record.levelno < logging.INFO)  # a line for each of many agents is too many
    LOGGER.addHandler(told)
    LOGGER.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        LOGGER.removeHandler(told)
        LOGGER.setLevel(level)
        display.stop()
