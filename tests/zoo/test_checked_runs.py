"""Runs of one command: a mistake in any of them is raised before one learns, and later errors cost the others nothing."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

pytest.importorskip("rl_zoo3")
import rl_zoo3.train

from sb3_nbsp.zoo import together
from sb3_nbsp.zoo.checked_runs import check_runs
from sb3_nbsp.zoo.shown_training import Shows

ENV = ("--env", "sb3_nbsp/PointGoal-v0", "--device", "cpu")


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """What checking changes for this process only, and a folder for each test."""
    for name in ("ExperimentManager", "argparse"):
        monkeypatch.setattr(rl_zoo3.train, name, getattr(rl_zoo3.train, name))
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--algo", "sac", "-params", "learning_ratee:1e-3"], "learning_ratee"),
        (["--algo", "nbspsac", "-params", "skill_fraction:2.0"], "skill_fraction must be"),
        (["--algo", "nbspppo", "-params", "n_epochs:0"], "n_epochs must be"),
        (["--algo", "sac", "-i", "gone.zip"], "-i must be the zip file of a model"),
        (["--algo", "sac", "-params", "callback:'gone.Callback'"], "gone"),
    ],
)
def test_a_mistake_in_the_last_run_is_raised_before_the_first_one_learns(wrong, message, monkeypatch, capsys):
    monkeypatch.setattr(together, "hand_over", lambda *_: pytest.fail("a run was prepared"))
    before = np.random.get_state()[1].tolist()
    with pytest.raises((ValueError, ImportError), match=message):
        together.train_together([["--algo", "sac", *ENV], [*wrong, *ENV]], together.EnvWorkers(2), Shows())
    assert os.listdir() == [] and capsys.readouterr().out == ""
    assert np.random.get_state()[1].tolist() == before


def test_no_run_goes_on_twice(tmp_path):
    run = tmp_path / "logs" / "nbspsac" / "sb3_nbsp-PointGoal-v0_1"
    (run / "checkpoints").mkdir(parents=True)
    (run / "sb3_nbsp-PointGoal-v0").mkdir()
    told = {"algo": "nbspsac", "env": ENV[1]}
    (run / "sb3_nbsp-PointGoal-v0" / "args.yml").write_text(yaml.dump(told))
    check_runs([["--resume", str(run)]])
    with pytest.raises(ValueError, match="is training the run in"):
        check_runs([["--resume", str(run)]] * 2)
    assert not (run / ".lock").exists()


def test_what_cannot_be_prepared_after_a_training_costs_the_others_nothing(monkeypatch, capsys):
    runs = [["--seed", str(seed)] for seed in range(4)]
    prepared, alone = together.PreparingManager.prepared, []

    def prepare(given, manager):
        if given.get("seed") == 2:
            raise OSError("disk")
        prepared.append((SimpleNamespace(save_path=given.get("seed")),) * 2)

    monkeypatch.setattr(together, "check_runs", lambda _: None)
    monkeypatch.setattr(together, "hand_over", prepare)
    monkeypatch.setattr(together, "_can_join", lambda manager, _: manager.save_path != 1)
    monkeypatch.setattr(together, "packs", lambda models: [[number] for number in range(len(models))])
    monkeypatch.setattr(together, "train_one_by_one", lambda left, *_: alone.extend(run.save_path for run, _ in left))
    with pytest.raises(OSError, match="disk"):
        together.train_together(runs, together.EnvWorkers(4), Shows())
    assert alone == [1, 0, 3] and "--seed 2: OSError('disk')" in capsys.readouterr().out
