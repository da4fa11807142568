"""The place in a sequence, without an algorithm."""

import json
from types import SimpleNamespace

import pytest

from sb3_nbsp.common.position import SequencePosition

ABA = SimpleNamespace(task_names=("A", "B"), segments=("A", "B", "A"), segment_steps=(100, 50, 100), task_id=True)


def at(steps: int) -> SequencePosition:
    position = SequencePosition(SequencePosition.new_record())
    position.follow(ABA)
    position.moved_to(steps)
    return position


@pytest.mark.known_answer
@pytest.mark.parametrize(
    ("steps", "progress", "at_switch"),
    [
        (0, 1.0, False), (25, 0.75, False), (100, 1.0, True), (110, 0.8, False), (150, 1.0, True), (250, 0.0, True),
        (300, 0.0, False),
    ],
)  # fmt: skip
def test_progress_counts_from_the_segments_beginning(steps, progress, at_switch):
    assert at(steps).progress_remaining() == pytest.approx(progress)
    assert at(steps).is_at_switch == at_switch


def test_the_record_is_plain_and_the_view_has_no_state_of_its_own():
    position = at(120)
    position.task_begins("B")
    position.task_ended("A")
    record = json.loads(json.dumps(position.record))
    assert record == position.record == {
        "visits": [["A", 100], ["B", 50], ["A", 100]], "id_width": 2, "steps": 120, "task": "B", "pending": "A",
        "consolidated_at": 0,
    }  # fmt: skip
    other = SequencePosition(record)
    assert (other.steps, other.task, other.pending, other.segment_steps) == (120, "B", "A", [100, 50, 100])
    other.consolidated(130)
    assert (other.task, other.pending, other.consolidated_at, other.steps) == (None, None, 130, 120)
    assert position.pending == "A"


def test_by_hand_there_is_no_progress():
    position = at(120)
    position.leave_sequence()
    assert position.progress_remaining() is None and not position.is_at_switch and position.steps == 120


@pytest.mark.parametrize("steps", [0, 100])
def test_steps_that_were_not_consolidated_are_told(steps, recwarn):
    position = at(0)
    position.consolidated(50)
    position.warn_of_unconsolidated(50 + steps)
    assert [str(warning.message)[:19] for warning in recwarn] == (["The last 100 env st"] if steps else [])


def test_an_older_files_attributes_become_a_record():
    older = {"sequence_steps": 70, "segment_steps": [60, 60], "task_to_consolidate": None, "consolidated_at": 60, "gamma": 0.9}
    attributes = {**older, "current_task": "west"}
    record = SequencePosition.record_of_older(attributes)
    assert attributes == {"gamma": 0.9}
    assert record == {
        "visits": [[None, 60], [None, 60]], "id_width": 0, "steps": 70, "task": "west", "pending": None, "consolidated_at": 60,
    }  # fmt: skip
    assert SequencePosition.record_of_older(attributes) is None
    by_hand = SequencePosition.record_of_older({"sequence_steps": 0, "segment_steps": None})
    assert by_hand == SequencePosition.new_record()
