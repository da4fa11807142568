"""Cells that learn together: which they are, and that what is left of them is what single trainings leave."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.local_runner import run_cells
from sb3_nbsp.benchmark.packs import packs_of
from sb3_nbsp.benchmark.suite import Suite
from sb3_nbsp.benchmark.training import start_together

pytest.importorskip("rl_zoo3")
SMALL = (
    "--env-kwargs", "steps_per_task:100", "cycles:1", "--eval-episodes", "2", "--verbose", "0", "--device", "cpu",
    "-params", "learning_starts:40", "batch_size:16", "scoring_steps:60", "policy_kwargs:dict(net_arch=[16,16])",
)  # fmt: skip


def cell(folder: Path, method: str, seed: int, *params: str) -> Cell:
    place = folder / method / f"seed{seed}"
    return Cell(method, "nbspsac", "sb3_nbsp/PointGoal-v0", seed, place, (*SMALL, *params))


def test_the_quick_suites_packs():
    cells = Suite.read("quick.yml").cells(Path("nowhere"), seeds=[0, 1])
    packs = packs_of(cells, n_jobs=2)
    assert sorted(c.name for pack in packs for c in pack) == sorted(c.name for c in cells)
    together = [pack for pack in packs if len(pack) > 1]
    assert sum(map(len, together)) > len(cells) / 2 and max(map(len, packs)) <= 40
    for pack in together:
        assert len({c.env for c in pack}) == 1 and {c.algo for c in pack} == {"nbspsac"}
        assert not any("callback" in argument for c in pack for argument in c.arguments)


def test_what_shapes_training_tells_packs_apart(tmp_path):
    one = cell(tmp_path, "a", 0)
    assert len(packs_of([one, replace(one, seed=1)], 1)) == 1
    assert len(packs_of([one, cell(tmp_path, "b", 0, "memory_size:0", "gamma:0.9")], 1)) == 1
    for param in ("batch_size:32", "ent_coef:0.1", "clone_batch_size:5", "callback:['x']", "fast_update:False"):
        assert len(packs_of([one, cell(tmp_path, "b", 0, param)], 1)) == 2, param
    assert len(packs_of([one, replace(one, env="sb3_nbsp/PointGoal4-v0")], 1)) == 2
    assert [len(pack) for pack in packs_of([replace(one, seed=seed) for seed in range(10)], 3)] == [4, 4, 2]


def test_members_may_learn_different_tasks(tmp_path):
    cells = Suite.read("cw3.yml").cells(tmp_path, ["single task"])
    (pack,) = packs_of(cells, 1)
    assert len(pack) == 9 and len({c.sequence for c in pack}) == 3
    by_seed = packs_of(cells, 3)
    assert [len({c.seed for c in some}) for some in by_seed] == [1, 1, 1]


def test_a_pack_of_different_tasks(tmp_path):
    """Of different numbers of tasks, too: they are told apart when their envs are there."""

    def of(name, tasks):
        kwargs = (
            "--env-kwargs",
            f"tasks:{tasks!r}",
            "steps_per_task:60",
            "cycles:1",
            "--eval-episodes",
            "1",
            *SMALL[SMALL.index("--verbose") :],
        )
        return Cell("a", "nbspsac", "sb3_nbsp/PointGoal-v0", 0, tmp_path / name, kwargs, sequence=name)

    cells = [of("east", ["east"]), of("west", ["west"]), of("both", ["east", "west"])]
    run_cells(cells, n_jobs=1, population=True)
    assert [c.results().task_names for c in cells] == [("east",), ("west",), ("east", "west")]
    log = (cells[0].folder / "log.txt").read_text()
    assert "2 agents learn together" in log and "success on east" in log and "success on west" in log


def test_a_pack_leaves_what_single_trainings_leave(tmp_path):
    def cells(folder: str) -> list[Cell]:
        of_methods = [(tmp_path / folder, "a", ()), (tmp_path / folder, "b", ("memory_size:0",))]
        return [cell(place, method, seed, *params) for place, method, params in of_methods for seed in (0, 1)]

    run_cells(cells("alone")[:1], n_jobs=1)
    run_cells(cells("together"), n_jobs=1, population=True)
    alone, together = cells("alone")[0], cells("together")
    assert all(c.is_done for c in together)
    assert "4 agents learn together" in (together[0].folder / "log.txt").read_text()
    assert str(together[0].folder / "log.txt") in (together[3].folder / "log.txt").read_text()
    files = [{path.relative_to(c.folder).as_posix() for path in c.folder.rglob("*")} for c in (alone, *together[:2])]
    files = [{name for name in names if "/store/" not in name} for names in files]  # named after what is in them
    assert files[1] - files[0] == {"together.json"} and files[0] == files[2]
    results = [json.loads((c.folder / "results.json").read_text()) for c in (alone, *together)]
    assert [r["seed"] for r in results] == [0, 0, 1, 0, 1] and results[0]["settings"] == results[1]["settings"]
    assert results[3]["settings"]["memory_size"] == 0
    for one, other in zip(results[0]["evaluations"], results[1]["evaluations"], strict=True):
        assert (one["step"], one["kind"], one["success"]) == (other["step"], other["kind"], other["success"])


def test_a_pack_that_was_stopped_goes_on_from_the_newest_step_of_all(tmp_path):
    longer = [argument.replace("steps_per_task:100", "steps_per_task:400") for argument in SMALL]
    cells = [cell(tmp_path, "a", seed) for seed in (0, 1)]
    cells = [replace(c, arguments=(*longer, "--checkpoint-freq", "50")) for c in cells]

    def steps(c: Cell) -> set[int]:
        return {int(path.parent.name) for path in c.folder.glob("run/*/*/checkpoints/[0-9]*/checkpoint.json")}

    trainings = start_together(cells)
    while not all(max(steps(c), default=0) >= 100 for c in cells):
        assert trainings[0].process.poll() is None
        time.sleep(0.05)
    for training in trainings:
        training.stop()
    assert steps(cells[0]) & steps(cells[1])  # told to stop, all come to it at one step
    trainings = start_together(cells)
    runs = json.loads((cells[0].folder / "together.json").read_text())["runs"]
    assert all("-i" in run for run in runs)
    trainings[0].process.wait()
    assert all(training.ended() for training in trainings) and all(c.is_done for c in cells)
    assert "Going on from" in (cells[0].folder / "log.txt").read_text()
    assert [e.kind for e in cells[1].results().evaluations if e.kind == "switch"] == ["switch"] * 2
    assert [path.name for path in cells[0].folder.glob("run/*/*")] == ["sb3_nbsp-PointGoal-v0_1"]  # in its own folder
