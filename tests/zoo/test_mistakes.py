"""Users' mistakes are told in a line, by every command alike."""

import os
import subprocess
import sys

import gymnasium as gym
import pytest

pytest.importorskip("rl_zoo3")
from rl_zoo3.utils import StoreDict

from sb3_nbsp import cli
from sb3_nbsp.base.finite import NotFiniteError
from sb3_nbsp.zoo import mistakes, new_command, probe_command
from sb3_nbsp.zoo.command_parser import CommandParser
from sb3_nbsp.zoo.given_arguments import read_arguments
from sb3_nbsp.zoo.train_checks import check_arguments, check_length

ERRORS = [
    (AttributeError("module 'a' has no attribute 'Foo'"), "module 'a' has no attribute 'Foo'"),
    (KeyError("n_timesteps"), "KeyError: 'n_timesteps'"),
    (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    (NotADirectoryError(20, "Not a directory", "x"), "[Errno 20] Not a directory: 'x'"),
    (gym.error.NameNotFound("no such env"), "no such env"),
    (ValueError(), "ValueError"),
]


def run(monkeypatch, error, typed, within="main"):
    """``cli.main`` with a command in which a function raises."""

    def raises(arguments):
        took.append(arguments)
        raise error

    took: list[list[str]] = []
    names = {within: raises, "main": raises}
    if within != "main":  # a frame of that name, which calls it
        exec(f"def {within}(arguments):\n    raises(arguments)\n", scope := {"raises": raises})
        names["main"] = scope[within]
    monkeypatch.setattr(sys, "argv", ["sb3-nbsp", *typed])
    monkeypatch.setattr(cli, "import_module", lambda _: type("Module", (), {"main": staticmethod(names["main"])}))
    monkeypatch.setattr(cli, "COMMANDS", dict.fromkeys(cli.COMMANDS, "x:main"))
    return cli.main(), took[0]


@pytest.mark.parametrize("command", ["train", "enjoy", "probe", "new", "benchmark"])
@pytest.mark.parametrize(("error", "words"), ERRORS, ids=lambda value: type(value).__name__)
def test_a_mistake_is_a_line(error, words, command, monkeypatch, capsys):
    assert run(monkeypatch, error, [command, "a"]) == (1, ["a"])
    first, _, rest = capsys.readouterr().err.partition("\n")
    assert first == f"sb3-nbsp {command}: {words}" and rest == "(--verbose 2 shows where this came up.)\n"


@pytest.mark.parametrize("typed", [["train", "--verbose", "2"], ["probe", "a", "--verbose=2"]])
def test_where_it_came_up_is_shown_on_request(typed, monkeypatch):
    with pytest.raises(KeyError):
        run(monkeypatch, KeyError("a"), typed)
    assert mistakes.take_verbose("probe", ["a", "--verbose", "2"]) == (2, ["a"])
    assert mistakes.take_verbose("train", ["a", "--verbose", "2"]) == (2, ["a", "--verbose", "2"])


@pytest.mark.parametrize("within", ["learn", "probe_model", "film"])
def test_what_goes_wrong_in_the_work_is_no_mistake(within, monkeypatch):
    with pytest.raises(KeyError):
        run(monkeypatch, KeyError("a"), ["train"], within)
    with pytest.raises(RuntimeError):
        run(monkeypatch, RuntimeError("of torch"), ["train"])
    assert run(monkeypatch, NotFiniteError("NaN"), ["train"], within)[0] == 1


def pairs(*typed: str) -> dict:
    parser = CommandParser("sb3-nbsp x")
    parser.add_argument("-params", nargs="+", action=StoreDict)
    return parser.parse_args(typed).params


def test_a_repeated_option_adds_to_the_first():
    assert pairs("-params", "a:1", "b:2", "-params", "b:3", "c:dict(d=4)") == {"a": 1, "b": 3, "c": {"d": 4}}
    assert pairs() is None


@pytest.mark.parametrize("text", ["a:1/0", "a:taylor", "a:dict(x=nn.Foo)", "a:(", "a:"])
def test_a_value_that_python_cannot_read_is_named(text):
    with pytest.raises(
        ValueError, match=r"^-params a:.* cannot be read \(.*Error: .*Expected KEY:VALUE with a value in Python"
    ):
        pairs("-params", text)


@pytest.mark.parametrize("text", ["a=1", "a", "a b:1"])
def test_every_command_refuses_what_is_no_pair(text, capsys):
    with pytest.raises(SystemExit):
        pairs("-params", text)
    assert "must be KEY:VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("typed", [["--ext", "1"], ["-par", "a:1"], ["--ext=1"]])
def test_options_are_written_in_full(typed, capsys):
    parser = CommandParser("sb3-nbsp x")
    parser.add_argument("-n")
    parser.add_argument("--extra")
    parser.add_argument("-params", nargs="+")
    with pytest.raises(SystemExit):
        parser.parse_args(typed)
    assert "unknown argument" in capsys.readouterr().err
    assert parser.parse_args(["-n100", "-params", "a:1"]).n == "100"


def test_somebody_says_how_long_to_train():
    settings = {"policy": "MlpPolicy"}
    with pytest.raises(ValueError, match="n_timesteps, the number of env steps"):
        check_length(settings, -1)
    check_length(settings, 100)
    assert settings["n_timesteps"] == 100
    check_length(settings, 7)
    assert settings["n_timesteps"] == 100


def test_other_mistakes_of_train(capsys):
    with pytest.raises(ValueError, match=r"--conf-file nosuch\.py is no file"):
        check_arguments(read_arguments(["-conf", "nosuch.py"]))
    with pytest.raises(SystemExit):
        check_arguments(read_arguments(["--log-interval", "0"]))
    assert "--log-interval: must be 1 or more" in capsys.readouterr().err
    check_arguments(read_arguments(["--log-interval", "-2"]))


def test_probe_and_new_name_what_is_not_there(capsys):
    for command, typed, words in (
        (probe_command, ["nosuch.json"], "nosuch.json"),
        (new_command, [""], "expected the name of a Python file, got none"),
    ):
        with pytest.raises(SystemExit) as left:
            command.main(typed)
        assert left.value.code == 2 and words in capsys.readouterr().err


def test_a_run_without_its_model_is_named(tmp_path, monkeypatch):
    (tmp_path / "results.json").touch()
    (tmp_path / "rl_model_7_steps.zip").touch()
    read = type("Read", (), {"settings": {"algo": "nbspsac", "env": "sb3_nbsp/PointGoal-v0"}})
    monkeypatch.setattr(probe_command.SequenceResults, "read", lambda _: read)
    with pytest.raises(ValueError, match=r"PointGoal-v0\.zip; models in .*: rl_model_7_steps\.zip\. .*train --resume"):
        probe_command._settings(tmp_path, [])
    (tmp_path / "sb3_nbsp-PointGoal-v0.zip").touch()
    assert probe_command._settings(tmp_path, [])["algo"] == "nbspsac"


def test_modules_in_the_working_directory_are_found_last(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setattr(sys, "argv", ["sb3-nbsp", "envs"])
    assert cli.main() == 0 and sys.path[-1] == str(tmp_path)
    cli.main()
    assert sys.path.count(str(tmp_path)) == 1


def test_a_reader_that_has_read_enough_is_no_mistake():
    """As in ``sb3-nbsp envs | head -1``."""
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([sys.executable, "-m", "sb3_nbsp.cli", "envs"], stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert done.returncode == 1 and "pipe" not in done.stderr.lower()


@pytest.mark.parametrize(
    ("package", "extra"), [("rl_zoo3", "zoo"), ("matplotlib.pyplot", "plots"), ("metaworld", "metaworld")]
)
def test_a_package_that_is_missing_is_told_with_the_extra_that_brings_it(package, extra):
    from sb3_nbsp.zoo.mistakes import told

    error = ModuleNotFoundError(f"No module named {package!r}", name=package)
    assert told("benchmark", error, 0) == f'sb3-nbsp benchmark: No module named {package!r}: pip install "sb3-nbsp[{extra}]"'
    known = ImportError('Suites need PyYAML: pip install "sb3-nbsp[zoo]"', name="yaml")
    assert told("report", known, 0).count("pip install") == 1
    assert "pip install" not in told("train", ModuleNotFoundError("No module named 'mine'", name="mine"), 0)
