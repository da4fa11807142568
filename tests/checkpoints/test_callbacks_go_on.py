"""What callbacks that are not ours have counted goes on with the run."""

import warnings
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import same
from helpers.cases import SAC_CASE
from helpers.outcomes import everything
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
    StopTrainingOnNoModelImprovement,
)
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise

from sb3_nbsp import NBSPSAC
from sb3_nbsp.checkpoints.callback import RunCheckpoints
from sb3_nbsp.checkpoints.callback_state import callback_states, note_beginning


class StopAt(BaseCallback):
    """Ends like a killed process, at the first safe point from a step on."""

    def _on_step(self) -> bool:
        return True

    def on_safe_point(self, callback: BaseCallback) -> None:
        if self.num_timesteps >= 45:
            raise KeyboardInterrupt


class Counts(BaseCallback):
    """Counters of every kind beside an argument and a folder."""

    def __init__(self, limit: int = 7, folder: str = "here"):
        super().__init__()
        self.limit = limit
        self.file = f"{folder}/file"
        self.n, self.name, self.best = 0, "none", -np.inf
        self.recent: deque[int] = deque(maxlen=3)
        self.per_task: dict[Any, Any] = {}
        self.mean = np.zeros(2)

    def _on_step(self) -> bool:
        self.n, self.name, self.best = self.n + 1, f"step {self.n}", np.float32(self.n)
        self.recent.append(self.n)
        self.per_task[self.n % 3, "x"] = (self.n, [None, True])
        self.mean = self.mean + self.n
        return True


def resumed(folder: Path, made: Any) -> Any:
    """The callback of a run that was stopped at 45 of 110 steps and goes on from step 40."""
    model = SAC_CASE.made()
    with pytest.raises(KeyboardInterrupt):
        model.learn(110, callback=[made(), RunCheckpoints(folder, 20), StopAt()])
    callback = made()
    model = NBSPSAC.load_checkpoint(folder, SAC_CASE.sequence_env())
    model.learn(model.steps_left, callback=callback, reset_num_timesteps=False)
    return callback


def undisturbed(callback: Any) -> Any:
    SAC_CASE.made().learn(110, callback=callback)
    return callback


def test_episodes_are_counted_on(tmp_path):
    made = lambda: StopTrainingOnMaxEpisodes(8)  # noqa: E731
    assert resumed(tmp_path, made).num_timesteps == undisturbed(made()).num_timesteps < 110


def test_the_best_evaluation_and_its_rows_stay(tmp_path):
    def made() -> EvalCallback:
        patience = StopTrainingOnNoModelImprovement(100)
        kwargs = {"callback_after_eval": patience, "callback_on_new_best": EveryNTimesteps(30, Counts())}
        return EvalCallback(SAC_CASE.task_env(), **kwargs, n_eval_episodes=1, eval_freq=20, log_path=str(tmp_path / "log"))

    one = resumed(tmp_path, made)
    assert one.evaluations_timesteps == [20, 40, 60, 80, 100]
    assert len(np.load(tmp_path / "log/evaluations.npz")["results"]) == 5
    assert one.best_mean_reward == max(map(np.mean, one.evaluations_results))
    assert one.callback.last_best_mean_reward > -np.inf


def test_nested_callbacks_and_counters_of_every_kind_go_on(tmp_path):
    def made() -> CallbackList:
        return CallbackList([EveryNTimesteps(25, Counts()), Counts()])

    whole, stopped = undisturbed(made()), resumed(tmp_path, made)
    for one, other in ((a, b) for a, b in zip(whole.callbacks, stopped.callbacks, strict=True)):
        assert one.n_calls == other.n_calls and getattr(one, "last_time_trigger", 0) == getattr(other, "last_time_trigger", 0)
        one, other = getattr(one, "callback", one), getattr(other, "callback", other)
        for name in ("n", "name", "best", "recent", "per_task"):
            assert getattr(one, name) == getattr(other, name) and type(getattr(one, name)) is type(getattr(other, name))
        assert same(one.mean, other.mean)


def test_texts_and_folders_of_the_constructor_are_those_of_the_new_callback(tmp_path):
    arguments = iter([(7, str(tmp_path / "old")), (7, str(tmp_path / "new"))])
    callback = resumed(tmp_path, lambda: Counts(*next(arguments)))
    assert (callback.limit, callback.file) == (7, str(tmp_path / "new/file"))


class Harder(BaseCallback):
    """A curriculum: it counts on from what its constructor was given."""

    def __init__(self, level: int = 0, pace: Any = None):
        super().__init__()
        self.level, self._pace = level, np.zeros(2) if pace is None else pace

    def _on_step(self) -> bool:
        self.level += 1
        self._pace = self._pace + 1
        return True


def test_a_counter_with_the_name_of_an_argument_goes_on(tmp_path):
    one, other = resumed(tmp_path, Harder), undisturbed(Harder())
    assert one.level == other.level == 110 and same(one._pace, other._pace)


class Stages(BaseCallback):
    """What its constructor was given is what it counts on: a text, a list, a number that becomes None."""

    def __init__(self, stage: str = "warm-up", milestones: Any = (20,), deadline: int | None = 10):
        super().__init__()
        self.stage, self.milestones, self.deadline = stage, list(milestones), deadline
        self.entered: list[int] = []
        self.rng: np.random.Generator | None = None  # made when it is needed
        self.drawn = 0.0

    def _on_step(self) -> bool:
        if self.rng is None:
            self.rng = np.random.default_rng(0)
        self.drawn = self.rng.random()
        if self.deadline is not None and self.num_timesteps >= self.deadline:
            self.entered.append(self.num_timesteps)
            self.deadline = None
        while self.milestones and self.num_timesteps >= self.milestones[0]:
            self.entered.append(self.milestones.pop(0))
            self.stage = "training"
        return True


def test_what_happened_once_does_not_happen_again(tmp_path):
    one, other = resumed(tmp_path, Stages), undisturbed(Stages())
    assert one.entered == other.entered == [10, 20] and (one.stage, one.milestones, one.deadline) == ("training", [], None)
    assert one.drawn == other.drawn


class UpTo(BaseCallback):
    """Ends the run at a limit, and knows a table of any size. It begins at what is given, and counts on."""

    def __init__(self, limit: int, table: np.ndarray, begun: int | None = None):
        super().__init__()
        self.limit, self.table, self.begun = limit, table, begun

    def _on_step(self) -> bool:
        self.begun = (self.begun or 0) + 1
        return self.num_timesteps < self.limit


def test_a_limit_that_is_raised_counts_also_after_two_resumes(tmp_path):
    """And an array that is given anew; a counter goes on, whatever the new callback is given."""
    small, large = np.zeros(2), np.arange(300_000.0)
    callback, model = UpTo(30, small), SAC_CASE.made()
    model.learn(110, callback=[callback, RunCheckpoints(tmp_path, 20)])
    for limit, stop in ((50, 50), (70, 70)):
        callback = UpTo(limit, large, begun=3)
        model = NBSPSAC.load_checkpoint(tmp_path, SAC_CASE.sequence_env())
        model.learn(model.steps_left, callback=[callback, RunCheckpoints(tmp_path, 20)], reset_num_timesteps=False)
        assert (model.num_timesteps, callback.limit, callback.begun) == (stop, limit, stop) and callback.table is large


def test_sb3s_limits_are_those_of_the_new_callback(tmp_path):
    limits = iter([7, 8])
    callback = resumed(tmp_path, lambda: StopTrainingOnMaxEpisodes(next(limits)))
    assert callback.max_episodes == 8
    assert callback.num_timesteps == undisturbed(StopTrainingOnMaxEpisodes(8)).num_timesteps


def test_of_arguments_only_what_has_changed_is_written():
    callback = UpTo(30, np.zeros(300_000))
    note_beginning(callback)
    assert callback_states(callback, set())[0]["attributes"] == {}
    callback.table[7] = 1.0
    assert set(callback_states(callback, set())[0]["attributes"]) == {"table"}
    callback.table[7] = 0.0  # it counts, wherever it stands now
    assert set(callback_states(callback, set())[0]["attributes"]) == {"table"}


class Names(Counts):
    """What it has seen has slashes, and keys that are no texts."""

    def _on_step(self) -> bool:
        self.name, self.n = f"walls/{self.n}", self.n + 1
        self.per_task[self.n % 3] = self.n
        return True


class SaysItself(Names):
    def checkpoint_state(self) -> dict[str, Any]:
        return {"per_task": self.per_task, "name": self.name, "n": self.n, "pair": (1, self.mean)}

    def restore_checkpoint_state(self, state: dict[str, Any]) -> None:
        assert type(state["pair"]) is tuple and same(state["pair"][1], self.mean)
        self.per_task, self.name, self.n = state["per_task"], state["name"], state["n"]


@pytest.mark.parametrize("kind", [Names, SaysItself])
def test_texts_with_slashes_and_numbers_as_keys_go_on(kind, tmp_path):
    one, other = resumed(tmp_path, kind), undisturbed(kind())
    assert (one.name, one.per_task) == (other.name, other.per_task) and set(one.per_task) == {0, 1, 2}


class SaysTooMuch(Names):
    def checkpoint_state(self) -> dict[str, Any]:
        return {"model": self.model}


def test_what_a_callback_says_must_have_a_plain_form(tmp_path):
    with pytest.warns(UserWarning, match=r"Expected from checkpoint_state\(\) of SaysTooMuch numbers, texts"):
        SAC_CASE.made().learn(60, callback=[SaysTooMuch(), RunCheckpoints(tmp_path, 20)])


class Holds(Counts):
    def _on_step(self) -> bool:
        self.kept = object()
        return super()._on_step()


def test_what_cannot_be_kept_is_said_once(tmp_path):
    with pytest.warns(UserWarning, match="cannot keep kept of the callback Holds") as told:
        SAC_CASE.made().learn(60, callback=[Holds(), RunCheckpoints(tmp_path, 20)])
    assert sum("cannot keep" in str(warning.message) for warning in told) == 1


def falling(progress: float) -> float:
    return 1e-2 * progress


@pytest.mark.parametrize("settings", [{"learning_rate": falling}, {"action_noise": 1}], ids=["schedule", "noise"])
@pytest.mark.parametrize("by_hand", [True, False])
def test_between_two_learn_a_checkpoint_is_the_beginning_of_the_next(settings, by_hand, tmp_path):
    if "action_noise" in settings:
        settings = {"action_noise": OrnsteinUhlenbeckActionNoise(np.zeros(2), np.ones(2) * 0.3)}
    env = SAC_CASE.task_env if by_hand else SAC_CASE.sequence_env
    model = SAC_CASE.made(env(), **settings).learn(45)
    if by_hand:
        model.consolidate(SAC_CASE.task_env(), task="A")
    model.save_checkpoint(tmp_path)
    model.learn(40, reset_num_timesteps=False)
    whole = everything(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Episodes of .* begin as those of")
        other = NBSPSAC.load_checkpoint(tmp_path, env())
        other.learn(40, reset_num_timesteps=False)
    assert other._num_timesteps_at_start == model._num_timesteps_at_start == 45
    stopped = everything(other)
    for name in whole:
        assert same(stopped[name], whole[name]), name
