"""What the commands are given is checked at the door: by name, before rl-zoo3 stumbles over it."""

import math

import pytest
from helpers.cases import SAC_CASE

from sb3_nbsp.benchmark.suite_file import SuiteError, check_suite
from sb3_nbsp.zoo import benchmark_command, demo_command, probe_command, report_command
from sb3_nbsp.zoo.given_arguments import read_arguments
from sb3_nbsp.zoo.train_checks import check_algorithm, check_arguments, check_settings, read_numbers

POLICY = {"policy": "MlpPolicy"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("policy", 5), ("n_timesteps", 0), ("n_timesteps", "x"), ("n_envs", 0), ("n_envs", "2"), ("frame_stack", 0),
        ("normalize", "yes"), ("noise_type", "x"), ("callback", "x"), ("env_wrapper", ["."]), ("learning_rate", "abc"),
        ("learning_rate", math.nan), ("learning_rate", -1), ("clip_range", "lin"), ("policy_kwargs", 5),
    ],
)  # fmt: skip
def test_settings_of_the_zoo_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        check_settings({**POLICY, name: value})


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": "lin_3e-4", "clip_range": 0.2, "normalize": "{'norm_obs': False}"},
        {
            "n_timesteps": 1e6,
            "normalize": True,
            "env_wrapper": ["a.B", {"c.D": {"e": 1}}],
            "policy_kwargs": "dict(net_arch=[8])",
        },
        {"callback": None, "noise_type": "normal", "noise_std": 0.1},
    ],
)
def test_what_the_zoo_takes_is_allowed(settings):
    check_settings({**POLICY, **settings})


def test_what_is_missing_is_said():
    with pytest.raises(ValueError, match="policy must be"):
        check_settings({"n_envs": 1})
    with pytest.raises(ValueError, match="noise_type needs noise_std"):
        check_settings({**POLICY, "noise_type": "normal"})


def test_text_that_is_a_number_is_one():
    """YAML takes 1e-3 for text."""
    settings = {"learning_rate": "1e-3", "batch_size": "64", "tau": "lin_0.1", "policy": "MlpPolicy"}
    read_numbers(settings)
    assert settings == {"learning_rate": 1e-3, "batch_size": 64, "tau": "lin_0.1", "policy": "MlpPolicy"}
    assert isinstance(settings["batch_size"], int)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--seed", "-5"), ("--seed", str(2**40)), ("-n", "0"), ("-n", "-7"), ("--eval-freq", "-7"), ("--eval-freq", "1.5"),
        ("--eval-episodes", "0"), ("--save-freq", "0"), ("--save-freq", "-7"), ("--num-threads", "0"), ("--n-eval-envs", "0"),
        ("-params", "batch_size"), ("--env-kwargs", "a b:1"),
    ],
)  # fmt: skip
def test_numbers_on_the_command_line_are_refused_by_name(option, value, capsys):
    with pytest.raises(SystemExit):
        read_arguments([option, value])
    assert f"{option}" in (said := capsys.readouterr().err) and "must be" in said and value in said


@pytest.mark.parametrize(
    "content",
    ["", "- a\n", "hello", "a: [", "sb3_nbsp/PointGoal-v0:\n  - policy\n"],
    ids=["empty", "list", "text", "no", "in"],
)
def test_a_settings_file_that_is_none_is_named(tmp_path, content):
    path = tmp_path / "settings.yml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"--conf-file .*settings\.yml"):
        check_arguments(read_arguments(["-conf", str(path)]))


def test_files_and_devices_that_are_not_there_are_named(tmp_path):
    for arguments in (["-i", "nowhere.zip"], ["-conf", "nowhere.yml"], ["--device", "gpu7"]):
        with pytest.raises(ValueError, match=arguments[1].split(".")[0]):
            check_arguments(read_arguments(arguments))
    given = ["--seed", "-1", "-n", "100", "--device", "cpu", "-params", "batch_size:8", "--env-kwargs", "a:1"]
    check_arguments(read_arguments(given))


def test_a_plain_algorithm_does_not_go_on_with_our_file(tmp_path):
    SAC_CASE.made().save(tmp_path / "ours.zip")
    SAC_CASE.made_parent().save(tmp_path / "sb3.zip")
    check_algorithm(tmp_path / "sb3.zip", "sac")
    with pytest.raises(ValueError, match=r"ours\.zip was saved by an NBSP algorithm.*--algo nbspsac"):
        check_algorithm(tmp_path / "ours.zip", "sac")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (benchmark_command, ["quick.yml", "--n-jobs", "-3"]),
        (benchmark_command, ["quick.yml", "--minutes", "0"]),
        (benchmark_command, ["quick.yml", "--memory-gb", "-1"]),
        (demo_command, ["--n-jobs", "0"]),
        (demo_command, ["--steps-per-task", "0"]),
        (probe_command, ["run", "--episodes", "0"]),
        (report_command, ["run", "--last", "0"]),
    ],
    ids=lambda value: value[-2] if isinstance(value, list) else value.__name__.rpartition(".")[2],
)
def test_the_other_commands_refuse_numbers_too(command, arguments, capsys):
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert f"argument {arguments[-2]}: must be" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "arguments"), [(benchmark_command, ["quick.yml", "--dry-run"]), (demo_command, [])])
@pytest.mark.parametrize(
    ("seeds", "words"),
    [(["-1"], "expects seeds like 0-9"), (["0", "1", "0"], "names a seed twice: '0,1,0'"), (["0-3", "2"], "twice: '0-3,2'")],
)
def test_seeds_are_those_of_every_command(command, arguments, seeds, words, capsys):
    with pytest.raises(SystemExit) as left:
        command.main([*arguments, "--seeds", *seeds])
    assert left.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("common", "words"),
    [
        ({"eval_freq": -100}, "'eval_freq' of common to be 0 or more"),
        ({"eval_episodes": 0}, "'eval_episodes' of common to be 1 or more"),
        ({"save_freq": 0}, "'save_freq' of common to be 1 or more"),
        ({"params": {"gamma": math.nan}}, "finite number for 'gamma' in params of common"),
        ({"env_kwargs": {"goal": math.inf}}, "finite number for 'goal' in env_kwargs of common"),
    ],
)
def test_a_suite_refuses_numbers_that_cannot_be(common, words):
    suite = {"seeds": [0], "common": common, "sequences": {"s": {}}, "methods": {"m": {}}}
    with pytest.raises(SuiteError, match=words):
        check_suite(suite)


@pytest.mark.parametrize(
    ("change", "words"), [({"seeds": [2**40]}, "seeds up to"), ({"methods": {"m" * 300: {}}}, "1 to 150")]
)
def test_a_suite_refuses_seeds_and_names_that_nothing_takes(change, words):
    with pytest.raises(SuiteError, match=words):
        check_suite({"seeds": [0], "sequences": {"s": {}}, "methods": {"m": {}}, **change})
