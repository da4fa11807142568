"""What a suite costs before it is trained."""

from pathlib import Path

import gymnasium as gym
import pytest
from torch import nn

from sb3_nbsp import NBSPSAC, baselines
from sb3_nbsp.benchmark.cells import Cell
from sb3_nbsp.benchmark.suite import Suite, SuiteError
from sb3_nbsp.common.activation_functions import ACTIVATIONS
from sb3_nbsp.tasks.registration import sequence_of_id

pytest.importorskip("rl_zoo3")
from sb3_nbsp.zoo import benchmark_command
from sb3_nbsp.zoo.benchmark_cost import cost_of, cost_statement
from sb3_nbsp.zoo.update_cost import WITHOUT_AUTOGRAD, known_settings, n_updates, update_ms

NOWHERE = Path("/nowhere")


def step_ms(algo, settings):
    return update_ms(algo, known_settings(algo, settings))


@pytest.mark.known_answer
def test_a_gradient_step_of_the_published_sizes_takes_what_was_published():
    """docs/performance.md, at one thread."""
    wide = {"policy_kwargs": {"net_arch": [256, 256]}}
    assert step_ms("nbspsac", {**wide, "batch_size": 256}) == pytest.approx(6.34, rel=0.01)
    assert step_ms("nbspsac", {"policy_kwargs": "dict(net_arch=[400, 400])"}) == pytest.approx(13.22, rel=0.01)
    assert step_ms("nbspsac", {"policy_kwargs": "dict(net_arch=[256] * 4)"}) > 1.5 * step_ms("nbspsac", {})
    assert step_ms("nbsptqc", wide) == pytest.approx(22.0, rel=0.01)
    assert step_ms("dqn", wide) == pytest.approx(1.62, rel=0.01)
    assert step_ms("nbspqrdqn", wide) == pytest.approx(25.2, rel=0.02)
    assert step_ms("ppo", {}) == pytest.approx(2.0, rel=0.01)
    assert step_ms("nbspdqn", {"policy": "CnnPolicy"}) == pytest.approx(43.1, rel=0.05)
    assert step_ms("nbspppo", {"policy": "CnnPolicy"}) == pytest.approx(58.9, rel=0.05)


def test_what_is_slow_costs_more():
    plain = step_ms("nbspsac", {})
    two = ["sb3_nbsp.baselines.EWC", "sb3_nbsp.baselines.NPC", {"sb3_nbsp.baselines.PlasticityInjection": {}}]
    assert step_ms("nbspsac", {"callback": two}) == pytest.approx((1 + 0.4 + 1.6) * plain)
    copies = ["sb3_nbsp.baselines.SavedCopies", {"sb3_nbsp.baselines.Resets": {}}]
    assert step_ms("nbspsac", {"callback": copies}) == plain
    for activation in ("nn.Tanh", "nn.ELU"):
        other = f"dict(net_arch=[256, 256], activation_fn={activation})"
        assert step_ms("nbspsac", {"policy_kwargs": other}) == 2 * plain
    for activation in ("sb3_nbsp.baselines.CReLU", "nn.LeakyReLU", "torch.nn.ReLU"):
        known = f"dict(net_arch=[256, 256], activation_fn={activation})"
        assert step_ms("nbspsac", {"policy_kwargs": known}) == plain
    for optimizer, factor in (("sb3_nbsp.baselines.UPGD", 2), ("th.optim.AdamW", 1), ("my.own.Adam", 2)):
        assert step_ms("nbspsac", {"policy_kwargs": f"dict(optimizer_class={optimizer})"}) == factor * plain
    as_mapping = {"net_arch": [256, 256], "activation_fn": nn.LeakyReLU}
    assert step_ms("nbspsac", {"policy_kwargs": as_mapping}) == plain
    assert step_ms("nbspsac", {"policy_kwargs": {**as_mapping, "activation_fn": nn.Tanh}}) == 2 * plain
    assert {kind.__name__ for kind in ACTIVATIONS} == set(WITHOUT_AUTOGRAD)


METHODS = [name for name in baselines.__all__ if "on_task_end" in vars(getattr(baselines, name)) and name != "AGEM"]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "TaskBoundaryCallback"])
def test_no_baseline_needs_autograd_throughout(name):
    method = getattr(baselines, name)
    env = gym.make("sb3_nbsp/PointGoal-v0", steps_per_task=60)
    sizes = {"learning_starts": 10, "batch_size": 8, "policy_kwargs": {"net_arch": [8, 8]}}
    model = NBSPSAC("MlpPolicy", env, skill_fraction=0, memory_size=0, **sizes)
    model.learn(80, callback=method())
    assert (model.update_path, model.update_obstacle) == ("fast", None)


@pytest.mark.known_answer
def test_gradient_steps_are_counted_as_sb3_takes_them():
    assert n_updates(known_settings("nbspppo", {"n_steps": 128, "n_envs": 8, "batch_size": 256, "n_epochs": 4}), 1024) == 16
    assert n_updates(known_settings("ppo", {}), 2048) == 320
    assert n_updates(known_settings("sac", {}), 100) == 100 and n_updates(known_settings("dqn", {}), 100) == 25
    assert n_updates(known_settings("nbspsac", {"train_freq": 5, "gradient_steps": 2, "n_envs": 2}), 100) == 20
    assert n_updates(known_settings("nbspsac", {"gradient_steps": -1, "n_envs": 4}), 100) == 100
    assert n_updates(known_settings("nbsptqc", {"train_freq": [1, "step"]}), 100) == 100


@pytest.mark.known_answer
def test_steps_of_shipped_suites():
    cells = {(cell.sequence, cell.method): cell for cell in Suite.read("quick.yml").cells(NOWHERE, seeds=[0])}
    assert (cost_of(cells["four tasks", "NBSP"]).steps, cost_of(cells["two tasks", "NBSP"]).steps) == (8_000, 8_000)
    pytest.importorskip("metaworld")
    paper = Suite.read("paper.yml").cells(NOWHERE, ["NBSP"], [0])
    assert [cost_of(cell).steps for cell in paper] == [2_000_000] * 4
    for suite, n_tasks, size in (("continual_world.yml", 20, (1_000_000, 1_000_000)), ("cw3.yml", 3, (20_000, 80_000))):
        alone = Suite.read(suite).cells(NOWHERE, ["single task"], [0])
        assert {(cost_of(cell).steps, cost_of(cell).updates) for cell in alone} == {size} and len(alone) == n_tasks
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


@pytest.mark.parametrize(
    "methods, told",
    [
        (["masks only", "NBSP, hard mask"], "20 cells learn together, in 2 processes of 10 agents each"),
        (["masks only", "NBSP, hard mask", "MAS"], "20 cells learn together, in 2 processes of 10 agents each"),
        (["MAS"], "none of these can learn together"),
    ],
)
def test_a_dry_run_tells_what_learns_together(methods, told, tmp_path, capsys):
    arguments = ["quick.yml", "-f", str(tmp_path), "--sequences", "four tasks", "--only", *methods, "--dry-run"]
    benchmark_command.main(arguments)
    assert "--population" not in capsys.readouterr().out.splitlines()[-1]
    benchmark_command.main([*arguments, "--population", "--n-jobs", "2"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert told in last and ("10 are trained by themselves" in last) == ("MAS" in methods and len(methods) > 1)


def test_a_dry_run_says_nothing_of_populations_where_nothing_is_left(tmp_path, capsys):
    for cell in Suite.read("quick.yml").cells(tmp_path, ["MAS"], [0], ["four tasks"]):
        cell.folder.mkdir(parents=True)
        (cell.folder / "done.json").write_text("{}")
    arguments = ["quick.yml", "-f", str(tmp_path), "--sequences", "four tasks", "--only", "MAS", "--seeds", "0"]
    benchmark_command.main([*arguments, "--dry-run", "--population"])
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing is left to train."


def test_ppo_and_the_dqns_have_hours(tmp_path):
    cost = cost_of(Cell("PPO", "nbspppo", "sb3_nbsp/PointGoalDiscrete-v0", 0, tmp_path))
    assert cost.steps == 80_000 and cost.updates == 12_500  # what hyperparams/nbspppo.yml says
    assert 0.005 < cost.hours < 0.05
    dqn = cost_of(Cell("DQN", "dqn", "sb3_nbsp/PointGoalDiscrete-v0", 0, tmp_path))
    assert dqn.updates == dqn.steps == 8_000 and 0.002 < dqn.hours < 0.02


def test_atari_and_dmc_are_slower_than_the_point_mass(tmp_path):
    pytest.importorskip("ale_py")
    pytest.importorskip("dm_control")
    arguments = ("--env-kwargs", "steps_per_task:1_000", "--eval-episodes", "1")
    pong, cartpole = (
        cost_of(Cell("any", "nbspppo", f"sb3_nbsp/{env}-v0", 0, tmp_path, arguments)) for env in ("PongBreakout", "DMC")
    )
    point = cost_of(Cell("any", "nbspppo", "sb3_nbsp/PointGoal-v0", 0, tmp_path, arguments))
    assert pong.steps == point.steps == 4_000 and cartpole.steps == 2_000
    assert pong.hours > 2 * point.hours and cartpole.hours > point.hours


def test_an_id_that_repeats_actions_costs_as_much_as_one_that_is_told_to(tmp_path):
    pytest.importorskip("dm_control")
    tasks = "tasks:['cartpole-swingup','cartpole-balance']"
    told = ("--env-kwargs", tasks, "steps_per_task:(10_000,20_000)", "action_repeat:8")
    settings = ("-params", "batch_size:128", "policy_kwargs:{'net_arch': [64, 64]}")
    own = cost_of(Cell("any", "nbspsac", "sb3_nbsp/CartpoleSwingupBalance-v0", 0, tmp_path))
    other = cost_of(Cell("any", "nbspsac", "sb3_nbsp/DMC-v0", 0, tmp_path, (*told, *settings)))
    assert own == other and own.steps == 30_000


def test_an_algorithm_whose_times_are_not_known_is_named(tmp_path):
    cells = [Cell(algo, algo, "sb3_nbsp/PointGoal-v0", 0, tmp_path / algo) for algo in ("a2c", "sac")]
    assert cost_of(cells[0]).steps == 8_000 and cost_of(cells[0]).hours == 0
    text = cost_statement(cells, 2)
    assert text.endswith("to a factor of two; not for a2c on sb3_nbsp/PointGoal-v0, whose times are not known.")
    assert "| ? " in text


def test_sequences_are_chosen_by_name():
    suite = Suite.read("continual_world.yml")
    pushes = {f"{task}{reward}" for task in ("push", "push-back", "push-wall") for reward in ("", ", reward v1")}
    assert {cell.sequence for cell in suite.cells(NOWHERE, sequences=["push*", "hammer"])} == pushes | {"hammer"}
    with pytest.raises(SuiteError, match="Expected sequences among 'CW10'"):
        suite.cells(NOWHERE, sequences=["CW20"])


def test_a_sequence_is_told_without_its_environments():
    sequence = sequence_of_id("sb3_nbsp/PointGoal4-v0", steps_per_task=10)
    assert sequence is not None and (sequence.total_steps, len(sequence.tasks)) == (40, 4)
    assert sequence_of_id("Pendulum-v1") is None
