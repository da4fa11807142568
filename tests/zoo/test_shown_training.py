"""What a training shows while it goes on, and at its end."""

import io
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
from helpers import NBSP_SETTINGS, sequence_env

pytest.importorskip("rl_zoo3")
from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation import Evaluation, SequenceEvalCallback, SequenceResults
from sb3_nbsp.zoo import progress_callback, progress_display
from sb3_nbsp.zoo.progress_callback import ProgressCallback
from sb3_nbsp.zoo.progress_display import Bar, Lines, ToldToDisplay, _Console
from sb3_nbsp.zoo.shown_training import LOGGER, ShownExperimentManager
from sb3_nbsp.zoo.train_ending import TrainedRun, ending


class Notes:
    """A display that takes notes."""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *values: self.told.append((name, *values))


def test_a_display_is_told_of_tasks_evaluations_and_scorings(monkeypatch):
    monkeypatch.setattr(progress_callback, "UPDATE_SECONDS", 0.0)
    display, evaluation = Notes(), SequenceEvalCallback(eval_freq=0, n_eval_episodes=1)
    handler, level = ToldToDisplay(display), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG)
    try:
        model = NBSPSAC("MlpPolicy", sequence_env(steps=30, cycles=1), **NBSP_SETTINGS)
        model.learn(60, [evaluation, ProgressCallback(display, [evaluation])])
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
    told = display.told
    assert ("start", 0, 60) in told and told[-1] == ("stop",)
    steps = [entry for entry in told if entry[0] == "update"]
    assert [step for _, step, *_ in steps] == list(range(1, 61))
    assert steps[0][2] == "east (1 of 2)" and steps[-1][2] == "west (2 of 2)"
    assert steps[40][3].startswith("Success at step 30: east ")
    lines = [entry[1] for entry in told if entry[0] == "say"]
    assert any(line.startswith("east (1 of 2) ended at step 30. Success at step 30: ") for line in lines)
    assert any(line.startswith("The neurons of west were scored on 60 env steps, in ") for line in lines)
    assert any(line.startswith("Memory when full: ") for line in lines)
    busy = [entry[1] for entry in told if entry[0] == "busy"]
    assert "evaluating: 1 episodes on each of east, west" in busy
    assert any(line.startswith("scoring the neurons of east: ") for line in busy)


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress_display, "time", SimpleNamespace(monotonic=lambda: now[0]))
    lines = Lines()
    lines.start(0, 1000)
    for step in range(1, 1001):
        now[0] = step * 0.5
        lines.update(step, "east (1 of 2)", "Success at step 1: east 1.00")
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 16  # every half minute of 500 s
    assert shown[0] == "Step 60 of 1,000 (6%, 0:00:30, about 0:07:50 left): east (1 of 2). Success at step 1: east 1.00"


def test_a_long_training_writes_few_lines(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress_display, "time", SimpleNamespace(monotonic=lambda: now[0]))
    lines = Lines()
    lines.start(0, 1000)
    for step in range(1, 1001):
        now[0] = step * 20.0
        lines.update(step, "", "")
    assert len(capsys.readouterr().out.splitlines()) == 33  # ten minutes apart, in five and a half hours


def test_a_bar_shows_two_lines_and_leaves_the_terminal_as_it_was(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")  # a dumb one has no bars
    console = _Console(file=io.StringIO(), force_terminal=True, width=100)
    bar = Bar(console)
    bar.start(10, 2000)
    bar.update(500, "[red]east (1 of 2)", "Success at step 1: east 1.00")
    bar.bar.refresh()
    bar.say("A line [that] stays.")
    bar.busy("scoring")
    bar.bar.refresh()
    bar.stop()
    bar.stop()
    shown = console.file.getvalue()
    for text in (
        "[red]east (1 of 2)",
        "25% of 2,000",
        "Success at step 1: east 1.00",
        "A line [that] stays.\n",
        "scoring ...",
    ):
        assert text in shown
    assert "\x1b[?25l" not in shown  # the cursor was never hidden: nothing is wrong after a kill


def run_in(folder, steps_left=0):
    matrix = [(10, 0, "switch", (1.0, 0.0)), (20, 1, "switch", (0.5, 1.0))]
    found = [
        Evaluation(step, segment, kind, dict(zip(("east", "west"), values, strict=True)), {"east": 0.0, "west": 0.0}, 0.1)
        for step, segment, kind, values in matrix
    ]
    results = SequenceResults(("east", "west"), ("east", "west"), (10, 10), found, {"n_eval_episodes": 5})
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("own-Env-v0.zip", "results.json"):
        (folder / name).touch()
    return TrainedRun("nbspsac", "own/Env-v0", folder, results, steps_left)


def test_the_end_names_results_files_and_next_commands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path.relative_to(tmp_path) / "logs" / "nbspsac" / "own-Env-v0_1"
    text = ending([run_in(folder)])
    assert "2. west" in text and "ASR" in text and "  own-Env-v0.zip  the agent" in text and "best_model" not in text
    assert "\n  sb3-nbsp enjoy --algo nbspsac --env own/Env-v0 --no-render\n" in text and "sb3-nbsp report logs\n" in text
    assert "--resume" not in text
    text = ending([run_in(tmp_path / "else where" / "nbspsac" / "own-Env-v0_1", steps_left=100)])
    assert f"-f '{tmp_path}/else where'" in text and "train --resume '" in text
    assert "own-Env-v0_1'\n      train the 100 steps that are left" in text
    text = ending([replace(run_in(place), results=None) for place in (folder, folder.with_name("own-Env-v0_2"))])
    assert "own-Env-v0_2/own-Env-v0.zip" in text
    plain = ending([TrainedRun("nbspsac", "Pendulum-v1", folder)])
    assert "report" not in plain and "enjoy --algo nbspsac --env Pendulum-v1" in plain


def test_methods_that_learned_together_have_a_row_each(tmp_path):
    """Packs of a benchmark hold several methods with one seed."""
    runs = []
    for method, masks in (("a", 0.1), ("b", 0.3)):
        for seed in (0, 1):
            run = run_in(tmp_path / method / f"seed{seed}")
            runs.append(replace(run, results=replace(run.results, seed=seed, settings={"mask_coef": masks})))
    text = ending(runs)
    rows = [line for line in text.splitlines() if line.strip().startswith("nbspsac (")]
    assert all(any(f"/{method}/seed0)" in row for row in rows) for method in "ab")
    assert all("seed0)" in row for row in rows)
    same = [replace(run, results=replace(run.results, settings={})) for run in runs[:2]]
    assert "nbspsac (" not in ending(same) and "ASR" in ending(same)


def test_a_single_task_is_told_to_be_one(capsys):
    manager = SimpleNamespace(sequence=None, _algorithm=NBSPSAC, env_name=SimpleNamespace(gym_id="Pendulum-v1"))
    ShownExperimentManager.say_what_a_single_task_means(manager)
    said = capsys.readouterr().out
    assert "nothing will be held or rehearsed, and NBSPSAC learns as SAC does" in said and "sb3-nbsp new" in said
    manager.sequence = object()
    ShownExperimentManager.say_what_a_single_task_means(manager)
    assert capsys.readouterr().out == ""
