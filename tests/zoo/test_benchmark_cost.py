"""What a suite costs before it is trained."""

from pathlib import Path

import pytest

from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.suite import Suite, SuiteError
from sb3_nbsp.tasks.registration import sequence_of_id

pytest.importorskip("rl_zoo3")
from sb3_nbsp.zoo.benchmark_cost import cost_of, cost_statement, update_ms

NOWHERE = Path("/nowhere")


@pytest.mark.known_answer
def test_a_gradient_step_of_the_published_sizes_takes_what_was_published():
    """docs/performance.md: 6.34 ms and 13.22 ms at one thread."""
    assert update_ms({"policy_kwargs": {"net_arch": [256, 256]}, "batch_size": 256}) == pytest.approx(6.34, rel=0.01)
    assert update_ms({"policy_kwargs": "dict(net_arch=[400, 400])"}) == pytest.approx(13.22, rel=0.01)
    assert update_ms({"policy_kwargs": "dict(net_arch=[256] * 4)"}) > 1.5 * update_ms({})


def test_what_takes_the_slow_path_costs_twice():
    plain = update_ms({})
    assert update_ms({"callback": ["sb3_nbsp.baselines.EWC"]}) == 2 * plain
    assert update_ms({"callback": ["sb3_nbsp.baselines.SavedCopies", {"sb3_nbsp.baselines.Resets": {}}]}) == plain
    assert update_ms({"policy_kwargs": "dict(net_arch=[256, 256], activation_fn=sb3_nbsp.baselines.CReLU)"}) == 2 * plain


@pytest.mark.known_answer
def test_steps_of_shipped_suites():
    cells = {(cell.sequence, cell.method): cell for cell in Suite.read("quick.yml").cells(NOWHERE, seeds=[0])}
    assert (cost_of(cells["four tasks", "NBSP"]).steps, cost_of(cells["two tasks", "NBSP"]).steps) == (8_000, 8_000)
    pytest.importorskip("metaworld")
    paper = Suite.read("paper.yml").cells(NOWHERE, ["NBSP"], [0])
    assert [cost_of(cell).steps for cell in paper] == [2_000_000] * 4
    alone = Suite.read("continual_world.yml").cells(NOWHERE, ["single task"], [0])
    assert {(cost_of(cell).steps, cost_of(cell).updates) for cell in alone} == {(60_000, 240_000)} and len(alone) == 10
    ten = Suite.read("continual_world.yml").cells(NOWHERE, ["EWC"], [0], ["CW10*"])
    assert [cost_of(cell).steps for cell in ten] == [10_000_000] * 2


def test_a_statement_counts_what_is_left(tmp_path):
    cells = Suite.read("quick.yml").cells(tmp_path, ["rehearsal", "MAS"], [0, 1])
    text = cost_statement(cells, 2)
    assert "| four tasks | 10 " in text and "| two tasks  | 8 " in text and "with 2 at a time" in text
    for cell in cells:
        cell.folder.mkdir(parents=True)
        (cell.folder / "done.json").write_text("{}")
    assert cost_statement(cells, 2) == "Nothing is left to train."


def test_ppo_has_steps_but_no_hours(tmp_path):
    cost = cost_of(Cell("PPO", "nbspppo", "sb3_nbsp/PointGoal-v0", 0, tmp_path))
    assert cost.steps == 8_000 and cost.hours == 0


def test_sequences_are_chosen_by_name():
    suite = Suite.read("continual_world.yml")
    assert {cell.sequence for cell in suite.cells(NOWHERE, sequences=["push*", "hammer"])} == {
        "hammer",
        "push-wall",
        "push-back",
        "push",
    }
    with pytest.raises(SuiteError, match="Expected sequences among 'CW10'"):
        suite.cells(NOWHERE, sequences=["CW20"])


def test_a_sequence_is_told_without_its_environments():
    sequence = sequence_of_id("sb3_nbsp/PointGoal4-v0", steps_per_task=10)
    assert sequence is not None and (sequence.total_steps, len(sequence.tasks)) == (40, 4)
    assert sequence_of_id("Pendulum-v1") is None
