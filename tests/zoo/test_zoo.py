"""The training command, as a user types it. Every test is a process of its own, as rl-zoo3 changes global state."""

import json
from pathlib import Path

import pytest
from helpers import run_python
from stable_baselines3 import SAC

from sb3_nbsp import NBSPSAC

pytest.importorskip("rl_zoo3")
imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
ENV = "sb3_nbsp/PointGoal-v0"
SHOWN = ("--env-kwargs", "steps_per_task:200", "cycles:1", "--eval-episodes", "2", "--eval-freq", "0", "--seed", "1")
SMALL = (*SHOWN, "--verbose", "0")
TINY = ("-params", "learning_starts:50", "batch_size:16", "scoring_steps:100", "policy_kwargs:dict(net_arch=[16,16])")


def sb3_nbsp(*arguments: str, folder: Path, expect: int = 0) -> str:
    """Run the command in a folder; return what it printed."""
    return run_python("-m", "sb3_nbsp.cli", *arguments, folder=folder, expect=expect)


def results_of(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two tasks that was stopped in the middle of the second one, with a checkpoint at the switch."""
    folder = tmp_path_factory.mktemp("zoo")
    save = ("-n", "300", "--save-freq", "200", "--save-replay-buffer", "--tensorboard-log", "tb")
    sb3_nbsp("train", "--algo", "nbspsac", "--env", ENV, *SMALL, *TINY, *save, folder=folder)
    return folder / "logs" / "nbspsac" / "sb3_nbsp-PointGoal-v0_1"


def test_train_evaluates_every_task_and_writes_results(trained: Path) -> None:
    results = results_of(trained)
    assert [(e["step"], e["kind"]) for e in results["evaluations"]] == [(0, "start"), (200, "switch"), (300, "end")]
    assert set(results["evaluations"][0]["success"]) == {"east", "west"}
    assert results["settings"]["algo"] == "nbspsac" and results["settings"]["n_timesteps"] == 400
    assert not results["finished"]
    for name in ("evaluations.csv", "matrix.csv", "sequence.png", "matrix.png", "best_model.zip"):
        assert (trained / name).stat().st_size > 0
    assert any((trained.parents[2] / "tb" / "sb3_nbsp-PointGoal-v0").glob("NBSPSAC_1/events*"))


def test_train_saves_what_was_learned(trained: Path) -> None:
    model = NBSPSAC.load(trained / "sb3_nbsp-PointGoal-v0.zip")
    assert model.learned_tasks == ["east"]
    assert model.position.steps == 300
    assert model.neuron_masks.free_share() < 1
    assert len(model.cloning.memory) == 200


def test_continuing_goes_on_in_the_sequence_up_to_its_end(trained: Path) -> None:
    folder = trained.parents[2]
    checkpoint = trained / "rl_model_200_steps.zip"
    assert NBSPSAC.load(checkpoint).position.pending == "east"
    output = sb3_nbsp("train", "--algo", "nbspsac", "--env", ENV, *SMALL, *TINY, "-i", str(checkpoint), folder=folder)
    assert "at step 200 for 200 steps" in output
    run = trained.with_name("sb3_nbsp-PointGoal-v0_2")
    results = results_of(run)
    assert [(e["step"], e["kind"]) for e in results["evaluations"]] == [(0, "start"), (200, "switch"), (400, "switch")]
    assert results["finished"]
    model = NBSPSAC.load(run / "sb3_nbsp-PointGoal-v0.zip")
    assert model.learned_tasks == ["east", "west"]
    assert model.num_timesteps == 400


def test_enjoy_shows_the_tasks_in_turns(trained: Path) -> None:
    arguments = ("--algo", "nbspsac", "--env", ENV, "-f", "logs", "--exp-id", "1", "--no-render", "-n", "100")
    output = sb3_nbsp("enjoy", *arguments, folder=trained.parents[2])
    rows = [line.split() for line in output.splitlines() if line.startswith(("east", "west"))]
    assert [(row[0], row[1]) for row in rows] == [("east", "2"), ("west", "2")]


def test_record_video_films_every_task_as_evaluations_play_it(trained: Path) -> None:
    """The context of a method is entered for each task by its name."""
    folder = trained.parents[2]
    model = NBSPSAC.load(trained / "sb3_nbsp-PointGoal-v0.zip")
    model.baseline_states = {"Told": {}}
    model.save(trained / "rl_model_7_steps.zip")
    script = (
        "import sys; from contextlib import contextmanager\n"
        "from sb3_nbsp.evaluation import register_context; from sb3_nbsp.zoo import video\n"
        "@contextmanager\n"
        "def told(model, task):\n"
        "    print('playing', task)\n"
        "    yield\n"
        "register_context('Told', told, module=__name__)\n"
        "video.main(sys.argv[1:])\n"
    )
    arguments = ("--algo", "nbspsac", "--env", ENV, "-f", "logs", "--exp-id", "1", "--no-render")
    output = run_python("-c", script, *arguments, "--load-checkpoint", "7", "-o", "films", "-n", "40", folder=folder)
    assert [line for line in output.splitlines() if "playing" in line] == ["playing east", "playing west"]
    films = [folder / "films" / f"checkpoint-7-nbspsac-sb3_nbsp-PointGoal-v0-{task}.mp4" for task in ("east", "west")]
    assert output.split("Films:\n")[1].split() == [str(film.relative_to(folder)) for film in films]
    assert [imageio_ffmpeg.count_frames_and_secs(film)[0] for film in films] == [40, 40]
    output = sb3_nbsp("record-video", *arguments, "--env-kwargs", "tasks:'west'", folder=folder, expect=1)
    assert "Observation spaces do not match" in output and "Traceback" not in output  # without room for the other task's id
    west = ("--env-kwargs", "tasks:'west'", "task_id:2")
    sb3_nbsp("record-video", *arguments, *west, folder=folder)  # one episode, beside the run
    assert [film.name for film in (trained / "videos").iterdir()] == ["final-model-nbspsac-sb3_nbsp-PointGoal-v0-west.mp4"]
    assert imageio_ffmpeg.count_frames_and_secs(next((trained / "videos").iterdir()))[0] == 25


def test_record_video_without_such_a_run_says_so(tmp_path: Path) -> None:
    output = sb3_nbsp("record-video", "--algo", "nbspsac", "--env", ENV, "-f", "logs", folder=tmp_path, expect=1)
    assert "Expected a run of `sb3-nbsp train`" in output and "Traceback" not in output


def test_several_normalized_sub_envs_go_on(tmp_path: Path) -> None:
    """Also with plain SAC every sub-env switches at the same, right step, and statistics are taken along."""
    params = (*TINY, "n_envs:2", "normalize:True")
    save = ("-n", "300", "--save-freq", "200", "--vec-env", "subproc", "-P")
    sb3_nbsp("train", "--algo", "nbspsac", "--env", ENV, *SMALL, *params, *save, folder=tmp_path)
    run = tmp_path / "logs" / "nbspsac" / "sb3_nbsp-PointGoal-v0_1"
    assert [e["step"] for e in results_of(run)["evaluations"]] == [0, 200, 300]
    assert results_of(run)["settings"]["env_kwargs"]["steps_per_task"] == 200
    last = run / "sb3_nbsp-PointGoal-v0.zip"
    output = sb3_nbsp("train", "--algo", "nbspsac", "--env", ENV, *SMALL, *params, "-i", str(last), folder=tmp_path)
    assert "Loading VecNormalize statistics" in output and "at step 300 for 100 steps" in output
    assert "transitions so far are not at hand" in output
    assert results_of(run.with_name("sb3_nbsp-PointGoal-v0_2"))["finished"]


def test_plain_sac_counts_all_sub_envs_without_evaluation(tmp_path: Path) -> None:
    arguments = ("-params", "n_envs:2", "--eval-freq", "-1")
    sb3_nbsp("train", "--algo", "sac", "--env", ENV, *SMALL, *arguments, folder=tmp_path)
    monitors = (tmp_path / "logs" / "sac" / "sb3_nbsp-PointGoal-v0_1").glob("*.monitor.csv")
    steps = [sum(int(line.split(",")[1]) for line in path.read_text().splitlines()[2:]) for path in monitors]
    assert steps == [200, 200]  # two tasks of 200 steps over two sub-envs: both ended with a truncated episode


def test_plain_sac_trains_with_the_same_settings(tmp_path: Path) -> None:
    output = sb3_nbsp("train", "--algo", "sac", "--env", ENV, *SHOWN, folder=tmp_path)
    run = tmp_path / "logs" / "sac" / "sb3_nbsp-PointGoal-v0_1"
    assert results_of(run)["finished"]
    assert "\neast (1 of 2) ended at step 200. Success at step 200: east " in output and "ep_rew_mean" not in output
    assert "\n2. west" in output and "\n  sb3-nbsp enjoy --algo sac --env sb3_nbsp/PointGoal-v0 --no-render\n" in output
    model = SAC.load(run / "sb3_nbsp-PointGoal-v0.zip")
    assert model.policy_kwargs["net_arch"] == [64, 64]  # from nbspsac.yml
    assert model.tau == 0.02


def test_hyperparameter_search_samples_our_arguments(tmp_path: Path) -> None:
    study = ("--storage", "study.log", "--study-name", "s")
    search = ("-optimize", "--n-trials", "2", "--n-evaluations", "1", "-n", "60")
    output = sb3_nbsp("train", "--algo", "nbspsac", "--env", ENV, *SMALL, *study, *search, folder=tmp_path)
    assert "skill_fraction" in output and "replay_interval" in output
    trial = ("--trial-id", "0")  # which rl-zoo3 takes for none
    folder = tmp_path / "logs" / "nbspsac"
    sb3_nbsp("train", "--algo", "nbspsac", "--env", ENV, *SMALL, *study, *trial, "-n", "100", folder=tmp_path)
    assert any("mask_sides" in path.read_text() for path in folder.glob("*/*/config.yml"))


@pytest.mark.parametrize(
    ("algo", "env"),
    [
        ("nbspdqn", "PointGoalDiscrete-v0"),
        ("nbspppo", "PointGoalDiscrete-v0"),
        pytest.param("nbspqrdqn", "PointGoalDiscrete-v0", marks=pytest.mark.expensive),
        pytest.param("nbsptqc", "PointGoal-v0", marks=pytest.mark.expensive),
    ],
)
def test_the_relatives_train_with_their_own_settings(tmp_path: Path, algo: str, env: str) -> None:
    own = ("--algo", algo, "--env", f"sb3_nbsp/{env}")
    sb3_nbsp("train", *own, *SMALL, "-params", "scoring_steps:50", folder=tmp_path)
    results = results_of(tmp_path / "logs" / algo / f"sb3_nbsp-{env}_1")
    assert results["finished"] and "64, 64" in str(results["settings"]["policy_kwargs"])
    watched = sb3_nbsp("enjoy", *own, "-f", "logs", "--no-render", "-n", "60", folder=tmp_path)
    assert "east" in watched and "west" in watched  # the table of the tasks


def test_help_envs_and_unknown_command(tmp_path: Path) -> None:
    assert "sb3-nbsp COMMAND" in sb3_nbsp("--help", folder=tmp_path)
    assert "sb3_nbsp/WindowOpenClose-v0" in sb3_nbsp("envs", folder=tmp_path)
    assert "usage: sb3-nbsp envs" in sb3_nbsp("envs", "--help", folder=tmp_path)
    assert "unknown command 'trian'" in sb3_nbsp("trian", folder=tmp_path, expect=2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("train", "--env", ENV, "--env-kwargs", "tasks:['east','wets']"), "Unknown goal 'wets'. Did you mean 'west'?"),
        (("train", "--env", ENV, "--env-kwargs", "steps_per_tsk:60"), "'steps_per_tsk'. Did you mean 'steps_per_task'?"),
        (("train", "--env", "sb3_nbsp/PointGol-v0"), "Did you mean 'sb3_nbsp/PointGoal-v0'"),
        (("train", "--env", ENV, "-params", "score:taylor"), "Expected KEY:VALUE with a value in Python"),
        (("train", "--env", ENV, "-params", "score:'tayler'"), "score must be one of published, "),
        (("enjoy", "--env", ENV, "-f", "nowhere"), "Expected a run of `sb3-nbsp train`; -f and --exp-id say which."),
    ],
    ids=["task", "env-argument", "env", "not-python", "parameter", "no-run"],
)
def test_mistakes_are_told_in_a_line(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    output = sb3_nbsp(arguments[0], "--algo", "nbspsac", *arguments[1:], folder=tmp_path, expect=1)
    assert expected in output and "Traceback" not in output


@pytest.mark.parametrize("verbose", [("--verbose", "2"), ("--verbose=2",)], ids=["apart", "joined"])
def test_where_a_mistake_came_up_is_shown_on_request(verbose: tuple[str, ...], tmp_path: Path) -> None:
    arguments = ("train", "--algo", "nbspsac", "--env", ENV, "--env-kwargs", "steps_per_tsk:60", *verbose)
    assert "Traceback" in sb3_nbsp(*arguments, folder=tmp_path, expect=1)


def test_what_goes_wrong_in_training_is_shown_in_full(tmp_path: Path) -> None:
    wrong = ("-params", "goal_metric:'success'", "callback:'broken.Broken'")
    (tmp_path / "broken.py").write_text(
        "from stable_baselines3.common.callbacks import BaseCallback\n\n"
        "class Broken(BaseCallback):\n    def _on_step(self):\n        raise ValueError('in mid-training')\n"
    )
    output = sb3_nbsp("train", "--algo", "nbspsac", "--env", ENV, *SMALL, *wrong, folder=tmp_path, expect=1)
    assert "Traceback" in output and "in mid-training" in output


@pytest.mark.expensive
def test_window_open_close_on_meta_world(tmp_path: Path) -> None:
    """The issue's own run, shortened: it trains, checkpoints, goes on and is watched."""
    pytest.importorskip("metaworld")
    env = ("--algo", "nbspsac", "--env", "sb3_nbsp/WindowOpenClose-v0")
    kwargs = ("--env-kwargs", "steps_per_task:2000", "cycles:1", "action_repeat:4", "horizon:50", "--eval-episodes", "2")
    params = (
        "-params",
        "learning_starts:500",
        "scoring_steps:500",
        "policy_kwargs:dict(net_arch=[64,64])",
        "buffer_size:10000",
    )
    save = ("-n", "3000", "--save-freq", "1000", "--save-replay-buffer")
    sb3_nbsp("train", *env, *kwargs, *params, *save, folder=tmp_path)
    checkpoint = "logs/nbspsac/sb3_nbsp-WindowOpenClose-v0_1/rl_model_3000_steps.zip"
    sb3_nbsp("train", *env, *kwargs, *params, "-i", checkpoint, folder=tmp_path)
    assert results_of(tmp_path / "logs/nbspsac/sb3_nbsp-WindowOpenClose-v0_2")["finished"]
    assert "window-close" in sb3_nbsp("enjoy", *env, "-f", "logs", "--no-render", "-n", "100", folder=tmp_path)


def test_probe_silences_what_a_run_has_learned(trained: Path, tmp_path: Path) -> None:
    output = sb3_nbsp("probe", str(trained), "--episodes", "1", "--no-rescore", "-o", str(tmp_path), folder=tmp_path)
    assert "skill neurons of east" in output and "critic.qf1" in output
    assert json.loads((tmp_path / "probe.json").read_text())["measure"] == "success rate"
    assert all((tmp_path / f"{name}.png").stat().st_size > 10_000 for name in ("probe", "scores"))
    earlier, both = str(tmp_path / "probe.json"), tmp_path / "both"
    output = sb3_nbsp("probe", earlier, str(trained), "--episodes", "1", "--no-rescore", "-o", str(both), folder=tmp_path)
    assert "over 2 runs" in output and (both / "probe1.json").is_file() and not (both / "probe0.json").exists()
    assert "-o FOLDER" in sb3_nbsp("probe", earlier, earlier, folder=tmp_path, expect=2)


def test_probe_refuses_other_folders(tmp_path: Path) -> None:
    output = sb3_nbsp("probe", str(tmp_path), folder=tmp_path, expect=2)
    assert "Expected the folder of a run with one of nbspdqn" in output
