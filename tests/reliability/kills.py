"""
Trainings that are killed at random moments and gone on with by one command, against the same training left alone.

    kills.py FOLDER ALGO N_KILLS SEED
    kills.py FOLDER ALGO N_FULL full

prints a line for each kill and comparison; its exit status is the number of chains that lost or changed anything. With "full"
the disk gets full at so many moments instead, spread over all writes of a training, and stays so to its end.

A script of its own, as rl-zoo3 changes global state: each training is a fork of it, so that libraries are imported once.
"""

import csv
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch as th
from full_disk import full_disk
from stable_baselines3.common.save_util import load_from_zip_file

from sb3_nbsp.zoo import commands

KILLS_PER_CHAIN = 5
ENV = "sb3_nbsp-PointGoal-v0"
COMMON = ["--eval-freq", "60", "--eval-episodes", "1", "--checkpoint-freq", "25", "--verbose", "0", "--device", "cpu"]
OFF_POLICY = ["learning_starts:30", "buffer_size:120", "batch_size:16"]
ALGORITHMS = {
    "nbspsac": (OFF_POLICY, []),
    "nbspdqn": ([*OFF_POLICY, "train_freq:2", "target_update_interval:20"], ["discrete:True"]),
    "nbspppo": (["n_steps:16", "batch_size:8", "n_epochs:2"], []),
}


def arguments(algo: str, seed: int) -> list[str]:
    params, kwargs = ALGORITHMS[algo]
    params = [*params, "scoring_steps:60", "policy_kwargs:dict(net_arch=[8,8])"]
    env = ["--env", "sb3_nbsp/PointGoal-v0", "--env-kwargs", "steps_per_task:120", "horizon:10", "cycles:2", *kwargs]
    return ["--algo", algo, *env, "-params", *params, "--seed", str(seed), *COMMON]


def start(folder: Path, command: list[str], within: AbstractContextManager[Any] | None = None) -> int:
    """A training in a process of its own, inside a context; what it prints is appended to ``log.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.chdir(folder)
            log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1), os.dup2(log, 2)
            with within or nullcontext():
                commands.train(command)
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
            if not isinstance(error.code, int):
                print(error.code, flush=True)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return process


def ended(process: int) -> int:
    """Wait for its end; the exit status, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def outcome(run: Path) -> dict[str, Any]:
    """All that a run leaves, but for times."""
    results = json.loads((run / "results.json").read_text())
    rows = [{name: value for name, value in row.items() if name != "wall_s"} for row in results.pop("evaluations")]
    results.pop("wall_time_s")
    with (run / "0.monitor.csv").open() as file:
        episodes = [row[:2] for row in list(csv.reader(file))[1:]]
    models = {name: load_from_zip_file(run / f"{name}.zip", load_data=False)[1:] for name in (ENV, "best_model")}
    texts = {name: (run / name).read_text() for name in ("evaluations.csv", "matrix.csv", "skill_neurons.json")}
    names = sorted(str(path.relative_to(run)) for path in run.rglob("*") if "checkpoints" not in path.parts)
    return {"results": results, "rows": rows, "episodes": episodes, "models": models, "texts": texts, "files": names}


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return th.equal(one, other) if isinstance(one, th.Tensor) else bool(one == other)


def left_over(run: Path) -> list[str]:
    """Temporary files, and checkpoints, which a finished run has no use for."""
    return [str(path) for path in run.rglob("*") if path.name.startswith(".") or path.name == "checkpoints"]


def wait_for_checkpoint(run: Path, process: int) -> None:
    """Until a training has written a checkpoint, or has ended."""
    before = {path: path.stat().st_mtime_ns for path in (run / "checkpoints").glob("[0-9]*")}
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        with suppress(FileNotFoundError):  # renamed while it is looked at
            if {path: path.stat().st_mtime_ns for path in (run / "checkpoints").glob("[0-9]*")} != before:
                return
        time.sleep(0.01)


def chain(folder: Path, run: Path, algo: str, seed: int, n_kills: int, seconds: float, moments: random.Random) -> int:
    """
    Kill a training again and again: one time in four at any moment from its start, else at any moment after it has written
    a checkpoint of its own, or the machine's load would have most of them met before anything is learned.

    :param seconds: that the whole training takes
    :return: how many kills met a training that was running
    """
    hits = 0
    for kill in range(n_kills):
        # Without a run's arguments there is nothing to go on with: the process had not begun.
        process = start(folder, ["--resume", str(run)] if any(run.glob("*/args.yml")) else arguments(algo, seed))
        if moments.random() < 0.75:
            wait_for_checkpoint(run, process)
            time.sleep(moments.uniform(0, seconds / KILLS_PER_CHAIN))
        else:
            time.sleep(moments.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        status = ended(process)
        steps = sorted(path.name for path in (run / "checkpoints").glob("[0-9]*"))
        print(f"  kill {kill}: {'hit' if status < 0 else f'had ended ({status})'}, checkpoints {steps}", flush=True)
        hits += status < 0
        if not any(run.glob("*/args.yml")) and run.exists():
            shutil.rmtree(run)
        if status >= 0:
            break
    return hits


@contextmanager
def counted(folder: Path) -> Iterator[None]:
    """A disk with room enough; how much is taken is written to ``writes.txt``."""
    with full_disk(folder / "logs", float("inf")) as disk:
        yield
    (folder / "writes.txt").write_text(str(disk.n_written))


def fill(folder: Path, algo: str, n_full: int) -> int:
    """Fill the disk at moments spread over a training, go on with room again, and compare."""
    whole = folder / "whole"
    assert ended(start(whole, arguments(algo, 1), counted(whole))) == 0, (whole / "log.txt").read_text()
    expected = outcome(whole / "logs" / algo / f"{ENV}_1")
    n_writes, failed = int((whole / "writes.txt").read_text()), 0
    for room in range(0, n_writes, n_writes // n_full):
        stopped = folder / f"full_{room}"
        run = stopped / "logs" / algo / f"{ENV}_1"
        status = ended(start(stopped, arguments(algo, 1), full_disk(stopped / "logs", room)))
        steps = sorted(path.name for path in (run / "checkpoints").glob("[0-9]*"))
        differ, left = gone_on(stopped, run, algo, 1, expected)
        told = "equal" if not differ else f"differs in {differ}"
        print(f"{algo} full after {room} of {n_writes} writes: exit {status}, checkpoints {steps}, {told}; left over: {left}")
        failed += bool(differ or left)
    print(
        f"{algo}: {failed} of {len(range(0, n_writes, n_writes // n_full))} trainings on a full disk lost or changed anything"
    )
    return failed


def gone_on(folder: Path, run: Path, algo: str, seed: int, expected: dict[str, Any]) -> tuple[list[str], list[str]]:
    """One command for a training that was stopped; what differs then from one that was left alone, and what is left over."""
    if not any(run.glob("*/args.yml")) and run.exists():
        shutil.rmtree(run)  # it had not begun
    status = ended(start(folder, ["--resume", str(run)] if run.exists() else arguments(algo, seed)))
    if status != 0:
        print(f"  the last command ended with {status}:\n{(folder / 'log.txt').read_text()[-2000:]}")
    found = outcome(run) if status == 0 else {}
    return [name for name, value in expected.items() if not equal(found.get(name), value)], left_over(run)


def main(folder: Path, algo: str, n_kills: int, seed: int) -> int:
    """Kill at random moments, go on, and compare."""
    started = time.perf_counter()
    whole = folder / "whole"
    assert ended(start(whole, arguments(algo, seed))) == 0, (whole / "log.txt").read_text()
    seconds = time.perf_counter() - started
    expected = outcome(whole / "logs" / algo / f"{ENV}_1")
    moments, failed, hits, number = random.Random(seed), 0, 0, 0
    while hits < n_kills:
        stopped = folder / f"chain_{number}"
        run = stopped / "logs" / algo / f"{ENV}_1"
        n_hits = chain(stopped, run, algo, seed, min(KILLS_PER_CHAIN, n_kills - hits), seconds, moments)
        differ, left = gone_on(stopped, run, algo, seed, expected)
        print(f"{algo} chain {number}: {'equal' if not differ else f'differs in {differ}'}; left over: {left}", flush=True)
        failed, hits, number = failed + bool(differ or left), hits + n_hits, number + 1
    print(f"{algo}: {hits} kills in {number} chains, {number - failed} of them equal to the training that was left alone")
    return failed


if __name__ == "__main__":
    folder, algo, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    sys.exit(fill(folder, algo, number) if sys.argv[4] == "full" else main(folder, algo, number, int(sys.argv[4])))
