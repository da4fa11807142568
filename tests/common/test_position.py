"""The place in a sequence, without an algorithm."""

import json
from types import SimpleNamespace

import pytest

from sb3_nbsp.common.position import SequencePosition, ended_segment

ABA = SimpleNamespace(task_names=("A", "B"), segments=("A", "B", "A"), segment_steps=(100, 50, 100), id_width=2)


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
    assert at(steps).has_just_switched(1) == at_switch


@pytest.mark.known_answer
@pytest.mark.parametrize(
    ("steps", "n_envs", "segment"),
    [
        (99, 3, None),
        (102, 3, 0),
        (102, 2, None),
        (105, 3, None),
        (150, 3, 1),
        (152, 7, 1),
        (154, 7, 1),
        (252, 3, 2),
        (255, 3, None),
    ],
)
def test_where_sub_envs_do_not_divide_a_segment_it_ends_a_little_later(steps, n_envs, segment):
    assert ended_segment(ABA.segment_steps, steps, n_envs) == segment
    assert at(steps).has_just_switched(n_envs) == (segment is not None)


def test_the_record_is_plain_and_the_view_has_no_state_of_its_own():
    position = at(120)
    position.task_begins("B")
    position.task_ended("A")
    record = json.loads(json.dumps(position.record))
    assert record == position.record == {
        "visits": [["A", 100], ["B", 50], ["A", 100]], "id_width": 2, "steps": 120, "task": "B", "pending": "A",
        "consolidated_at": 0, "carried": 0, "fresh": True, "updates": 0, "ended_at": 120,
    }  # fmt: skip
    other = SequencePosition(record)
    assert (other.steps, other.task, other.pending, other.segment_steps) == (120, "B", "A", [100, 50, 100])
    other.consolidated(130)
    assert (other.task, other.pending, other.steps_by_hand(130), other.steps) == (None, None, 0, 120)
    assert position.pending == "A"


def test_by_hand_there_is_no_progress():
    position = at(120)
    position.leave_sequence()
    assert position.progress_remaining() is None and not position.has_just_switched(1) and position.steps == 0


def test_steps_by_hand_are_counted_however_often_sb3_begins_anew():
    position = SequencePosition(SequencePosition.new_record())
    position.count_from_zero(0)
    assert position.steps_by_hand(70) == 70
    position.count_from_zero(70)
    assert (position.steps_by_hand(0), position.steps_by_hand(30)) == (70, 100)
    position.consolidated(30)
    assert (position.steps_by_hand(30), position.steps_by_hand(50)) == (0, 20)


@pytest.mark.known_answer
@pytest.mark.parametrize(
    ("steps", "completed", "in_segment", "left", "finished"),
    [(0, 0, 0, 100, False), (99, 0, 99, 1, False), (100, 1, 0, 50, False), (249, 2, 99, 1, False), (250, 3, 0, None, True)],
)
def test_where_it_is_in_the_sequence(steps, completed, in_segment, left, finished):
    position = at(steps)
    assert (position.n_completed, position.steps_in_segment, position.steps_left()) == (completed, in_segment, left)
    assert position.is_finished == finished and not position.is_inside  # nothing was learned yet
    position.learned()
    assert position.is_inside == (in_segment > 0 and not finished)


def test_an_older_files_attributes_become_a_record():
    older = {"sequence_steps": 70, "segment_steps": [60, 60], "task_to_consolidate": None, "consolidated_at": 60, "gamma": 0.9}
    attributes = {**older, "current_task": "west"}
    record = SequencePosition.record_of_older(attributes)
    assert attributes == {"gamma": 0.9}
    assert record == {
        "visits": [[None, 60], [None, 60]], "id_width": 0, "steps": 70, "task": "west", "pending": None, "consolidated_at": 60,
        "carried": 0, "fresh": False, "updates": -1, "ended_at": None,
    }  # fmt: skip
    assert SequencePosition.record_of_older(attributes) is None
    by_hand = SequencePosition.record_of_older({"sequence_steps": 0, "segment_steps": None})
    assert by_hand == SequencePosition.new_record() | {"updates": -1}
