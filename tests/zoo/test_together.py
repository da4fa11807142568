"""Runs that learn together: how their training ends."""

import os
import signal
from types import SimpleNamespace

import pytest

pytest.importorskip("rl_zoo3")
from sb3_nbsp.zoo import together
from sb3_nbsp.zoo.shown_training import Shows


class Run:
    """What ``_train`` asks of a manager and of its model."""

    has_checkpoints = True
    n_timesteps = 10
    callbacks = ()
    shows = Shows(progress=False, ending=False)

    def __init__(self, name, log, fails_at=""):
        self.save_path, self.log, self.fails_at = name, log, fails_at
        self.env = SimpleNamespace(close=lambda: self.note("close"))

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


@pytest.fixture
def train(monkeypatch):
    """``_train`` with what the population does."""

    def run(runs, learn=lambda: None):
        population = SimpleNamespace(learn=lambda *_, **__: learn())
        monkeypatch.setattr(together, "Population", lambda _: population)
        monkeypatch.setattr(together.CheckpointedExperimentManager, "save_trained_model", lambda run, _: run.note("save"))
        together._train([(run, run) for run in runs])

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
    assert log == [("a", "save"), ("b", "close"), ("c", "save"), ("c", "close")]
