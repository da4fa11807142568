"""Runs for reports, written without training."""

from dataclasses import replace
from pathlib import Path

from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.manifest import write_done, write_failed, write_manifest
from sb3_nbsp.benchmark.suite import Suite
from sb3_nbsp.evaluation import Evaluation, SequenceResults
from sb3_nbsp.evaluation.results import Kind
from sb3_nbsp.evaluation.skill_file import write_skill_neurons
from sb3_nbsp.neurons.skill_neurons import LayerSkill, SkillNeurons

SUITE = """
seeds: [0, 1, 2]
common: {algo: nbspsac}
sequences: {S: {env: sb3_nbsp/PointGoal-v0}, T: {env: sb3_nbsp/PointGoal4-v0}}
methods:
  plain: {algo: sac}
  memory: {axis: {memory_size: [0, 100]}, sequences: [S]}
baselines: [plain]
last_evaluations: 2
"""


def evaluation(step: int, segment: int, kind: Kind, a: float, b: float) -> Evaluation:
    return Evaluation(step, segment, kind, {"a": a, "b": b}, {"a": 10 * a, "b": 10 * b}, 0.1)


def run_of(last_a: float = 0.0, seed: int = 0, settings: dict | None = None) -> SequenceResults:
    evaluations = [
        evaluation(0, 0, "start", 0.9, 0.9),
        evaluation(5, 0, "interval", 0.5, 0.0),
        evaluation(10, 0, "switch", 1.0, 0.0),
        evaluation(13, 1, "start", 0.0, 0.0),  # went on from a checkpoint
        evaluation(15, 1, "interval", 0.5, 0.5),
        evaluation(20, 1, "switch", last_a, 1.0),
    ]
    return SequenceResults(("a", "b"), ("a", "b"), (10, 10), evaluations, settings or {}, seed, finished=True)


def skill_neurons(task: str = "a") -> SkillNeurons:
    """Two networks. Of the actor's five neurons two are silent and two chosen, one is both."""
    actor = LayerSkill("actor", [0.5, 0.7, 0.75, 1.0, 0.51], [0.3, 1.0, 0.0, 0.00001, 0.0], [2, 3])
    critic = LayerSkill("critic.qf0", [0.6, 2 / 3], [0.5, 0.5], [1])
    return SkillNeurons(task, "published", "success", 0.5, 100_000, {"actor.0": actor, "critic.qf0.0": critic})


def write_benchmark(folder: Path) -> Path:
    """
    A benchmark with a failed cell, one that was interrupted and one that was not started; one kept its skill neurons.

    :return: its root
    """
    (folder / "suite.yml").write_text(SUITE)
    suite = Suite.read(folder / "suite.yml")
    root = folder / "out"
    suite.write(root)
    for cell in suite.cells(root):
        key = cell.sequence, cell.method, cell.seed
        if key == ("S", "plain", 2):
            continue
        write_manifest(cell, None)
        (cell.folder / "log.txt").write_text("a line\n")
        if key == ("S", "memory, memory size 0", 2):
            write_failed(cell, "exit status 1", "what went wrong")
        elif key == ("S", "memory, memory size 100", 2):
            _finish(cell, root_of_run=True)
        else:
            _finish(cell)
        if key == ("S", "memory, memory size 100", 0):
            write_skill_neurons({task: skill_neurons(task).to_dict() for task in "ab"}, cell.folder)
    return root


def _finish(cell: Cell, root_of_run: bool = False) -> None:
    better = 0.0 if cell.axis is None else 0.2 + cell.axis[1] / 200
    run = run_of(better + 0.1 * cell.seed, cell.seed)
    if root_of_run:
        replace(run, evaluations=run.evaluations[:3], finished=False).write(cell.folder / "run" / "algo" / "env_1")
    else:
        run.write(cell.folder)
        write_done(cell, 1.0)
