"""How a training of the command ends, and how it goes on after its end. All of it in one process: importing takes longest."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import run_python

from sb3_nbsp import NBSPSAC

pytest.importorskip("rl_zoo3")
CALLBACK = """\
from pathlib import Path
from stable_baselines3.common.callbacks import BaseCallback

class Ends(BaseCallback):
    def _on_step(self):
        return True

    def _on_training_end(self):
        with Path("ends.txt").open("a") as file:
            file.write(f"{self.model.seed} {self.model.num_timesteps}\\n")
        raise ValueError("my file is closed")
"""
SCRIPT = """\
import contextlib, io, json, shlex, sys, weakref
from stable_baselines3 import SAC
from sb3_nbsp.zoo import commands

def train(*arguments, algo="nbspsac", steps=30, params=()):
    env = ("--env", "sb3_nbsp/PointGoal-v0", "--env-kwargs", f"steps_per_task:{steps}", "cycles:1", "--eval-freq", "-1")
    tiny = ("-params", "learning_starts:10", "batch_size:4", "buffer_size:200", "scoring_steps:20", *params)
    return run("--algo", algo, *env, *tiny, "policy_kwargs:dict(net_arch=[8])", *arguments)

def run(*arguments):
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        try:
            commands.train(list(arguments))
        except ValueError as error:
            print("raised", error)
    return told.getvalue()

said = {}
ends = ("callback:'ends.Ends'",)
said["ends"] = [train("-f", "ends", "--seed", "1", algo=algo, params=ends) for algo in ("nbspsac", "sac")]
said["together"] = train("-f", "ends", "--seeds", "2-3", params=ends)

said["half"] = train("-f", "half", "--seed", "1", "-n", "40", "--checkpoint-freq", "15")
line = next(line for line in said["half"].splitlines() if "--resume" in line)
said["rest"] = run(*shlex.split(line)[2:])
said["again"] = run(*shlex.split(line)[2:])
train("-f", "whole", "--seed", "1")

whole = "whole/nbspsac/sb3_nbsp-PointGoal-v0_1/sb3_nbsp-PointGoal-v0.zip"
said["anew"] = train("-f", "anew", "-i", whole, steps=20)

models, learn = [], SAC.learn
def noted(self, *args, **kwargs):
    said.setdefault("alive", []).append(sum(model() is not None for model in models))
    models.append(weakref.ref(self))
    return learn(self, *args, **kwargs)
SAC.learn = noted
train("-f", "alone", "--seeds", "0-2", algo="sac")
with open("said.json", "w") as file:
    json.dump(said, file)
"""
RUN = "nbspsac/sb3_nbsp-PointGoal-v0_1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of all runs, and what was printed."""
    folder = tmp_path_factory.mktemp("ends")
    (folder / "ends.py").write_text(CALLBACK)
    run_python("-c", SCRIPT, folder=folder)
    return folder, json.loads((folder / "said.json").read_text())


def model_in(run: Path) -> NBSPSAC:
    return NBSPSAC.load(run / "sb3_nbsp-PointGoal-v0.zip")


def test_a_callback_ends_once_and_what_it_raises_does_not_cost_the_model(trained):
    folder, said = trained
    assert (folder / "ends.txt").read_text().split("\n")[:-1] == ["1 60", "1 60", "2 60", "3 60"]
    assert [text.count("raised my file is closed") for text in (*said["ends"], said["together"])] == [1, 1, 1]
    runs = sorted(path for algo in ("nbspsac", "sac") for path in (folder / "ends" / algo).iterdir())
    assert len(runs) == 4
    for run in runs:
        assert (run / "sb3_nbsp-PointGoal-v0.zip").is_file() and (run / "finished.json").is_file()


def test_what_is_left_after_n_steps_is_trained_with_the_line_that_is_printed(trained):
    folder, said = trained
    assert "--resume half/nbspsac" in said["half"] and "the 20 steps that are left" in said["half"]
    assert "Going on from" in said["rest"] and "--resume" not in said["rest"]
    assert "there is nothing to go on with" in said["again"]
    one, other = model_in(folder / "half" / RUN), model_in(folder / "whole" / RUN)
    assert one.position.record == other.position.record and one.position.is_finished
    assert all(bool((a == b).all()) for a, b in zip(one.policy.parameters(), other.policy.parameters(), strict=True))
    assert not (folder / "half" / RUN / "checkpoints").exists()


def test_a_sequence_that_is_begun_anew_is_trained_to_its_end(trained):
    folder, said = trained
    assert "Beginning the task sequence anew for 40 steps" in said["anew"] and "Continuing" not in said["anew"]
    position = model_in(folder / "anew" / RUN).position
    assert position.is_finished and position.steps == 40


def test_a_run_that_learns_alone_is_gone_when_the_next_one_learns(trained):
    assert trained[1]["alive"] == [0, 0, 0]
