"""Trainings that are killed, and told to stop: one command goes on, and nothing is lost or changed (see kills.py)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rl_zoo3")

SCRIPT = Path(__file__).with_name("kills.py")
ENV = "sb3_nbsp-PointGoal-v0"
TRAIN = [
    "--algo", "nbspsac", "--env", "sb3_nbsp/PointGoal-v0", "--env-kwargs", "steps_per_task:100_000", "cycles:1",
    "-params", "learning_starts:30", "buffer_size:400", "batch_size:16", "policy_kwargs:dict(net_arch=[8,8])",
    "--eval-freq", "-1", "--seed", "1", "--verbose", "0", "--device", "cpu",
]  # fmt: skip


def kill_chains(folder: Path, algo: str, n_kills: int, seed: int | str) -> str:
    process = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), algo, str(n_kills), str(seed)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def test_killed_runs_go_on_to_the_bit(tmp_path):
    assert "equal; left over: []" in kill_chains(tmp_path, "nbspsac", 2, seed=1)


@pytest.mark.expensive
@pytest.mark.parametrize("algo, n_kills", [("nbspsac", 20), ("nbspdqn", 15), ("nbspppo", 15)])
def test_fifty_kills(tmp_path, algo, n_kills):
    print(kill_chains(tmp_path, algo, n_kills, seed=7))


@pytest.mark.expensive
@pytest.mark.parametrize("algo", ["nbspsac", "nbspppo"])
def test_a_disk_that_gets_full(tmp_path, algo):
    print(kill_chains(tmp_path, algo, 20, "full"))


def wait_for_checkpoints(run: Path, process: subprocess.Popen) -> None:
    while len(list(run.glob("checkpoints/[0-9]*/checkpoint.json"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


@pytest.mark.parametrize("vec_env", ["dummy", "subproc"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_run_that_is_told_to_stop_leaves_a_checkpoint_and_says_how_to_go_on(tmp_path, number, vec_env):
    if vec_env == "subproc" and number == signal.SIGTERM:
        pytest.skip("sent to the trainer only, it is the same as without workers")
    several = ["-params", *TRAIN[TRAIN.index("-params") + 1 : TRAIN.index("--eval-freq")], "n_envs:2"]
    arguments = [*TRAIN, "--checkpoint-freq", "100"]
    if vec_env == "subproc":
        arguments += [*several, "--vec-env", "subproc"]
    run = tmp_path / "logs" / "nbspsac" / f"{ENV}_1"
    process = subprocess.Popen(
        [sys.executable, "-m", "sb3_nbsp.cli", "train", *arguments],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    wait_for_checkpoints(run, process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does it: the workers get it, too
    else:
        process.send_signal(number)
    output = process.communicate()[0]
    assert process.returncode == 128 + number, output
    newest = max(int(path.name) for path in run.glob("checkpoints/[0-9]*"))
    line = f"Stopped with a checkpoint of step {newest}. To go on: sb3-nbsp train --resume logs/nbspsac/{ENV}_1"
    assert output.rstrip().endswith(line)
    assert not list(run.rglob(".writing-*"))


@pytest.mark.expensive
def test_killed_in_the_second_game_it_goes_on_and_keeps_the_first(tmp_path):
    pytest.importorskip("ale_py")
    script = SCRIPT.with_name("kill_in_second_game.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.run([sys.executable, str(script), str(tmp_path)], env=environment, capture_output=True, text=True)
    assert process.returncode == 0 and "gone on" in process.stdout, process.stdout + process.stderr
