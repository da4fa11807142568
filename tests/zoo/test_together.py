"""Runs that learn together: how their training ends."""

import os
import random
import signal
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest
import torch as th
from gymnasium import spaces

pytest.importorskip("rl_zoo3")
from sb3_nbsp.base.finite import NotFiniteError
from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.checkpoints.random_states import random_states
from sb3_nbsp.zoo import one_by_one, together
from sb3_nbsp.zoo.experiments import SequenceExperimentManager
from sb3_nbsp.zoo.kept_errors import CallbackEnds, Errors
from sb3_nbsp.zoo.one_by_one import train_one_by_one
from sb3_nbsp.zoo.shown_training import Shows, Trial


class Run:
    """What ``_train`` asks of a manager and of its model."""

    has_checkpoints = True
    n_timesteps = 10
    callbacks = ()
    shows = Shows(progress=False, ending=False)

    def __init__(self, name, log, fails_at=""):
        self.save_path, self.log, self.fails_at = name, log, fails_at
        self.env = SimpleNamespace(close=lambda: self.note("close"))
        self.when_saved = ExitStack()
        self.when_saved.callback(self.env.close)

    def note(self, what):
        if what == self.fails_at:
            raise OSError(f"{self.save_path} cannot {what}")
        self.log.append((self.save_path, what))

    def _how_to_go_on(self):
        return f"go on with {self.save_path}"

    def _learn_arguments(self, model):
        return {}

    def finish(self, model):
        together.PreparingManager.finish(self, model)

    def trained_run(self, model):
        return self.save_path

    def leave(self):
        with self.when_saved:
            self.note("leave")


@pytest.fixture
def train(monkeypatch):
    """``_train`` with what the population does."""

    def run(runs, learn=lambda: None, diverged=()):
        population = SimpleNamespace(
            learn=lambda *_, **__: learn(),
            failed={number: NotFiniteError(f"member {number}") for number in diverged},
            models=runs,
        )
        monkeypatch.setattr(together, "Population", lambda _: population)
        monkeypatch.setattr(together.CheckpointedExperimentManager, "_save", lambda run, _: run.note("save"))
        monkeypatch.setattr(together, "_check_memory", lambda _: None)
        errors = Errors()
        together._learn_together([(run, run) for run in runs], errors)
        errors.raise_first()

    return run


@pytest.mark.parametrize("error", [EOFError, BrokenPipeError, together.Stopped])
def test_where_a_signal_ended_workers_too_it_is_a_stop(error, train, capsys):
    def told_to_stop():
        os.kill(os.getpid(), signal.SIGTERM)
        raise error

    with pytest.raises(SystemExit) as stopped:
        train([Run("a", []), Run("b", [])], told_to_stop)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert capsys.readouterr().out.splitlines()[-2:] == ["go on with a", "go on with b"]


def test_without_a_signal_a_worker_that_is_gone_is_an_error(train):
    def lose_worker():
        raise EOFError("gone")

    with pytest.raises(EOFError, match="gone"):
        train([Run("a", []), Run("b", [])], lose_worker)


def test_each_agent_is_saved_whatever_fails_with_others(train):
    log = []
    runs = [Run("a", log, "close"), Run("b", log, "save"), Run("c", log)]
    with pytest.raises(OSError, match="a cannot close"):
        train(runs)
    assert [done for done in log if done[1] != "leave"] == [("a", "save"), ("b", "close"), ("c", "save"), ("c", "close")]


@pytest.mark.parametrize("diverged", [[1], []], ids=["in training", "before"])
def test_agents_are_saved_beside_one_that_diverged(diverged, train, capsys, monkeypatch):
    def diverge():
        raise NotFiniteError("member 1")

    log = []
    monkeypatch.setattr(together, "ending", lambda runs: f"The end of {' and '.join(runs)}")
    monkeypatch.setattr(Run, "shows", Shows(progress=False))
    with pytest.raises(NotFiniteError, match="member 1"):
        train([Run(name, log) for name in "abc"], diverge, diverged)
    assert [name for name, what in log if what == "save"] == (["a", "c"] if diverged else [])
    assert [sorted(name for name, what in log if what == done) for done in ("close", "leave")] == [["a", "b", "c"]] * 2
    told = capsys.readouterr().out.splitlines()[1:]
    assert told == [
        f"{'b' if diverged else 'a, b, c'}: NotFiniteError('member 1')",
        *(["The end of a and c"] if diverged else []),
    ]


class Alone:
    """What ``train_one_by_one`` asks of a manager and of its model."""

    def __init__(self, seed, error=None, has_checkpoints=False):
        random.seed(seed), np.random.seed(seed), th.manual_seed(seed)  # as rl-zoo3, before it makes the model
        th.rand(3)
        self.save_path, self.error, self.has_checkpoints = f"run{seed}", error, has_checkpoints
        self.action_space = spaces.Discrete(2)
        self.random_states = random_states(self)
        self.drawn, self.is_saved, self.is_left = None, False, False

    def learn(self):
        if callable(self.error):
            self.error()
        elif self.error:
            raise self.error
        self.drawn = random.random(), np.random.rand(), float(th.rand(1))

    def leave(self):
        self.is_left = True

    def _how_to_go_on(self):
        return "how to go on"


@pytest.fixture
def one_after_another(monkeypatch):
    """Of runs that learn and are saved as told."""
    monkeypatch.setattr(one_by_one.ShownExperimentManager, "learn", lambda run, _: run.learn())
    monkeypatch.setattr(one_by_one.ShownExperimentManager, "save_trained_model", lambda run, _: setattr(run, "is_saved", True))

    def train(*runs):
        errors = Errors()
        train_one_by_one([(run, run) for run in runs], errors, n_more=2)
        errors.raise_first()

    with isolated_rng():
        yield train


def test_a_run_that_learns_alone_draws_what_it_draws_without_others(one_after_another):
    runs = [Alone(0), Alone(1), Alone(2)]
    one_after_another(*runs)
    for seed, run in enumerate(runs):
        alone = Alone(seed)
        alone.learn()
        assert run.drawn == alone.drawn


def test_a_run_that_fails_leaves_the_others_theirs(one_after_another, capsys):
    runs = [Alone(0, ValueError("diverged")), Alone(1), Alone(2, OSError("disk")), Alone(3)]
    with pytest.raises(ValueError, match="diverged"):
        one_after_another(*runs)
    assert [run.is_saved for run in runs] == [not run.is_left for run in runs] == [False, True, False, True]
    assert "run2: OSError('disk')" in capsys.readouterr().out


def interrupted():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:  # as rl-zoo3 takes it
        pass


def told_to_stop():
    raise SystemExit(143)


@pytest.mark.parametrize(("stop", "status", "is_saved"), [(interrupted, 130, True), (told_to_stop, 143, False)])
def test_an_interrupt_ends_them_all(stop, status, is_saved, one_after_another, capsys):
    before = signal.getsignal(signal.SIGINT)
    runs = [Alone(0), Alone(1, stop), Alone(2), Alone(3, has_checkpoints=True)]
    with pytest.raises(SystemExit) as stopped:
        one_after_another(*runs)
    assert stopped.value.code == status
    assert [run.is_saved for run in runs] == [True, is_saved, False, False] and runs[2].drawn is None
    assert capsys.readouterr().out.splitlines() == ["run2: Not begun.", "run3: how to go on", "2 more: not begun."]
    assert signal.getsignal(signal.SIGINT) is before


def test_runs_that_cannot_learn_together_are_not_lost_with_those_that_can(monkeypatch):
    """A pack that fails, then a run alone."""
    alone: list[str] = []
    runs = [
        SimpleNamespace(sequence=1, n_timesteps=1, save_path=name, ready=lambda _: {}, leave=lambda: None) for name in "abc"
    ]
    prepared = together.PreparingManager.prepared
    monkeypatch.setattr(together, "check_runs", lambda _: None)
    monkeypatch.setattr(together, "hand_over", lambda *_: prepared.append((runs[len(prepared)],) * 2))
    monkeypatch.setattr(together, "_can_join", lambda *_: True)
    monkeypatch.setattr(together, "packs", lambda _: [[0, 1], [2]])
    monkeypatch.setattr(together, "_train", lambda *_: {}["lost"])
    monkeypatch.setattr(together, "train_one_by_one", lambda left, _: alone.extend(run.save_path for run, _ in left))
    with pytest.raises(KeyError, match="lost"):
        together.train_together([["--seed", "1"]] * 3, together.EnvWorkers(3), Shows())
    assert alone == ["c"]


def test_the_memory_of_all_that_learn_together_is_counted(monkeypatch):
    model = SimpleNamespace(
        env=None, verbose=1, _footprint=lambda n_tasks: [together.Part("replay buffer", 10, "buffer_size")]
    )
    monkeypatch.setattr(together, "task_sequence_of", lambda _: SimpleNamespace(task_names=("a", "b")))
    checked = []
    monkeypatch.setattr(together, "check_footprint", lambda parts: checked.extend(parts) or "said")
    together._check_memory([model] * 3)
    assert checked == [together.Part("replay buffer of 3 agents", 30, "buffer_size")]


def test_a_callback_ends_once_whatever_others_do():
    class Ends:
        def __init__(self, error=None):
            self.n, self.error = 0, error

        def on_training_end(self):
            self.n += 1
            if self.error:
                raise self.error

    callbacks = [Ends(ValueError("closed")), Ends(), Ends(KeyboardInterrupt()), Ends()]
    ends = CallbackEnds(callbacks)
    callbacks[0].on_training_end(), callbacks[1].on_training_end(), callbacks[1].on_training_end()
    with pytest.raises(KeyboardInterrupt):
        ends.end_the_rest()
    ends.end_the_rest()
    assert [callback.n for callback in callbacks] == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="closed"):
        ends.raise_first()


def test_callbacks_end_before_the_env_of_a_training_that_fails_is_closed():
    order = []

    def fail(*_, **__):
        raise RuntimeError("broken")

    end = SimpleNamespace(on_training_end=lambda: order.append("end"))
    model = SimpleNamespace(env=SimpleNamespace(close=lambda: order.append("close")), learn=fail)
    one = SequenceExperimentManager.__new__(SequenceExperimentManager)
    one.__dict__.update(sequence=1, continue_training=False, callbacks=[end], when_saved=ExitStack())
    one.__dict__.update(n_timesteps=1, log_interval=-1)
    with pytest.raises(RuntimeError, match="broken"):
        one.learn(model)
    assert order == ["end", "close"]


def test_trial_0_is_one():
    assert Trial(0) and [7][Trial(0)] == 7


def test_an_error_that_is_its_own_cause_is_kept():
    def fail():
        error = OSError("disk")
        error.__cause__ = error
        raise error

    errors = Errors()
    assert not errors.of("a", fail) and [str(error) for error in errors.found] == ["disk"]
