"""Several sub-envs of an Atari sequence are one vector env, in the command too."""

from pathlib import Path

import pytest
from helpers import run_python

pytest.importorskip("rl_zoo3")
pytest.importorskip("ale_py")
ENV = ("--algo", "nbspppo", "--env", "sb3_nbsp/Atari-v0", "--env-kwargs", "tasks:['Breakout','Pong']", "steps_per_task:32")
TINY = ("-params", "n_envs:2", "n_steps:8", "batch_size:16", "n_epochs:1", "scoring_steps:20", "memory_size:8")


@pytest.mark.parametrize(
    ("vec_env", "monitors"), [("dummy", {"0.monitor.csv"}), ("subproc", {"0.monitor.csv", "1.monitor.csv"})]
)
def test_train_takes_the_vector_env(vec_env: str, monitors: set[str], tmp_path: Path) -> None:
    run_python("-m", "sb3_nbsp.cli", "train", *ENV, *TINY, "--eval-freq", "-1", "--vec-env", vec_env, folder=tmp_path)
    run = tmp_path / "logs" / "nbspppo" / "sb3_nbsp-Atari-v0_1"
    assert {file.name for file in run.glob("*.monitor.csv")} == monitors
    assert (run / "sb3_nbsp-Atari-v0.zip").is_file()
