"""The command line helps: how it is used, what was meant, what there is."""

import importlib
import runpy
import sys

import pytest

pytest.importorskip("rl_zoo3")
from sb3_nbsp import NBSPSAC, __version__, cli
from sb3_nbsp.base.arguments import described
from sb3_nbsp.zoo import commands, find_agents, new_command, own_tasks_template
from sb3_nbsp.zoo.algorithms import ALGORITHMS
from sb3_nbsp.zoo.argument_lines import argument_lines
from sb3_nbsp.zoo.command_parser import CommandParser
from sb3_nbsp.zoo.given_arguments import read_arguments
from sb3_nbsp.zoo.shown_training import Shows
from sb3_nbsp.zoo.train_checks import check_env, check_names
from sb3_nbsp.zoo.train_parser import TrainParser


@pytest.mark.parametrize(
    ("typed", "status", "expected"),
    [
        (["trian"], 2, "unknown command 'trian'. Did you mean 'train'?"),
        (["zzz"], 2, "Commands: train, enjoy"),
        (["--version"], 0, f"sb3-nbsp {__version__}\nstable-baselines3 "),
        ([], 0, "usage: sb3-nbsp COMMAND"),
    ],
)
def test_the_command_itself(typed, status, expected, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sb3-nbsp", *typed])
    assert cli.main() == status
    assert expected in "".join(capsys.readouterr())


def test_every_command_is_there():
    for place in cli.COMMANDS.values():
        module, _, function = place.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["--freq", "3"], "unknown argument: --freq 3. Did you mean '--eval-freq'?"),
        (["--algo", "nbspsca"], "argument --algo: Unknown name 'nbspsca'. Did you mean 'nbspsac'?"),
    ],
)
def test_a_parser_names_what_was_meant(typed, expected, capsys):
    parser = CommandParser("sb3-nbsp x")
    parser.add_argument("--eval-freq")
    parser.add_argument("--algo", choices=["nbspsac", "ppo"])
    with pytest.raises(SystemExit) as left:
        parser.parse_args(typed)
    said = capsys.readouterr().err
    assert left.value.code == 2 and expected in said and len(said.splitlines()) == 2


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_help_has_a_line_for_every_argument_of_ours(algo, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "127")
    with pytest.raises(SystemExit):
        TrainParser("sb3-nbsp train").parse_args(["--algo", algo, "--help"])
    shown = capsys.readouterr().out
    lines = argument_lines(ALGORITHMS[algo])
    assert [line.partition(":")[0] for line in lines] == list(described(ALGORITHMS[algo].__init__))
    assert all(f"\n  {line}\n" in shown and len(line) < 120 for line in lines)


@pytest.mark.parametrize("typed", [[], ["--algo", "nbspsac"], ["--env", "x"]])
def test_train_without_algorithm_or_env_says_how_it_is_used(typed):
    with pytest.raises(SystemExit, match="usage: sb3-nbsp train --algo ALGO --env ENV"):
        commands.train(typed)


@pytest.mark.parametrize("typed", [[], ["--algo", "nbspsac"]])
def test_so_does_what_shows_an_agent(typed, capsys):
    parser = find_agents.AgentParser("sb3-nbsp enjoy")
    for name in ("--algo", "--env", "--folder"):
        parser.add_argument(name)
    with pytest.raises(SystemExit):
        parser.parse_args(typed)
    assert "usage: sb3-nbsp enjoy --algo ALGO --env ENV" in capsys.readouterr().err
    assert parser.parse_args(["--algo", "a", "--env", "b"]).folder == "logs"


def test_an_agent_is_looked_for_in_logs_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "agents" / "nbspsac" / "own-Env-v0_1").mkdir(parents=True)
    assert find_agents.folder_of("nbspsac", "own-Env-v0") == "agents"
    assert find_agents.folder_of("nbspsac", "own-Env") == "logs"
    (tmp_path / "logs" / "nbspsac" / "own-Env-v0_3").mkdir(parents=True)
    assert find_agents.folder_of("nbspsac", "own-Env-v0") == "logs"


def test_names_of_arguments_and_envs():
    check_names({"learning_rate": 1, "memory_size": 2, "n_envs": 3, "env_kwargs": {}}, NBSPSAC)
    with pytest.raises(ValueError, match=r"argument of NBSPSAC 'memorysize'\. Did you mean 'memory_size'"):
        check_names({"memorysize": 100}, NBSPSAC)
    for known in ("sb3_nbsp/PointGoal-v0", "Pendulum-v1", "my_module:Mine-v0"):
        check_env(known)
    for name in ("PointGoal-v0", "sb3_nbsp/PointGaol-v0", "pointgoal-v0"):
        with pytest.raises(ValueError, match=r"Did you mean 'sb3_nbsp/PointGoal-v0'"):
            check_env(name)
    with pytest.raises(ValueError, match=r"Did you mean .*'Pendulum-v1'"):
        check_env("Pendulum-v9")


@pytest.mark.parametrize(
    ("typed", "progress", "ending"),
    [([], True, True), (["--verbose", "0"], False, False), (["--verbose=1"], False, True), (["-optimize"], False, False)],
)
def test_how_much_is_shown(typed, progress, ending):
    assert commands._shows(read_arguments(["--algo", "sac", *typed])) == Shows(progress, ending)


def test_the_command_line_is_read_once_however_it_is_written():
    typed = [
        "--algo=sac",
        "-n100",
        "--env-kwargs",
        "a:1",
        "--seed",
        "3",
        "--env-kwargs=b:-2",
        "--gym-packages=m",
        "-P",
        "-iM.zip",
    ]
    given = read_arguments(typed)
    values = {"algo": "sac", "n_timesteps": 100, "env_kwargs": {"a": 1, "b": -2}, "seed": 3, "gym_packages": ["m"]}
    assert given.values == {**values, "progress": True, "trained_agent": "M.zip"}
    assert given.pairs == {"env_kwargs": ["a:1", "b:-2"]}
    assert given.words("n_timesteps") == ["-n100"] and given.words("device") == []
    assert sorted(given.without()) == sorted(typed)
    rest = ["--algo=sac", "-n100", "--seed", "3", "--gym-packages=m"]
    assert given.without("env_kwargs", "trained_agent", "progress") == rest


def test_a_new_script_is_written_once(tmp_path, capsys):
    path = tmp_path / "made" / "mine.py"
    new_command.main([str(path)])
    assert f"python {path}" in capsys.readouterr().out
    assert callable(runpy.run_path(str(path))["main"])  # as a module of the user's
    path.write_text("edited")
    for name, expected in ((path, "exists already"), (tmp_path / "mine", "mine.py")):
        with pytest.raises(SystemExit) as left:
            new_command.main([str(name)])
        assert left.value.code == 2 and expected in capsys.readouterr().err
    assert path.read_text() == "edited"


@pytest.mark.filterwarnings("ignore:A task has .* env steps", r"ignore:The goal metric q\(t\)")
def test_the_new_script_runs_as_it_is(tmp_path, monkeypatch, capsys):
    """With fewer steps."""
    template = own_tasks_template
    small = type(template.SEQUENCE)(template.SEQUENCE.tasks, 50, task_id=True)
    monkeypatch.setattr(template, "SEQUENCE", small)
    few = {"scoring_steps": 25, "learning_starts": 20}
    monkeypatch.setattr(template, "NBSPSAC", lambda *args, **kwargs: NBSPSAC(*args, **{**kwargs, **few}))
    monkeypatch.setattr(template, "FOLDER", str(tmp_path / "out"))
    template.main()
    shown = capsys.readouterr().out
    assert "on east" in shown and "2. west" in shown and "ASR" in shown
    assert (tmp_path / "out" / "agent.zip").is_file() and (tmp_path / "out" / "matrix.csv").is_file()


def test_a_wrong_pair_is_told_in_two_lines_how_to_be_written(capsys):
    with pytest.raises(SystemExit):
        read_arguments(["-params", "memory_size=100"])
    error = capsys.readouterr().err
    assert "Write memory_size:100" in error
    assert len(error.splitlines()) == 2 and "usage" not in error
