"""
What a model does with an env, on every kind of both. The table in docs/guide/tasks.md is made of ``ROWS``:

    python tests/common/test_next_step.py
"""

from pathlib import Path
from types import SimpleNamespace

import pytest

from sb3_nbsp.common.next_step import NextStep, next_step
from sb3_nbsp.common.position import SequencePosition

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "tasks.md"


def sequence(*visits: tuple[str, int], ids: bool = False, width: int | None = None) -> SimpleNamespace:
    names = tuple(dict.fromkeys(task for task, _ in visits))
    segments, steps = tuple(task for task, _ in visits), tuple(n for _, n in visits)
    width = (len(names) if ids else 0) if width is None else width
    return SimpleNamespace(task_names=names, segments=segments, segment_steps=steps, id_width=width)


ABA = sequence(("A", 100), ("B", 50), ("A", 100))
OTHER = sequence(("C", 100), ("D", 100))


def position(steps: int = 0, followed: SimpleNamespace | None = ABA, fresh: bool = False, pending: str | None = None):
    made = SequencePosition(SequencePosition.new_record())
    if followed is not None:
        made.follow(followed)
    made.moved_to(steps)
    if not fresh:
        made.learned()
    if pending:
        made.task_ended(pending)
    return made


WITH_IDS = position(120, sequence(*zip(ABA.segments, ABA.segment_steps, strict=True), ids=True))
NEW = position(followed=None, fresh=True)
BY_HAND, DONE_BY_HAND = position(followed=None), position(followed=None, fresh=True)
MIDDLE, SWITCH, FINISHED = position(120), position(100, fresh=True), position(250, fresh=True)
CONSOLIDATED = position(120, fresh=True)
PENDING = position(100, pending="A")

# (the model, the env, what happens), then (position, sequence, env steps by hand), then (kind, steps)
ROWS = [
    (("new", "any sequence", "begin it"), (NEW, ABA, 0), ("begin", 0)),
    (("anywhere", "the same sequence", "go on where the model stands, wherever someone else has stepped the env to"),
     (MIDDLE, ABA, 0), ("go on", 120)),
    (("anywhere", "the same up to here, and the running task longer than what was taken of it; what lies ahead is free",
      "go on in it"), (MIDDLE, sequence(("A", 100), ("B", 90), ("B", 5)), 0), ("extend", 120)),
    (("between two tasks", "another sequence", "begin it"), (SWITCH, OTHER, 0), ("begin", 0)),
    (("between two tasks", "an env by hand", "begin it"), (SWITCH, None, 0), ("begin", 0)),
    (("at the end", "another sequence, or an env by hand", "begin it"), (FINISHED, OTHER, 0), ("begin", 0)),
    (("just consolidated in the middle of a task", "another sequence, or an env by hand", "begin it"),
     (CONSOLIDATED, OTHER, 0), ("begin", 0)),
    (("just consolidated in the middle of a task", "the same sequence", "go on in the task, which is consolidated again"),
     (CONSOLIDATED, ABA, 0), ("go on", 120)),
    (("in the middle of a task", "another sequence, or an env by hand", "refuse: `consolidate()` or `abandon_task()` first"),
     (MIDDLE, OTHER, 0), ("refuse", 0)),
    (("in the middle of a task", "the same tasks with ids of another length", "refuse, too: observations are others"),
     (WITH_IDS, sequence(("A", 100), ("B", 50), ("A", 100), ids=True, width=8), 0), ("refuse", 0)),
    (("a task has ended and is not consolidated", "a sequence with this task", "consolidate it, then as above"),
     (PENDING, ABA, 0), ("go on", 100)),
    (("a task has ended and is not consolidated", "one without it, or an env by hand", "refuse"),
     (PENDING, OTHER, 0), ("refuse", 0)),
    (("learned by hand, not consolidated", "any sequence", "refuse"), (BY_HAND, ABA, 70), ("refuse", 0)),
    (("learned by hand, not consolidated", "an env by hand", "go on; `set_env()` warns"), (BY_HAND, None, 70), ("go on", 0)),
    (("learned by hand and consolidated", "any sequence", "begin it"), (DONE_BY_HAND, ABA, 0), ("begin", 0)),
    (("at the end", "the same sequence", "say so; learn on its last task, which is consolidated again after it"),
     (FINISHED, ABA, 0), ("beyond", 250)),
    (("at the end", "the same, and more behind it", "go on in it"),
     (position(300, fresh=True), sequence(("A", 100), ("B", 50), ("A", 100), ("C", 10)), 0), ("extend", 250)),
]  # fmt: skip


@pytest.mark.parametrize(("words", "given", "expected"), ROWS, ids=[f"{m}: {e}" for (m, e, _), _, _ in ROWS])
def test_what_the_table_says(words, given, expected):
    step = next_step(*given)
    assert (step.kind, step.steps) == expected
    assert bool(step.reason) == (step.kind == "refuse")


MORE = [
    # by hand where the row has a sequence, and the other way round
    (FINISHED, None, 0, "begin"), (CONSOLIDATED, None, 0, "begin"), (MIDDLE, None, 0, "refuse"), (PENDING, None, 0, "refuse"),
    (NEW, None, 0, "go on"), (NEW, None, 40, "go on"), (DONE_BY_HAND, None, 0, "go on"),
    # a model taken over from SB3 has steps that nobody says anything of
    (NEW, ABA, 5000, "begin"),
    # the running task must be longer than what was taken, and the same
    (MIDDLE, sequence(("A", 100), ("B", 20)), 0, "refuse"), (MIDDLE, sequence(("A", 100), ("B", 21)), 0, "extend"),
    (MIDDLE, sequence(("A", 100), ("C", 50)), 0, "refuse"), (MIDDLE, sequence(("A", 99), ("B", 51)), 0, "refuse"),
    (MIDDLE, sequence(("A", 100)), 0, "refuse"), (CONSOLIDATED, sequence(("A", 100)), 0, "begin"),
    (CONSOLIDATED, sequence(("A", 100), ("C", 50)), 0, "begin"),
    # between tasks what was completed must be the same
    (SWITCH, sequence(("A", 100), ("C", 50)), 0, "extend"), (SWITCH, sequence(("A", 90), ("C", 50)), 0, "begin"),
    (SWITCH, sequence(("A", 100)), 0, "extend"),
    # ids
    (SWITCH, sequence(("A", 100), ("B", 50), ("A", 100), ids=True), 0, "begin"),
    (MIDDLE, sequence(("A", 100), ("B", 50), ("A", 100), ids=True), 0, "refuse"),
    (WITH_IDS, sequence(("A", 100), ("B", 50), ("A", 100), ids=True, width=2), 0, "go on"),
    (WITH_IDS, sequence(("A", 100), ("B", 50), ("C", 100), ids=True), 0, "refuse"),
    (WITH_IDS, sequence(("A", 100), ("B", 50), ("C", 100), ids=True, width=2), 0, "extend"),
    # a pending task decides by its name only
    (PENDING, sequence(("A", 100), ("C", 50)), 0, "extend"), (PENDING, sequence(("C", 100), ("A", 50)), 0, "begin"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "env", "by_hand", "kind"), MORE)
def test_inputs_of_the_same_kinds(model, env, by_hand, kind):
    assert next_step(model, env, by_hand).kind == kind


@pytest.mark.parametrize(("n_envs", "steps"), [(1, 100), (4, 102), (5, 100)])
def test_what_goes_beyond_a_segments_end_is_not_the_next_ones(n_envs, steps):
    """Where the number of sub-envs does not divide the segment."""
    ended = position(steps, pending="A")
    for consolidates in (False, True):
        if consolidates:
            ended.consolidated(steps)
        assert next_step(ended, sequence(("A", 100), ("C", 50))) == NextStep("extend", steps)
        assert next_step(ended, ABA) == NextStep("go on", steps)
        assert next_step(ended, sequence(("C", 100), ("A", 50))).kind == "begin"
    ended.moved_to(steps + n_envs), ended.learned()
    assert next_step(ended, sequence(("A", 100), ("C", 50))).kind == "refuse"
    assert next_step(ended, sequence(("A", 100), ("B", 20))).kind == "extend"


def test_a_refusal_names_both_and_the_two_ways_on():
    reason = next_step(MIDDLE, OTHER).reason
    assert all(word in reason for word in ("B is learned since 20 env steps", "C, D", "consolidate(", "abandon_task()"))
    assert "A has ended" in next_step(PENDING, None).reason
    assert "the task given by hand was learned for 70 env steps" in next_step(BY_HAND, ABA, 70).reason


def test_an_older_files_place_is_found_by_lengths():
    older = SequencePosition(SequencePosition.record_of_older({"sequence_steps": 120, "segment_steps": [100, 50, 100]}))
    older.learned()
    assert (next_step(older, ABA).kind, next_step(older, ABA).steps) == ("go on", 120)
    assert next_step(older, sequence(("A", 100), ("B", 60))).kind == "extend"
    assert next_step(older, OTHER).kind == "extend"  # its lengths fit: the names are not known
    assert next_step(older, sequence(("C", 70), ("D", 70))).kind == "refuse"


def table() -> str:
    lines = ["| the model | the env it is given | what `learn()` does |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(words)} |" for words, _, _ in ROWS)])


def test_the_guides_table_is_this_one():
    assert table() in PAGE.read_text()


if __name__ == "__main__":
    print(table())
