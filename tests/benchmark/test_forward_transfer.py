"""Forward transfer of a report: a sequence's tasks beside the same tasks alone."""

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.reported_runs import evaluation, run_of

from sb3_nbsp.benchmark import report
from sb3_nbsp.benchmark.comparison import Comparison, MethodRuns, group
from sb3_nbsp.benchmark.find_runs import collect
from sb3_nbsp.benchmark.forward_transfer import performance_alone, transfer, transfer_section
from sb3_nbsp.benchmark.manifest import write_done, write_manifest
from sb3_nbsp.benchmark.report import write_report
from sb3_nbsp.benchmark.suite import Suite, SuiteError
from sb3_nbsp.evaluation import Evaluation, SequenceResults

SUITE = """
seeds: [0, 1]
common: {algo: nbspsac}
sequences: {both: {env: sb3_nbsp/PointGoal-v0}, only a: {env: sb3_nbsp/A-v0}, only b: {env: sb3_nbsp/B-v0}}
methods:
  single task: {sequences: [only a, only b]}
  plain: {sequences: [both]}
references: single task
"""
ALONE = {"a": (0.6, 0.8), "b": (0.5, 0.5)}  # by seed


def alone(task: str, seed: int) -> SequenceResults:
    end = evaluation(10, 0, "switch", ALONE[task][seed], ALONE[task][seed])
    end = replace(end, success={task: end.success[task]}, mean_return={task: end.mean_return[task]})
    return SequenceResults((task,), (task,), (10,), [end], {}, seed, finished=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "suite.yml").write_text(SUITE)
    suite = Suite.read(tmp_path / "suite.yml")
    suite.write(tmp_path / "out")
    for cell in suite.cells(tmp_path / "out"):
        write_manifest(cell, None)
        run = run_of(seed=cell.seed) if cell.sequence == "both" else alone(cell.sequence[-1], cell.seed)
        run.write(cell.folder)
        write_done(cell, 1.0)
    return tmp_path / "out"


@pytest.mark.known_answer
def test_minus_the_mean_of_the_references(folder: Path) -> None:
    comparisons = group(collect(folder).runs, last=1)
    known = performance_alone(comparisons[0], comparisons, "single task")
    assert known == {"a": [0.6, 0.8], "b": [0.5, 0.5]}
    plain = comparisons[0].method("plain")
    assert plain is not None
    # After a's first segment 1.0 on a, after b's 1.0 on b; alone 0.7 and 0.5.
    assert transfer(plain, known) == {"a": pytest.approx([0.3, 0.3]), "b": pytest.approx([0.5, 0.5])}
    text, table = transfer_section(comparisons[0], "single task", known)
    assert "single task" in text and "| 0.40 [0.40, 0.40] | 0.30 [0.30, 0.30] | 0.50 [0.50, 0.50] |" in table
    assert transfer_section(comparisons[1], "single task", known) == []  # a task alone


@pytest.mark.known_answer
@pytest.mark.parametrize("known", [True, False])
def test_continual_worlds_metrics_stand_in_a_file_of_their_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Whatever number of last evaluations the others are judged by."""
    monkeypatch.setattr(report, "draw", lambda *_: None)
    for path in folder.glob("only-*/*/*/results.json"):
        run = SequenceResults.read(path)
        (task,) = run.task_names
        rows = [replace(run.evaluations[0], step=step, success={task: rate}) for step, rate in ((0, 0.2), (10, 0.6))]
        replace(run, evaluations=[replace(rows[0], kind="start"), rows[1]] if known else rows[1:]).write(path.parent)
    write_report(folder, tmp_path / "report", last=1 if known else 2)
    lines = (tmp_path / "report" / "continual_world.csv").read_text().splitlines()
    assert lines[0] == (tmp_path / "report" / "summary.csv").read_text().splitlines()[0]
    means = {tuple(line.split(",")[:4]): line.split(",")[4] for line in lines[1:]}
    assert float(means["both", "plain", "2", "cw_performance"]) == pytest.approx((0.5 + 0.5 + 0.0 + 1.0) / 4)
    assert float(means["both", "plain", "2", "cw_forgetting"]) == pytest.approx(((0.75 - 0.25) + (0.75 - 0.75)) / 2)
    transfer_of = means["both", "plain", "2", "cw_forward_transfer"]
    if known:  # areas: a 0.725, b 0.425, each alone 0.4
        assert float(transfer_of) == pytest.approx(((0.725 - 0.4) / 0.6 + (0.425 - 0.4) / 0.6) / 2)
    else:  # one evaluation is no curve
        assert transfer_of == ""
    assert means["only a", "single task", "2", "cw_forward_transfer"] == ""


def test_only_references_as_long_and_in_the_same_env_count(folder: Path) -> None:
    both, alone_a, alone_b = group(collect(folder).runs, last=1)
    longer = replace(alone_a.first, segment_steps=(99,))
    other = replace(alone_a, sequence="longer", methods=[replace(alone_a.methods[0], curves=[longer], judged=[longer])])
    assert performance_alone(both, [both, alone_a, alone_b, other], "single task")["a"] == [0.6, 0.8]
    assert list(performance_alone(both, [both, other, alone_b], "single task")) == ["b"]
    v1 = replace(alone_a, env_settings=("reward_function_version:'v1'",))
    assert list(performance_alone(both, [both, v1, alone_b], "single task")) == ["b"]
    assert list(performance_alone(replace(both, env_settings=v1.env_settings), [v1, alone_b], "single task")) == ["a"]


def told(tasks: str, success: list[float | None], returns: list[float], scores: dict | None = None) -> Comparison:
    """One method, one run, judged on every task right after each segment of 10 steps."""
    values = dict(zip(tasks, success, strict=True)), dict(zip(tasks, returns, strict=True))
    rows = [Evaluation(10 * (k + 1), k, "switch", *values, 0.1) for k in range(len(tasks))]
    run = SequenceResults(tuple(tasks), tuple(tasks), (10,) * len(tasks), rows, finished=True, reference_scores=scores or {})
    return Comparison(tasks, [MethodRuns("any", "any", None, [run], [run])])


HUMAN = {"a": (10.0, 30.0), "b": (0.0, 2.0)}  # returns of a random player and of a human


@pytest.mark.known_answer
@pytest.mark.parametrize(
    "beside, a, b, alone_a, difference",
    [
        # The run of a alone tells success 1.0 and a return of 25; in the sequence a has success 0.5 and a return of 20.
        (told("ab", [0.5, 0.5], [20.0, 1.0]), 1.0, [0.5, 1.0], 1.0, -0.5),
        (told("ab", [0.5, None], [20.0, 1.0]), 1.0, [None, 1.0], 25.0, -5.0),
        (told("ab", [0.5, None], [20.0, 1.0], HUMAN), 1.0, [None, 1.0], 0.75, -0.25),
        (told("ab", [None, None], [20.0, 1.0], HUMAN), None, [None, 1.0], 0.75, -0.25),
    ],
    ids=["success", "return", "normalised beside success", "normalised beside return"],
)
def test_references_are_read_in_the_sequences_measure(beside, a, b, alone_a, difference) -> None:
    both = [beside, told("a", [a], [25.0]), told("b", b[:1], b[1:])]
    known = performance_alone(beside, both, "any")
    assert known["a"] == [alone_a]
    assert transfer(beside.methods[0], known)["a"] == pytest.approx([difference])


def test_references_that_do_not_tell_the_sequences_measure_are_missing() -> None:
    beside = told("ab", [0.5, 0.5], [20.0, 1.0])
    both = [beside, told("a", [None], [25.0]), told("b", [0.5], [1.0])]
    known = performance_alone(beside, both, "any")
    assert known == {"b": [0.5]}
    (text,) = transfer_section(beside, "any", known)
    assert text.endswith("on a that is as long, in the same env and told in success.")


def test_what_was_never_evaluated_tells_no_measure() -> None:
    beside = told("ab", [0.5, None], [20.0, 1.0])
    never = replace(beside.first, evaluations=[])
    beside = replace(beside, methods=[MethodRuns("never", "never", None, [never], [never]), *beside.methods])
    assert beside.labels()["asr"] == "AR"


@pytest.mark.known_answer
def test_areas_of_a_task_alone_are_read_in_the_sequences_measure() -> None:
    alone = told("a", [1.0], [25.0]).first
    alone.evaluations.insert(0, replace(alone.evaluations[0], step=0, kind="start"))
    assert alone.auc() == {"a": 1.0} and alone.auc("return") == {"a": 25.0}


def test_the_env_of_a_comparison_is_told_by_its_arguments(tmp_path: Path) -> None:
    """Which tasks, how long and in which order belongs to the sequence."""
    given = "A-v0, env_kwargs: {tasks: [a, b], steps_per_task: 9, task_id: true}"
    (tmp_path / "suite.yml").write_text(SUITE.replace("A-v0", given))
    for cell in Suite.read(tmp_path / "suite.yml").cells(tmp_path / "out"):
        write_manifest(cell, None)
        run_of(seed=cell.seed).write(cell.folder)
        write_done(cell, 1.0)
    settings = {found.sequence: found.env_settings for found in group(collect(tmp_path / "out").runs, last=1)}
    assert settings == {"both": (), "only a": ("task_id:True",), "only b": ()}


def test_no_transfer_without_all_references(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "draw", lambda *_: None)
    assert "minus that of the same task alone" in write_report(folder, tmp_path / "report").read_text()
    for done in folder.glob("only-b/*/*/done.json"):
        done.unlink()
    text = write_report(folder, tmp_path / "report").read_text()
    none = "there is no finished run of *single task* on b that is as long, in the same env and told in success."
    assert f"Forward transfer is not told: {none}" in text
    assert "minus that of the same task alone" not in text


def test_references_are_a_method(tmp_path: Path) -> None:
    path = tmp_path / "suite.yml"
    path.write_text(SUITE.replace("references: single task", "references: singel task"))
    with pytest.raises(SuiteError, match=r"references one of the methods 'single task', 'plain', got 'singel task'"):
        Suite.read(path)
