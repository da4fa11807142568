"""Several sub-envs of an Atari sequence are one vector env, in the command too."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import run_python

from sb3_nbsp.tasks import atari_sequence, point_goal_sequence

pytest.importorskip("rl_zoo3")
pytest.importorskip("ale_py")
from rl_zoo3.exp_manager import ExperimentManager

from sb3_nbsp.zoo.atari import has_vector_env, judged_by_drawing
from sb3_nbsp.zoo.experiments import SequenceExperimentManager

ENV = ("--algo", "nbspppo", "--env", "sb3_nbsp/Atari-v0", "--env-kwargs", "tasks:['Breakout','Pong']", "steps_per_task:32")
TINY = ("-params", "n_envs:2", "n_steps:8", "batch_size:16", "n_epochs:1", "scoring_steps:20", "memory_size:8")


@pytest.mark.parametrize(
    ("vec_env", "monitors"),
    [
        ("dummy", {"0.monitor.csv"}),
        pytest.param("subproc", {"0.monitor.csv", "1.monitor.csv"}, marks=pytest.mark.expensive),
    ],
)
def test_train_takes_the_vector_env(vec_env: str, monitors: set[str], tmp_path: Path) -> None:
    run_python("-m", "sb3_nbsp.cli", "train", *ENV, *TINY, "--eval-freq", "-1", "--vec-env", vec_env, folder=tmp_path)
    run = tmp_path / "logs" / "nbspppo" / "sb3_nbsp-Atari-v0_1"
    assert {file.name for file in run.glob("*.monitor.csv")} == monitors
    assert (run / "sb3_nbsp-Atari-v0.zip").is_file()


def test_only_sequences_whose_tasks_can_make_one_have_a_vector_env() -> None:
    pictures, ram = (atari_sequence("Pong", obs_type=kind) for kind in ("grayscale", "ram"))
    assert has_vector_env("sb3_nbsp/Atari-v0", pictures) and not has_vector_env("sb3_nbsp/AtariRam-v0", ram)
    assert not has_vector_env("CartPole-v1", None)  # Gymnasium has one, whose NEXT_STEP SB3 cannot use


@pytest.mark.parametrize(
    ("algo", "env_id", "drawn"),
    [
        ("nbspppo", "sb3_nbsp/AtariRam-v0", True),
        ("ppo", "sb3_nbsp/PongBreakout-v0", True),
        ("nbspdqn", "sb3_nbsp/Atari-v0", False),
        ("nbspppo", "sb3_nbsp/PointGoal-v0", False),
    ],
)
def test_ppo_is_judged_on_atari_as_rl_zoo3_judges(algo: str, env_id: str, drawn: bool) -> None:
    assert judged_by_drawing(algo, env_id) is drawn


@pytest.mark.parametrize(("n_eval_envs", "episodes"), [(1, 6), (2, 8), (3, 6)])
def test_a_search_judges_every_task_by_as_many_episodes(
    n_eval_envs: int, episodes: int, monkeypatch: Any, capsys: Any
) -> None:
    """Each sub-env takes the two tasks in turns of its own; five episodes were asked for."""
    manager: Any = SequenceExperimentManager.__new__(SequenceExperimentManager)
    given = {"algo": "nbspppo", "sequence": point_goal_sequence(), "env_kwargs": {}, "n_envs": 1, "eval_freq_given": True}
    search = {
        "optimize_hyperparameters": True,
        "n_eval_episodes": 5,
        "n_eval_envs": n_eval_envs,
        "_eval_env_kwargs_args": None,
    }
    vars(manager).update(given, **search, env_name=SimpleNamespace(gym_id="sb3_nbsp/PointGoal-v0"))
    monkeypatch.setattr(ExperimentManager, "_preprocess_hyperparams", lambda _, settings: (settings,))
    manager._preprocess_hyperparams({})
    assert manager.n_eval_episodes == episodes and not capsys.readouterr().out
