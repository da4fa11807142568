"""Cells and the demonstration. Most trainings are stand-ins: a few lines that write what a training writes."""

import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.reported_runs import run_of
from rich.console import Console

from sb3_nbsp.base.folder_lock import lock_holder
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.local_runner import CellError, StoppedError, run_cells
from sb3_nbsp.benchmark.manifest import ForeignCellError, read_json, source_commit, write_manifest
from sb3_nbsp.benchmark.progress import train_with_progress
from sb3_nbsp.benchmark.training import Training, _common_checkpoints
from sb3_nbsp.checkpoints.manifest import FOLDER, checkpoints_of
from sb3_nbsp.evaluation import Evaluation, SequenceResults
from sb3_nbsp.evaluation.skill_file import read_skill_neurons
from sb3_nbsp.zoo import demo_command as demo

STAND_IN = r"""
import pathlib, shutil, sys, time, zipfile
arguments = sys.argv[1:]
value = {name: arguments[i + 1] for i, name in enumerate(arguments[:-1])}
folder = pathlib.Path(value["-f"])
if not (folder.parent / "manifest.json").is_file() or (folder.parent / "done.json").exists():
    sys.exit("the manifest comes before the training, the mark after it")
if "--stopped" in value:
    sys.exit(int(value["--stopped"]))
run = folder / "algo" / f"env_{len(list(folder.glob('*/*'))) + 1}"
run.mkdir(parents=True)
print("arguments:", *arguments, flush=True)
if "--checkpoint" in value and "-i" not in value:
    with zipfile.ZipFile(run / f"rl_model_{value['--checkpoint']}_steps.zip", "w") as file:
        file.writestr("policy", "weights")
while pathlib.Path(value.get("--while", "nowhere")).exists():
    time.sleep(0.02)
if pathlib.Path(value.get("--fail-if", "nowhere")).exists():
    sys.exit("ValueError: what went wrong")
shutil.copy(value["--results"], run / "results.json")
with zipfile.ZipFile(run / "env.zip", "w") as file:
    file.writestr("policy", "weights")
if pathlib.Path(value.get("--fail-late-if", "nowhere")).exists():
    sys.exit("and then")
"""


class StandIn(Cell):
    """A cell whose training is the script above."""

    def command(self, checkpoint: Path | None = None) -> list[str]:
        return [sys.executable, "-S", "-c", STAND_IN, *self.train_arguments(checkpoint)]


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    evaluation = Evaluation(20, 0, "switch", {"east": 1.0}, {"east": -1.0}, 0.1)
    results = SequenceResults(("east",), ("east",), (20,), [evaluation], finished=True, wall_time_s=3.0)
    (tmp_path / "finished.json").write_text(results.to_json())
    (tmp_path / "unfinished.json").write_text(replace(results, finished=False).to_json())
    (tmp_path / "cause").touch()
    return StandIn("m", "algo", "env", 0, tmp_path / "cell", ("--results", str(tmp_path / "finished.json")))


def with_arguments(cell: Cell, *arguments: str) -> Cell:
    return replace(cell, arguments=(*cell.arguments, *arguments))


def runs(cell: Cell) -> list[str]:
    return sorted(path.name for path in cell.folder.glob("run/*/*"))


def test_cells_are_run_once(cell: Cell) -> None:
    cells = [cell, replace(cell, seed=1, folder=cell.folder.with_name("other"))]
    seen: list[Training] = []
    run_cells(cells, n_jobs=2, watch=seen.extend)
    assert {training.cell for training in seen} == set(cells)
    assert all(cell.is_done and cell.progress == 1 for cell in cells)
    run_cells(cells, n_jobs=2)
    assert [runs(cell) for cell in cells] == [["env_1"]] * 2


def test_a_cell_says_what_it_was(cell: Cell) -> None:
    cell = replace(cell, method="NBSP, memory size 100", family="NBSP", axis=("memory_size", 100), sequence="there and back")
    run_cells([cell], n_jobs=1)
    manifest = read_json(cell.folder / "manifest.json")
    assert manifest is not None
    assert manifest["command"].startswith("sb3-nbsp train --algo algo --env env --seed 0 -f run ")  # in the cell's folder
    assert str(cell.folder) not in (cell.folder / "manifest.json").read_text()
    assert (manifest["family"], manifest["axis"], manifest["sequence"]) == ("NBSP", {"memory_size": 100}, "there and back")
    assert manifest["versions"]["sb3-nbsp"] and manifest["machine"]["cpus"] and len(manifest["starts"]) == 1
    assert manifest["commit"] == source_commit()
    done = read_json(cell.folder / "done.json")
    assert done is not None and done["wall_time_s"] == 3.0
    assert cell.results() == SequenceResults.read(cell.folder / "results.json")


def test_a_failed_cell_is_reported_and_the_others_are_finished(cell: Cell, tmp_path: Path) -> None:
    broken = with_arguments(cell, "--fail-if", str(tmp_path / "cause"))
    sound = replace(cell, method="sound", seed=1, folder=tmp_path / "sound")
    for _ in range(2):  # nor is it forgotten, or trained again unasked
        with pytest.raises(CellError, match=r"(?s)1 of 2 trainings failed.*m, env, seed 0: exit status 1.*what went wrong"):
            run_cells([broken, sound], n_jobs=2)
        assert sound.is_done and broken.state == "failed" and runs(broken) == ["env_1"]
    run_cells([replace(broken, arguments=sound.arguments), sound], n_jobs=2, retry=True)  # the settings were the cause
    assert broken.is_done and runs(broken) == ["env_1"]


def test_what_fails_at_its_very_end_can_be_tried_again(cell: Cell, tmp_path: Path) -> None:
    broken = with_arguments(cell, "--fail-late-if", str(tmp_path / "cause"))
    with pytest.raises(CellError, match="and then"):
        run_cells([broken], n_jobs=1)
    assert broken.is_trained and broken.state == "failed"
    (tmp_path / "cause").unlink()
    run_cells([broken], n_jobs=1, retry=True)
    assert broken.is_done


def test_a_training_that_ends_too_early_has_failed(cell: Cell, tmp_path: Path) -> None:
    with pytest.raises(CellError, match="ended before the sequence was finished"):
        run_cells([replace(cell, arguments=("--results", str(tmp_path / "unfinished.json")))], n_jobs=1)


def interrupted(cell: Cell, tmp_path: Path, *arguments: str) -> Cell:
    """A cell whose training was stopped in the middle, as by Ctrl-C."""
    (tmp_path / "wait").touch()
    cell = with_arguments(cell, "--while", str(tmp_path / "wait"), *arguments)

    def interrupt(running: list[Training]) -> None:
        if "arguments:" in (cell.folder / "log.txt").read_text() and (not arguments or cell.checkpoint()):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells([cell], n_jobs=1, watch=interrupt)
    (tmp_path / "wait").unlink()
    return cell


def test_an_interrupted_cell_is_stopped_and_starts_anew(cell: Cell, tmp_path: Path) -> None:
    cell = interrupted(cell, tmp_path)
    assert cell.state == "interrupted"
    with pytest.raises(ProcessLookupError):
        os.kill(lock_holder(cell.folder) or 0, 0)
    run_cells([cell], n_jobs=1)
    assert cell.is_done and runs(cell) == ["env_1"]  # the folder was cleaned


def test_an_interrupted_cell_goes_on_from_its_last_whole_checkpoint(cell: Cell, tmp_path: Path) -> None:
    cell = interrupted(cell, tmp_path, "--checkpoint", "9")
    run = cell.folder / "run" / "algo" / "env_1"
    whole = (run / "rl_model_9_steps.zip").read_bytes()
    (run / "rl_model_10_steps.zip").write_bytes(whole[:-8])  # killed while writing
    run_cells([cell], n_jobs=1)
    assert cell.is_done and runs(cell) == ["env_1", "env_2"]
    manifest = read_json(cell.folder / "manifest.json")
    assert manifest is not None and len(manifest["starts"]) == 2
    assert f"-i {run / 'rl_model_9_steps.zip'}" in (cell.folder / "log.txt").read_text()


def test_a_checkpoint_counts_with_its_replay_buffer(cell: Cell) -> None:
    cell = with_arguments(cell, "--save-replay-buffer")
    run = cell.folder / "run" / "algo" / "env_1"
    run.mkdir(parents=True)
    for number in (500, 1000, 1500):
        with zipfile.ZipFile(run / f"rl_model_{number}_steps.zip", "w") as file:
            file.writestr("policy", "weights")
    assert cell.checkpoint() is None
    (run / "rl_model_replay_buffer_500_steps.pkl").write_bytes(b"whole.")
    (run / "rl_model_replay_buffer_1000_steps.pkl").write_bytes(b"half")
    assert cell.checkpoint() == run / "rl_model_500_steps.zip"


def test_what_fails_from_a_checkpoint_is_tried_anew(cell: Cell, tmp_path: Path) -> None:
    cell = with_arguments(cell, "--checkpoint", "7", "--fail-if", str(tmp_path / "cause"))
    for expected in (["env_1"], ["env_1", "env_2"], ["env_1"]):  # anew, from the checkpoint, anew
        with pytest.raises(CellError):
            run_cells([cell], n_jobs=1, retry=True)
        assert runs(cell) == expected


def test_a_killed_training_is_reported_with_its_signal(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "wait").touch()
    cell = with_arguments(cell, "--while", str(tmp_path / "wait"))

    def kill(running: list[Training]) -> None:
        for training in running:
            assert training.process is not None
            training.process.kill()

    with pytest.raises(CellError, match="killed by signal 9"):
        run_cells([cell], n_jobs=1, watch=kill)


def test_a_training_that_somebody_stopped_is_not_called_done(cell: Cell, tmp_path: Path) -> None:
    """A training answers a signal with a checkpoint and this exit status: the command must not end as if all were done."""
    with pytest.raises(StoppedError, match=r"(?s)1 of 2 trainings were stopped from outside:.*seed 0"):
        run_cells(
            [with_arguments(cell, "--stopped", "143"), replace(cell, method="another", seed=1, folder=tmp_path / "other")],
            n_jobs=2,
        )
    assert cell.state == "interrupted"


def test_what_is_over_is_done_though_its_process_died_at_anothers_training(cell: Cell, tmp_path: Path) -> None:
    """Cells that learn together in one process, of which one was finished before it died."""
    over, left = Training(cell), Training(replace(cell, seed=1, folder=tmp_path / "other"), starts=False)
    while over.process.poll() is None:
        time.sleep(0.02)
    write_manifest(left.cell, None)
    for training in (over, left):
        training._is_shared = True
        training._mark(-9)
    assert cell.is_done and left.cell.state == "failed"


def test_runs_that_were_stopped_together_go_on_together(tmp_path: Path) -> None:
    """From the newest step of which all have a checkpoint; others from their own, and nobody begins anew for another one."""

    def run(name: str, *steps: int) -> Path:
        for step in steps:
            folder = tmp_path / name / FOLDER / f"{step:010}"
            folder.mkdir(parents=True)
            (folder / "checkpoint.json").write_text('{"format": "sb3_nbsp.checkpoint/1", "files": {}, "blobs": {}}')
        (tmp_path / name).mkdir(exist_ok=True)
        return tmp_path / name

    one, two = run("one", 40, 50), run("two", 30, 40)  # killed while checkpoints of 50 were written
    other, fresh = run("other", 5, 10), run("fresh")  # of another population, and before its first checkpoint
    assert _common_checkpoints([one, None, two, other, fresh]) == [one, None, two, other, None]
    assert [sorted(checkpoints_of(path / FOLDER)) for path in (one, two, other)] == [[40], [30, 40], [5, 10]]


def test_a_training_that_outlived_its_command_is_waited_for(cell: Cell, tmp_path: Path) -> None:
    (tmp_path / "wait").touch()
    cell = with_arguments(cell, "--while", str(tmp_path / "wait"))
    orphan = Training(cell)
    assert orphan._lock is not None and orphan.process is not None
    orphan._lock.close()  # as when the command is killed
    polls: list[bool] = []

    def watch(running: list[Training]) -> None:
        polls.extend(training.is_elsewhere for training in running)
        (tmp_path / "wait").unlink(missing_ok=True)

    assert lock_holder(cell.folder) == orphan.process.pid
    run_cells([cell], n_jobs=1, watch=watch)
    assert polls[0] is True
    assert cell.is_done and runs(cell) == ["env_1"]
    orphan.process.wait()


@pytest.mark.parametrize("keep", [True, False])
def test_weights_go_when_a_cell_is_done(cell: Cell, keep: bool) -> None:
    run_cells([with_arguments(cell, "--checkpoint", "7")], n_jobs=1, keep_weights=keep)
    left = {path.name for path in (cell.folder / "run").rglob("*.zip")}
    assert left == ({"env.zip", "rl_model_7_steps.zip"} if keep else set())
    assert ("deleted the agent's files" in (cell.folder / "log.txt").read_text()) != keep
    assert (cell.folder / "run" / "algo" / "env_1" / "results.json").is_file()


def test_a_folder_with_another_training_is_refused(cell: Cell) -> None:
    run_cells([cell], n_jobs=1)
    with pytest.raises(ForeignCellError, match=r"(?s)Expected the same training as before .*arguments: .* there, .* now"):
        run_cells([with_arguments(cell, "--other")], n_jobs=1)
    run_cells([replace(cell, method="renamed")], n_jobs=1)  # a name decides over no number


def test_progress_without_a_terminal_has_a_line_for_each_cell(cell: Cell, tmp_path: Path) -> None:
    cells = [replace(cell, seed=seed, folder=tmp_path / f"{seed}") for seed in range(2)]
    output = io.StringIO()
    train_with_progress(cells, n_jobs=1, console=Console(file=output, width=100))
    assert "[1/2] m, env, seed 0: done after" in output.getvalue()
    assert "[2/2] m, env, seed 1: done after" in output.getvalue()
    assert "all 2 trainings" in output.getvalue()


def test_jobs_of_an_array_train_the_cells(cell: Cell, tmp_path: Path) -> None:
    """submitit's local executor: the same jobs as processes on this machine."""
    pytest.importorskip("submitit")
    import cloudpickle

    from sb3_nbsp.benchmark.slurm import submit

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    finished = replace(cell, seed=1, folder=tmp_path / "finished")
    run_cells([finished], n_jobs=1)
    broken = replace(
        with_arguments(cell, "--fail-if", str(tmp_path / "cause")), method="broken", seed=2, folder=tmp_path / "broken"
    )
    jobs = submit([cell, finished, broken], tmp_path / "slurm", cluster="local", keep_weights=False)
    assert len(jobs) == 2
    jobs[0].result()
    assert cell.is_done and not list(cell.folder.rglob("*.zip"))
    assert "what went wrong" in str(jobs[1].exception()) and broken.state == "failed"


def test_demo_ends_with_a_table_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rl_zoo3")
    demo.main(["-f", str(tmp_path), "--algo", "dqn", "--seeds", "0", "--steps-per-task", "60", "--n-jobs", "2"])
    table = (tmp_path / "demo.md").read_text()
    assert all(method in table for method in demo.methods("dqn"))
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    assert "demo.png" in capsys.readouterr().out


def test_demo_says_in_words_what_was_learned_and_what_was_lost() -> None:
    words = demo.in_words([("one", [run_of(0.25), run_of(0.75)]), ("two", [run_of(1.0)])])
    assert "success on a and b" in words
    assert "- one: learned 1.00 and 1.00 in the first visits; stood at 0.50 and 1.00 after both, at 0.50 and 1.00 at" in words
    assert "- two: learned 1.00 and 1.00 in the first visits; stood at 1.00 and 1.00 after both" in words


SUITE = """
seeds: [0]
common:
  algo: nbspsac
  env_kwargs: {steps_per_task: 60, cycles: 1}
  eval_freq: 125
  eval_episodes: 1
  save_freq: 125
  params: {learning_starts: 30, scoring_steps: 30, policy_kwargs: "dict(net_arch=[16, 16])"}
sequences:
  there and back: {env: sb3_nbsp/PointGoal-v0}
methods:
  first: {params: {memory_size: 10}}
  second: {env_kwargs: {steps_per_task: 500}}
"""


def test_a_suite_that_is_killed_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    """Two real trainings. The command is killed in the second one, and so is the training, after its first checkpoint."""
    pytest.importorskip("rl_zoo3")
    (tmp_path / "suite.yml").write_text(SUITE)
    command = [sys.executable, "-m", "sb3_nbsp.cli", "benchmark", "suite.yml", "-f", "out", "--n-jobs", "1"]
    first, second = (tmp_path / "out" / "there-and-back" / name / "seed0" for name in ("first", "second"))
    killed = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = second / "run" / "nbspsac" / "sb3_nbsp-PointGoal-v0_1"
    deadline = time.monotonic() + 120
    while not any(int(path.parent.name) >= 125 for path in run.glob("checkpoints/[0-9]*/checkpoint.json")):
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    os.kill(lock_holder(second) or 0, signal.SIGKILL)
    killed.wait()
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()}
    assert (first / "done.json").is_file() and not (second / "done.json").exists()

    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert output.returncode == 0, output.stdout + output.stderr
    assert "1 started and not finished" in output.stdout and "1 done: will not be repeated" in output.stdout
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()} == before
    manifest = read_json(second / "manifest.json")
    assert manifest is not None and str(tmp_path) not in str(manifest)
    assert manifest["continued_from"].startswith("run/nbspsac/")
    results = SequenceResults.read(second)
    assert [e.step for e in results.evaluations] == [0, 125, 250, 375, 500, 625, 750, 875, 1000] and results.finished
    assert [list(read_skill_neurons(cell)) for cell in (first, second)] == [["east", "west"]] * 2
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.suffix in (".zip", ".pkl", ".npz")]
    assert left == [] and [path.name for path in second.glob("run/*/*")] == [run.name]
