"""A run that a command opens runs no code of its own, and knows the modules that register its env."""

import ast
import inspect
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import pytest

import sb3_nbsp

pytest.importorskip("rl_zoo3")
from huggingface_sb3 import EnvironmentName

from sb3_nbsp.zoo import hub, opened_runs, probe_command, video
from sb3_nbsp.zoo.experiments import SequenceExperimentManager
from sb3_nbsp.zoo.judged_actions import deterministic_for

BOMB = "!!python/object/apply:os.system ['touch ran']"
ENV = "sb3_nbsp/PointGoal-v0"
NAME = "sb3_nbsp-PointGoal-v0"


def settings_folder(tmp_path: Path, args: str = "env_kwargs: null\n", config: str = "n_envs: 1\n") -> Path:
    saved = tmp_path / "nbspsac" / f"{NAME}_1" / NAME
    saved.mkdir(parents=True)
    (saved / "args.yml").write_text(args)
    (saved / "config.yml").write_text(config)
    return saved


def record(saved: Path) -> None:
    args = SimpleNamespace(env=EnvironmentName(ENV), gym_packages=[], env_kwargs=None, seed=0)
    video._env_of_run(args, saved.parent)


def probe(saved: Path) -> None:
    probe_command._make_env({"env": ENV}, saved, SimpleNamespace(seed=0, gym_packages=[]))


def push(saved: Path) -> None:
    (saved.parent / f"{NAME}.zip").touch()
    hub.package("sac", EnvironmentName(ENV), saved.parent / f"{NAME}.zip", saved.parent, "me/x", saved.parent / "out")


@pytest.mark.parametrize("file", ["args", "config"])
@pytest.mark.parametrize("command", [record, probe, push])
def test_nothing_that_a_runs_files_hold_runs(command, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved = settings_folder(tmp_path, **{file: f"env_kwargs: {{cycles: {BOMB}}}\nenv_wrapper: {BOMB}\n"})
    with suppress(ValueError):  # probe takes the arguments of the env from elsewhere
        command(saved)
    assert not (tmp_path / "ran").exists()


def test_no_other_reader_of_a_runs_yaml_is_called():
    """rl-zoo3's own readers make any object: ours use them nowhere, and exchange them in its enjoy."""
    unsafe = {"get_trained_models", "UnsafeLoader", "unsafe_load", "full_load", "FullLoader"}
    for path in Path(sb3_nbsp.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rl_zoo3")
            for alias in node.names
        }
        assert not unsafe & (names | imported) and "get_saved_hyperparams" not in imported, path
    import rl_zoo3.enjoy

    read = [line for line in inspect.getsource(rl_zoo3.enjoy.enjoy).splitlines() if "yaml." in line or "saved_hyper" in line]
    assert len(read) == 2  # as many as commands.enjoy() exchanges


def test_the_env_is_made_as_the_run_had_it(tmp_path):
    config = "env_kwargs: {cycles: 1}\nenv_wrapper: gymnasium.wrappers.FlattenObservation\n"
    saved = settings_folder(tmp_path, "env_kwargs: {steps_per_task: 60}\n", config)
    assert opened_runs.env_kwargs_of(saved, {"env_kwargs": {"cycles": 1}}) == {"steps_per_task": 60}
    env = opened_runs.open_env(ENV, saved, {"steps_per_task": 60}, seed=0)
    assert env.env_is_wrapped(gym.wrappers.FlattenObservation) == [True]
    (saved / "args.yml").write_text("env_kwargs: null\n")
    assert opened_runs.env_kwargs_of(saved, {"env_kwargs": {"cycles": 1}}) == {"cycles": 1}
    for wrong in ("[1]", "env_kwargs: [1]"):
        (saved / "args.yml").write_text(wrong)
        with pytest.raises(ValueError, match="Expected"):
            opened_runs.env_kwargs_of(saved)


def test_a_foreign_env_is_told_no_number_of_envs(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(probe_command, "open_env", lambda env, saved, kwargs, *rest: given.append(kwargs))
    for kwargs in ({"a": 1}, {"a": 1, "n_envs": 4}):
        probe_command._make_env({"env": ENV, "env_kwargs": kwargs}, tmp_path, SimpleNamespace(seed=0, gym_packages=[]))
    assert given == [{"a": 1}, {"a": 1, "n_envs": 1}]


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module that registers an env."""
    (tmp_path / "own_tasks_of_a_test.py").write_text(
        "import gymnasium\ngymnasium.register('OwnOfATest-v0', 'gymnasium.envs.classic_control:PendulumEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_tasks_of_a_test"
    sys.modules.pop("own_tasks_of_a_test", None)
    gym.registry.pop("OwnOfATest-v0", None)


def parsed(*more: str, algo="sac", env="OwnOfATest-v0"):
    parser = opened_runs.RunParser("sb3-nbsp enjoy")
    parser.add_argument("--env", type=EnvironmentName)
    parser.add_argument("--gym-packages", nargs="+", default=[])
    parser.add_argument("--exp-id", type=int, default=0)
    for name in ("--algo", "--folder"):
        parser.add_argument(name)
    for name in ("--deterministic", "--stochastic"):
        parser.add_argument(name, action="store_true")
    return parser.parse_args(["--algo", algo, "--env", env, "--folder", "logs", *more])


def test_an_agent_acts_where_it_is_shown_as_where_it_is_judged(tmp_path, monkeypatch):
    """Drawn actions for PPO on Atari sequences, most likely ones for others, unless somebody says so."""
    monkeypatch.chdir(tmp_path)
    games = "sb3_nbsp/PongBreakout-v0"
    for algo, env, drawn in (("nbspppo", games, True), ("ppo", games, True), ("nbspdqn", games, False), ("ppo", ENV, False)):
        assert parsed(algo=algo, env=env).stochastic is drawn is not deterministic_for(algo, env)
        assert parsed("--stochastic", algo=algo, env=env).stochastic
        assert not parsed("--deterministic", algo=algo, env=env).stochastic
        args = SimpleNamespace(conf_file=None, tensorboard_log="")
        assert SequenceExperimentManager(args, algo, env, "logs").deterministic_eval is not drawn


def test_modules_of_ones_own_run_are_imported_and_those_of_the_hub_are_told(own_module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved = tmp_path / "logs" / "sac" / "OwnOfATest-v0_2" / "OwnOfATest-v0"
    saved.mkdir(parents=True)
    (saved / "args.yml").write_text(f"gym_packages: [{own_module}]\n")
    (saved / opened_runs.FROM_HUB).touch()
    with pytest.raises(ValueError, match=f"If you trust them: --gym-packages {own_module}$"):
        parsed()
    assert own_module not in sys.modules
    with pytest.raises(ValueError, match=f"If you trust it, name it: --gym-packages {own_module}$"):
        opened_runs.check_run_env(f"{own_module}:OwnOfATest-v0", saved)  # as a run's results.json may call it
    (saved / opened_runs.FROM_HUB).unlink()
    assert parsed().gym_packages == [own_module] and "OwnOfATest-v0" in gym.registry
    with pytest.raises(ImportError, match=r"--gym-packages nowhere_at_all cannot be imported: .* in the folder that holds it"):
        parsed("--gym-packages", "nowhere_at_all")


def test_a_module_of_a_hub_run_is_imported_where_it_is_named(own_module, tmp_path):
    (tmp_path / opened_runs.FROM_HUB).touch()
    assert opened_runs.import_packages([own_module], tmp_path) == [own_module]
