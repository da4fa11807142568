"""Arguments that make no sense are refused by name when a model is made, SB3's own too; what defeats the method warns."""

import inspect
import re
from math import inf, nan

import pytest
import torch as th
from helpers.cases import DQN_CASE, PPO_CASE, QRDQN_CASE, SAC_CASE, TABLE, TQC_CASE, every_case
from torch.nn import functional as F

from sb3_nbsp.base.success import success_of
from sb3_nbsp.baselines import UPGD
from sb3_nbsp.checkpoints.callback import RunCheckpoints
from sb3_nbsp.common.parents_arguments import LEARN
from sb3_nbsp.evaluation import (
    TaskEvaluator,
    average_success,
    bootstrap_interval,
    forward_transfer,
    normalised_return,
    register_context,
)
from sb3_nbsp.neurons import select_top
from sb3_nbsp.population import Population
from sb3_nbsp.protection import MaskedOptimizer
from sb3_nbsp.tasks import PointGoalEnv, Task, TaskSequence, TaskSequenceEnv, point_goal_sequence

OFF_POLICY = {
    "learning_rate": [-1e-3, nan, inf, "0.001", None, lambda: 1, lambda _: nan, lambda _: "x"],
    "gamma": [2, -0.1, nan, "0.99"],
    "stats_window_size": [0, "x"],
    "tensorboard_log": [5],
    "verbose": ["high"],
    "seed": [-1, "0", 1.5, 2**40],
    "device": ["gpu0", 5],
    "policy_kwargs": ["net"],
    "env": [None, 5],
    "buffer_size": [0, -5, 1.5, "100"],
    "learning_starts": [-1, "100", nan, 1.5],
    "batch_size": [0, -1, 1.5, "64", None, True],
    "tau": [-0.1, 2, nan, "x"],
    "train_freq": [0, -1, "often", (1, "steps"), (0, "step"), 1.5, None],
    "gradient_steps": [-2, "1", 1.5],
    "replay_buffer_class": ["ReplayBuffer", int],
    "replay_buffer_kwargs": [[1], {"foo": 1}, {"memory_size": 5}, {"n_envs": 2}],
    "optimize_memory_usage": ["False", 1],
    "n_steps": [0, -1, 1.5],
    "target_update_interval": [0, -1, 1.5],
}
MAX_ENTROPY = {
    "action_noise": ["normal", 0.1],
    "ent_coef": ["automatic", -1.0, nan, "auto_x", None],
    "target_entropy": ["big", nan],
    "use_sde": ["False", 1],
    "sde_sample_freq": [-2, "x"],
    "use_sde_at_warmup": ["no"],
}
GREEDY = {
    "exploration_fraction": [-0.1, 1.5, nan],
    "exploration_initial_eps": [1.5],
    "exploration_final_eps": [-0.1, "0.05"],
    "max_grad_norm": [-1, 0, nan, "x"],
}
ON_POLICY = {
    **{name: OFF_POLICY[name] for name in ("learning_rate", "gamma", "seed", "device", "env", "policy_kwargs")},
    "n_steps": [0, -1, 1.5, "16"],
    "batch_size": [0, -1, 1.5, "64"],
    "n_epochs": [0, -1, 1.5],
    "gae_lambda": [2, -0.1, nan],
    "clip_range": [-0.1, 0, nan, "0.2"],
    "clip_range_vf": [nan, "0.2"],
    "vf_coef": [-1, nan, "x"],
    "ent_coef": [nan, "auto"],
    "max_grad_norm": [-1, nan, "x"],
    "normalize_advantage": ["False"],
    "target_kl": [-0.1, "x", nan],
    "rollout_buffer_class": ["RolloutBuffer"],
    "rollout_buffer_kwargs": [5, {"foo": 1}, {"gamma": 0.5}],
    "use_sde": ["False"],
}
BY_CASE = [
    (SAC_CASE, {**OFF_POLICY, **MAX_ENTROPY}),
    (TQC_CASE, {**MAX_ENTROPY, "top_quantiles_to_drop_per_net": [5, -1, 1.5, "2"]}),
    (DQN_CASE, {**GREEDY, "batch_size": [0], "learning_rate": [inf]}),
    (QRDQN_CASE, GREEDY),
    (PPO_CASE, ON_POLICY),
]
WRONG = [(case, name, value) for case, table in BY_CASE for name, values in table.items() for value in values]
NAMES = [f"{case.id}-{name}-{'schedule' if callable(value) else value}" for case, name, value in WRONG]


def constructed(case, **wrong):
    settings = {**case.settings(scoring_steps=60, memory_size=50), **wrong}
    env = settings.pop("env") if "env" in settings else case.sequence_env()
    return case.cls(settings.pop("policy", "MlpPolicy"), env, **settings)


@pytest.mark.parametrize(("case", "name", "value"), WRONG, ids=NAMES)
def test_what_makes_no_sense_is_refused_by_name(case, name, value):
    with pytest.raises(ValueError, match=f"^{name}"):
        constructed(case, **{name: value})


@every_case
def test_every_argument_of_the_parents_is_checked(case):
    parameters = set(inspect.signature(case.parent).parameters) - {"_init_setup_model"}
    assert parameters <= set(case.cls.parents_arguments)


@every_case
def test_the_parents_defaults_are_allowed(case):
    case.cls("MlpPolicy", case.sequence_env(), device="cpu")


@pytest.mark.parametrize(
    ("policy_kwargs", "words"),
    [
        ({"net_arc": [64]}, "net_arc"),
        ({"net_arch": "64"}, "net_arch"),
        ({"net_arch": [0]}, "net_arch"),
        ({"net_arch": [64.5]}, "net_arch"),
        ({"net_arch": {"x": [4]}}, "net_arch"),
        ({"activation_fn": "relu"}, "activation_fn"),
        ({"activation_fn": th.nn.ReLU()}, "activation_fn"),
        ({"activation_fn": F.relu}, "activation_fn"),
        ({"normalize_images": "no"}, "normalize_images must be True or False"),
        ({"features_extractor_class": "Flatten"}, "features_extractor_class"),
        ({"features_extractor_class": th.nn.Flatten()}, "features_extractor_class"),
        ({"optimizer_class": th.optim.LBFGS}, "LBFGS"),
        ({"optimizer_kwargs": {"eps": "x"}}, "optimizer_kwargs"),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", str(value)),
)
@pytest.mark.parametrize("case", [SAC_CASE, DQN_CASE, PPO_CASE], ids=lambda case: case.id)
def test_what_a_policy_cannot_have_is_named(case, policy_kwargs, words):
    with pytest.raises((ValueError, TypeError), match=words):
        case.cls("MlpPolicy", case.sequence_env(), **{**case.settings(), "policy_kwargs": dict(policy_kwargs)})


@every_case
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("total_timesteps", -5), ("total_timesteps", nan), ("total_timesteps", "100"), ("log_interval", 0),
        ("log_interval", 1.5), ("reset_num_timesteps", "False"), ("progress_bar", "False"), ("callback", 5),
        ("tb_log_name", 5),
    ],
)  # fmt: skip
def test_learn_refuses_too(case, name, value):
    with pytest.raises((ValueError, TypeError), match=f"^{name} must be"):
        case.made().learn(**{"total_timesteps": 60, name: value})


@every_case
def test_the_names_of_what_learn_takes_are_in_order(case):
    assert list(inspect.signature(case.cls.learn).parameters)[1:] == list(LEARN)


@pytest.mark.parametrize(
    ("case", "settings", "words"),
    [
        (SAC_CASE, {"replay_interval": 1}, "replay_interval=1 takes every batch"),
        (SAC_CASE, {"replay_mode": "share", "old_task_fraction": 1.0}, "old_task_fraction=1 fills every batch"),
        (PPO_CASE, {"rehearsal": "clip", "replay_interval": 1}, "replay_interval=1 takes every batch"),
        (SAC_CASE, {"skill_fraction": 1.0, "select_among": "all", "mask_coef": 0.0}, "skill_fraction=1 holds every neuron"),
        (SAC_CASE, {"learning_rate": 0.0}, "learning_rate=0"),
        (SAC_CASE, {"gradient_steps": 0}, "gradient_steps=0"),
    ],
)
def test_settings_that_defeat_the_method_warn(case, settings, words):
    with pytest.warns(UserWarning, match=words):
        case.made(**settings)


@pytest.mark.filterwarnings("error")
@every_case
def test_settings_that_do_not_are_made_in_silence(case):
    case.made()
    case.made(memory_size=0, **({"rehearsal": "clip"} if case is PPO_CASE else {}), replay_interval=1)


@every_case
@pytest.mark.parametrize("value", [nan, inf])
def test_predict_refuses_what_is_no_number(case, value):
    model = case.made()
    observation = model.observation_space.sample()
    observation[2] = value
    with pytest.raises(ValueError, match=r"given to predict\(\).*observation\[2\] is (nan|inf)"):
        model.predict(observation)


@pytest.mark.parametrize("arguments", [("task", "x"), (None, 0), ("task", -1)])
def test_what_is_scored_has_a_name_and_a_seed(arguments):
    with pytest.raises(ValueError, match=r"(task|seed) must be"):
        SAC_CASE.made().score_neurons(SAC_CASE.task_env(), *arguments)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: RunCheckpoints("run", "10"), "freq must be"),
        (lambda: RunCheckpoints("run", 1.5), "freq must be"),
        (lambda: RunCheckpoints(None), "folder must be"),
        (lambda: PointGoalEnv("east", discrete="False"), "discrete must be True or False"),
        (lambda: TaskSequenceEnv(("east",)), "sequence must be"),
        (lambda: TaskSequenceEnv(point_goal_sequence()).fast_forward("5"), "fast_forward"),
        (lambda: TaskSequenceEnv(TaskSequence((Task("bad", lambda _: 1 / 0),), 10)), "while task 'bad' was made"),
        (lambda: SAC_CASE.made().set_parameters({"policy": "x"}), "a state dict for each name.*policy"),
        (lambda: TaskEvaluator(SAC_CASE.sequence_env(), point_goal_sequence(), n_eval_episodes=0), "n_eval_episodes must be"),
        (lambda: select_top({"a": th.ones(3)}, 2), "fraction must be"),
        (lambda: select_top({"a": th.full((3,), nan)}, 0.5), "scores must be numbers; those of a"),
        (lambda: MaskedOptimizer(th.nn.Linear(1, 1)), "base must be an optimizer"),
        (lambda: UPGD([th.nn.Parameter(th.ones(1))], sigma="x"), "sigma='x'"),
        (lambda: forward_transfer([[1, 0], [0, 1]], [0, 1], [0.1, 0.2, 0.3]), "one per task"),
        (lambda: average_success("x"), "numbers in the performance matrix"),
        (lambda: bootstrap_interval([1.0, nan]), "all of them finite"),
        (lambda: normalised_return(5, (1, 1)), "two different returns"),
        (lambda: normalised_return("x", (0, 1)), "return, a number; got 'x'"),
        (lambda: SAC_CASE.made().save_checkpoint(5), "a folder's path; got 5"),
        (lambda: Population([SAC_CASE.made()]).learn("10"), "total_timesteps must be"),
        (lambda: register_context(5, None, 5), "name and module must be text"),
    ],
)
def test_pieces_refuse_by_name(call, words):
    with pytest.raises((ValueError, TypeError, ZeroDivisionError), match=words):
        call()


def test_parameters_that_are_none_are_a_value_error_as_in_sb3():
    """SB3's own tests expect that type."""
    for wrong in ({"no_name_of_a_model": "no tensor"}, {"policy": "no tensor"}):
        with pytest.raises(ValueError, match="Expected a state dict for each name"):
            SAC_CASE.made().set_parameters(wrong, exact_match=False)


@pytest.mark.parametrize("told", [17, -1, "yes", [1, 0]])
def test_a_success_that_is_none_is_not_told(told):
    with pytest.warns(UserWarning, match=r"expected a bool, a number in \[0, 1\]"):
        assert th.isnan(th.tensor(success_of({"success": told})))


def test_names_of_tasks_are_texts():
    model = SAC_CASE.made()
    for task in ("", 5):
        with pytest.raises(ValueError, match="task must be a name"):
            model.begin_task(task)
        with pytest.raises(ValueError, match="task must be a name"):
            model.consolidate(task=task)


def test_what_is_no_env_is_refused():
    with pytest.raises(TypeError, match=r"env must be a Gymnasium env.*got 'east'"):
        model = SAC_CASE.made(SAC_CASE.task_env()).learn(40)
        model.consolidate("east", "east")


def test_the_table_has_a_row_for_each_class():
    assert [case for case, _ in BY_CASE] == list(TABLE)
