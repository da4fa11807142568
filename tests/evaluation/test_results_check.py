"""A results file with numbers that no run can have written is refused, and the entry is named."""

import json
import math

import pytest

from sb3_nbsp.evaluation.results import Evaluation, SequenceResults


def content():
    rows = [
        Evaluation(step, segment, kind, {"a": 0.5, "b": None}, {"a": -1.0, "b": math.nan}, 0.1)
        for step, segment, kind in ((0, 0, "start"), (10, 0, "switch"), (20, 1, "switch"))
    ]
    return json.loads(SequenceResults(("a", "b"), ("a", "b"), (10, 10), rows).to_json())


def test_what_a_run_writes_is_read():
    assert SequenceResults.from_json(json.dumps(content())).evaluations[1].success == {"a": 0.5, "b": None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["evaluations"][1]["success"].update(a=17), "success of evaluation 1 on 'a' must be null or"),
        (lambda r: r["evaluations"][1]["success"].update(a="yes"), "success of evaluation 1"),
        (lambda r: r["evaluations"][1]["success"].pop("a"), "success and mean_return of evaluation 1"),
        (lambda r: r["evaluations"][1]["mean_return"].update(a="x"), "mean_return of evaluation 1"),
        (lambda r: r["evaluations"][1].update(step=math.nan), "step of evaluation 1"),
        (lambda r: r["evaluations"][1].update(step="x"), "step of evaluation 1"),
        (lambda r: r["evaluations"][1].update(segment=9), "segment of evaluation 1"),
        (lambda r: r["evaluations"][1].update(segment=-1), "segment of evaluation 1"),
        (lambda r: r["evaluations"][1].update(kind="x"), "evaluation 1: kind must be one of"),
        (lambda r: r["evaluations"].append(r["evaluations"][1]), "order of their steps"),
        (lambda r: r.update(segments=["x", "y"]), "segments must be names of tasks"),
        (lambda r: r.update(segment_steps=[10]), "segment_steps"),
        (lambda r: r.update(segment_steps=["a", "b"]), "segment_steps"),
        (lambda r: r.update(task_names=["a", "a"]), "task_names"),
        (lambda r: r.update(finished="yes"), "finished"),
        (lambda r: r.update(settings=[1]), "settings"),
        (lambda r: r.update(seed="x"), "seed"),
    ],
)
def test_what_no_run_writes_is_refused(tmp_path, change, words):
    changed = content()
    change(changed)
    (tmp_path / "results.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=rf"results\.json: .*{words}"):
        SequenceResults.read(tmp_path)
