"""The callback that keeps the first observations of each task's episodes."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from sb3_nbsp.baselines.base import TaskBoundaryCallback
from sb3_nbsp.baselines.parameters import check_count
from sb3_nbsp.common.env_util import task_sequence_of
from sb3_nbsp.task_ids.recogniser import FEWEST, doubts


class FirstObservations(TaskBoundaryCallback):
    """
    Keep the first observations of each task's newest episodes, without the id, so that an agent can act where the env gives no
    id: see :class:`~sb3_nbsp.task_ids.InferredTaskId`. Training is left alone. At a task's end it warns of tasks that
    look alike.

    What it keeps is saved with the model: ``memory_size`` times the observation's size for each task, 16 KB on Meta-World; and
    how much each entry of observations varies, of first and last ones: what never varies at an episode's beginning has a scale
    all the same.

    :param memory_size: first observations kept per task, at least 20
    :param verbose: 1 prints each task end
    :raises ValueError: for fewer, or where the training env is no task sequence whose observations end in the task's id
    """

    before_consolidation = False

    def __init__(self, memory_size: int = 100, verbose: int = 0):
        super().__init__(verbose)
        self.memory_size = check_count("memory_size", memory_size)
        if memory_size < FEWEST:
            raise ValueError(f"memory_size must be at least {FEWEST}, got {memory_size}: with fewer no task can be told.")

    def initial_state(self) -> dict[str, Any]:
        """
        ``observations``: by task, float32 [at most memory_size, n], the newest last. ``columns``: each task's id.
        ``n_summed``, ``sums``, ``squares``: number, sum [n] and sum of squares [n] of all first and last observations.
        """
        return {"observations": {}, "columns": {}, "n_summed": 0, "sums": 0.0, "squares": 0.0}

    def _on_training_start(self) -> None:
        self._sequence = _sequence_with_ids(self.training_env)
        super()._on_training_start()

    def _on_step(self) -> bool:
        keep_going = super()._on_step()
        # A VecEnv has already begun the next episode where one ended, after a switch that of the next task: its id tells.
        for index in np.flatnonzero(self.locals["dones"]):
            first = np.asarray(self.locals["new_obs"][index], dtype=np.float32)
            self._keep(first)
            self._sum(first)
            self._sum(self.locals["infos"][index]["terminal_observation"])
        return keep_going

    def _keep(self, first: np.ndarray) -> None:
        width = self._sequence.id_width
        column = int(first[-width:].argmax())
        task = self._sequence.task_names[column]
        kept = self.state["observations"].get(task, np.zeros((0, len(first) - width), np.float32))
        self.state["observations"][task] = np.concatenate([kept, [first[:-width]]])[-self.memory_size :]
        self.state["columns"][task] = column

    def _sum(self, observation: np.ndarray) -> None:
        values = np.asarray(observation, dtype=np.float64)[: -self._sequence.id_width]
        self.state["n_summed"] += 1
        self.state["sums"] = self.state["sums"] + values
        self.state["squares"] = self.state["squares"] + values**2

    def on_task_end(self, task: str) -> None:
        """Warn of what cannot be told apart since this task was learned."""
        ended, spread = _rows_of(self.state, [*self.state["ended"], task]), _spread_of(self.state)
        before = doubts({name: rows for name, rows in ended.items() if name != task}, spread)
        new = [sentence for name, sentence in doubts(ended, spread).items() if name not in before]
        if new:
            warnings.warn(
                f"The tasks learned so far cannot be told apart by an episode's first observation. {' '.join(new)} "
                "Without the task's id in the observation this agent cannot act: InferredTaskId will refuse it.",
                stacklevel=2,
            )


def first_observations(model: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """
    :param model: any model
    :return: the first observations that it kept of each task that it learned, and of the one that it was learning, [M, n]; and
        the standard deviation of each entry, [n]
    """
    state = getattr(model, "baseline_states", {}).get(FirstObservations.__name__)
    if state is None:
        return {}, np.zeros(0)
    is_learning = state["steps"] > 0  # else what there is of a task that is not ended came with the switch
    return _rows_of(state, [*state["ended"], *(state["observations"] if is_learning else ())]), _spread_of(state)


def _rows_of(state: dict[str, Any], tasks: Iterable[str]) -> dict[str, np.ndarray]:
    none = np.zeros((0, 0), np.float32)
    return {task: state["observations"].get(task, none) for task in dict.fromkeys(tasks)}


def _spread_of(state: dict[str, Any]) -> np.ndarray:
    n = max(state["n_summed"], 1)
    return np.sqrt(np.maximum(state["squares"] / n - (state["sums"] / n) ** 2, 0.0))


def _sequence_with_ids(env: Any) -> Any:
    sequence = task_sequence_of(env)
    if sequence is None or not sequence.id_width:
        raise ValueError(
            "FirstObservations needs the env of a task sequence with task_id=True: in training the id is given, and this "
            "callback keeps what belongs to it."
        )
    check_as_given("FirstObservations", env)
    return sequence


def check_as_given(who: str, env: VecEnv) -> None:
    """
    :param who: what sees first observations
    :param env: where it sees them
    :raises ValueError: if other observations come out of it than its sub-envs give
    """
    normalised = unwrap_vec_normalize(env)
    if env.observation_space.shape != env.get_attr("observation_space", 0)[0].shape or (normalised and normalised.norm_obs):
        raise ValueError(
            f"{who} needs observations as the task sequence gives them: not stacked, and not normalised (use "
            "VecNormalize with norm_obs=False)."
        )
