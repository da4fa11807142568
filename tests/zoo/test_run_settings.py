"""What a run left is read without running it."""

from collections import OrderedDict
from pathlib import Path

import pytest
from helpers import run_python

yaml = pytest.importorskip("yaml")
pytest.importorskip("rl_zoo3")
# Imported in the tests' functions: rl-zoo3 changes Gymnasium on import.

BOMBS = [
    "!!python/object/apply:os.system ['touch ran']",
    "!!python/object/new:os.system ['touch ran']",
    "!!python/name:os.system ''",
    "!!python/module:antigravity ''",
    "!!python/object:subprocess.Popen {}",
    "!!python/object/apply:builtins.exec [\"open('ran','w')\"]",
]


def settings():
    from sb3_nbsp.zoo import run_settings

    return run_settings


def test_what_rl_zoo3_writes_is_read() -> None:
    from torch import nn

    written = OrderedDict(
        a=1, env_kwargs={"steps_per_task": 100, "order": ("x", "y")}, b=[1.5, None, "dict(a=1)"], c=OrderedDict()
    )
    text = yaml.dump(OrderedDict(**written, policy_kwargs={"activation_fn": nn.Tanh, "net_arch": [8]}))
    read = settings().read_run_yaml(text)
    assert {name: read[name] for name in written} == dict(written)
    assert read["policy_kwargs"] == {"activation_fn": "name:torch.nn.modules.activation.Tanh", "net_arch": [8]}


@pytest.mark.parametrize("bomb", BOMBS)
def test_nothing_that_stands_there_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: str) -> None:
    monkeypatch.chdir(tmp_path)
    read = settings().read_run_yaml(f"env_kwargs:\n  a: {bomb}\n")
    assert isinstance(read["env_kwargs"]["a"], settings().NotRead) and not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"env_kwargs of x: a is a Python object \(.*\), which is not read"):
        settings().check_made(read["env_kwargs"], "env_kwargs of x")
    read = settings().read_run_yaml(f"env_kwargs:\n  a: [1, {{b: [{bomb}]}}]\n")
    with pytest.raises(ValueError, match=r"a holds a Python object \(.*\), which is not read"):
        settings().check_made(read["env_kwargs"], "env_kwargs of x")


@pytest.mark.parametrize(
    "text", ["a: [", "!!python/object/apply:collections.OrderedDict {a: 1}", "!!python/tuple a", "!!int x"]
)
def test_other_files_are_told(text: str) -> None:
    with pytest.raises(ValueError, match="Expected YAML in the settings"):
        settings().read_run_yaml(text)


def hyperparams(tmp_path: Path, config: str, packages=(), **kwargs):
    (tmp_path / "config.yml").write_text(config)
    return settings().saved_hyperparams(str(tmp_path), False, packages=packages, **{"test_mode": False, **kwargs})[0]


@pytest.mark.parametrize(
    "config, expected",
    [
        ("n_envs: 1", None),
        ("normalize: true", {"norm_obs": True, "norm_reward": False}),
        ("normalize: 'dict(norm_obs=True, clip_obs=5.0)'", {"norm_obs": True, "clip_obs": 5.0, "norm_reward": False}),
        ("normalize: \"{'norm_obs': False, 'norm_reward': True}\"", {"norm_obs": False, "norm_reward": False}),
        ("normalize: {norm_obs: true}", {"norm_obs": True}),
    ],
)
def test_the_same_hyperparams_as_rl_zoo3s(tmp_path: Path, config: str, expected: object) -> None:
    from rl_zoo3.utils import get_saved_hyperparams

    found = hyperparams(tmp_path, config, test_mode=True)
    assert found.get("normalize_kwargs") == expected
    assert found == get_saved_hyperparams(str(tmp_path), test_mode=True)[0]
    assert settings().saved_hyperparams(str(tmp_path / "none"), False, True) == ({}, None)


@pytest.mark.parametrize(
    "value", ["__import__('os').system('touch ran')", "dict(a=open('ran', 'w'))", "dict([1])", "f(a=1)", "dict("]
)
def test_normalize_is_not_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="Expected normalize as true or as dict"):
        hyperparams(tmp_path, yaml.dump({"normalize": value}))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "config, message",
    [
        ("env_wrapper: logs.evil.Wrapper", "Expected env_wrapper in .*config.yml of one of the packages .* --gym-packages"),
        ("env_wrapper: {logs.evil.Wrapper: {a: 1}}", "of one of the packages"),
        ("env_wrapper: [gymnasium.wrappers.FlattenObservation, os.system]", "got 'os.system'"),
        ("env_wrapper: gymnasium.make", "to be a Wrapper, got 'gymnasium.make'"),
        ("vec_env_wrapper: stable_baselines3.common.vec_env.DummyVecEnv", "to be a VecEnvWrapper"),
        ("env_wrapper: !!python/name:gymnasium.wrappers.FlattenObservation ''", "of one of the packages"),
        ("[1]", "Expected settings in .*config.yml"),
    ],
)
def test_wrappers_are_wrappers_of_known_packages(tmp_path: Path, config: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hyperparams(tmp_path, config)


def test_known_wrappers_pass_and_ones_own_where_named(tmp_path: Path) -> None:
    assert hyperparams(tmp_path, "env_wrapper: gymnasium.wrappers.FlattenObservation")["env_wrapper"]
    assert hyperparams(tmp_path, "vec_env_wrapper: {stable_baselines3.common.vec_env.VecFrameStack: {n_stack: 2}}")
    config = "env_wrapper: helpers.own_policies.Missing"
    with pytest.raises(ValueError, match=r"to be a Wrapper"):
        hyperparams(tmp_path, config, packages=["helpers.own_policies"])


def test_train_enjoy_and_a_forged_run(tmp_path: Path) -> None:
    """The commands themselves: eval_tasks, then a run whose files hold code."""
    cli, env = ("-m", "sb3_nbsp.cli"), "sb3_nbsp/PointGoal-v0"
    sizes = ("--env-kwargs", "steps_per_task:60", "cycles:1", "--eval-episodes", "1", "--verbose", "0", "--seed", "1")
    params = ("-params", "learning_starts:20", "batch_size:16", "scoring_steps:60", "policy_kwargs:dict(net_arch=[8])")
    run_python(*cli, "train", "--algo", "nbspsac", "--env", env, "--eval-tasks", "1", *sizes, *params, folder=tmp_path)
    run = tmp_path / "logs" / "nbspsac" / "sb3_nbsp-PointGoal-v0_1"
    assert (run / "matrix.csv").read_text().splitlines()[1].endswith(",") and (run / "sequence.png").is_file()
    args = run / "sb3_nbsp-PointGoal-v0" / "args.yml"
    assert "eval_tasks" in args.read_text()
    watch = (*cli, "enjoy", "--algo", "nbspsac", "--env", env, "-f", "logs", "--no-render", "-n", "30")
    assert "east" in run_python(*watch, folder=tmp_path)
    args.write_text(args.read_text().replace("cycles: 1", f"cycles: {BOMBS[0]}"))
    output = run_python(*watch, folder=tmp_path, expect=1)
    assert "cycles is a Python object" in output and not (tmp_path / "ran").exists()
    output = run_python(*cli, "train", "--algo", "nbspsac", "--env", env, "--eval-tasks", "no", folder=tmp_path, expect=2)
    assert "--eval-tasks: Expected eval_tasks='all' or a number of tasks" in output
