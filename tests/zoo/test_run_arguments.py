"""The arguments and settings that a run was started with are those that it goes on with."""

import pytest
import yaml

pytest.importorskip("rl_zoo3")
from torch import nn

from sb3_nbsp.zoo import resume
from sb3_nbsp.zoo.given_arguments import read_arguments
from sb3_nbsp.zoo.plain_python import is_plain, is_plain_setting
from sb3_nbsp.zoo.run_arguments import as_command_line, checked_beside, read_settings
from sb3_nbsp.zoo.run_settings import NotRead, read_run_yaml

TYPED = ["policy_kwargs:dict(net_arch=[8,8],activation_fn=nn.Tanh)", "learning_starts:10"]
WRITTEN = {"policy_kwargs": {"net_arch": [8, 8], "activation_fn": nn.Tanh, "use_sde": False}, "learning_starts": 10}
TOLD = {
    "algo": "nbspsac",
    "env": "sb3_nbsp/PointGoal-v0",
    "conf_file": "/a/c.yml",
    "env_kwargs": {"steps_per_task": 60, "tasks": ("east", "west")},
    "eval_freq": None,
    "gym_packages": ["a"],
    "hyperparams": read_run_yaml(yaml.dump(WRITTEN)),
    "n_timesteps": 300,
    "save_replay_buffer": True,
    "seed": 3,
}


def split(words):
    return resume.split(read_arguments(words))


@pytest.mark.parametrize(
    "text",
    ["1e-3", "-2", "256*2", "'taylor'", "None", "[8, (1, 2)]", "dict(a=[1], b={'c': nn.Tanh})", "float('inf')", "th.nn.ReLU",
     "sb3_nbsp.baselines.CReLU", "HerReplayBuffer", "torch.optim.Adam"],
)  # fmt: skip
def test_constants_and_classes_are_plain(text):
    assert is_plain(text) and is_plain_setting("score", text)


@pytest.mark.parametrize(
    "text",
    ["__import__('os').system('x')", "print(1)", "lambda: 1", "[x for x in y]", "f'{1}'", "th.os.system", "nn.Tanh()", "1 2",
     "", "().__class__", "dict(**a)", "2**9**9", "'a'+'b'", "open", "(a := 1)"],
)  # fmt: skip
def test_what_calls_something_is_not(text):
    assert not is_plain(text)


def test_text_that_is_evaluated_again_is_judged_again():
    assert is_plain_setting("score", "'print(1)'") and is_plain_setting("policy_kwargs", "'dict(net_arch=[8])'")
    assert not is_plain_setting("policy_kwargs", "'print(1)'")


def test_pairs_are_typed_as_they_were():
    told = {**TOLD, "typed": {"hyperparams": TYPED}}
    words = as_command_line(told)
    pairs = {"env_kwargs": ["steps_per_task:60", "tasks:('east', 'west')"], "hyperparams": sorted(TYPED)}
    assert {name: sorted(texts) for name, texts in read_arguments(words).pairs.items()} == pairs


def test_what_was_not_read_is_refused_unless_the_model_has_it():
    with pytest.raises(ValueError, match=r"policy_kwargs in --hyperparams is a Python object .*begin a new run"):
        as_command_line(TOLD)
    assert "learning_starts:10" in as_command_line(TOLD, has_model=True)
    for name, value in (
        ("hyperparams", {"learning_rate": NotRead("x")}),
        ("env_kwargs", {"policy": NotRead("x")}),
        ("seed", NotRead("x")),
    ):
        with pytest.raises(ValueError, match="is a Python object"):
            as_command_line({**TOLD, name: value}, has_model=True)
    code = {**TOLD, "typed": {"hyperparams": ["policy_kwargs:print(1)"]}}
    with pytest.raises(ValueError, match=r"print\(1\)"):
        as_command_line(code)
    assert not any("print" in word for word in as_command_line(code, has_model=True))


@pytest.mark.parametrize(
    "beside",
    [[], ["--algo", "nbspsac", "--env=sb3_nbsp/PointGoal-v0", "--seed", "3", "-n", "300"], ["--save-replay-buffer"],
     ["--env-kwargs", "tasks:('east','west')", "steps_per_task:30*2"], ["-params", *TYPED], ["-params", *TYPED[::-1]],
     ["-conf", "/a/../a/c.yml"], ["--gym-packages", "a"]],
)  # fmt: skip
@pytest.mark.parametrize("typed", [{}, {"typed": {"hyperparams": TYPED}}], ids=["earlier", "typed"])
def test_the_runs_own_arguments_may_stand_beside_it(tmp_path, beside, typed):
    run = tmp_path / "logs" / "nbspsac" / "env_1"
    told = {**TOLD, **typed}
    assert checked_beside(read_arguments([*beside, "-f", f"{tmp_path}/x/../logs"]), told, run) == []
    assert checked_beside(read_arguments(["--verbose", "2", *beside, "-P"]), told, run) == ["--verbose", "2", "-P"]


@pytest.mark.parametrize(
    "wrong",
    [["--algo", "nbspppo"], ["--seed", "99"], ["-f", "elsewhere"], ["-params", "learning_rate:0.5"], ["-params", TYPED[1]],
     ["--env-kwargs", "steps_per_task:60", "tasks:('east',)"], ["-uuid"], ["--eval-freq=50"], ["-conf", "d.yml"],
     ["-tb", "t"]],
)  # fmt: skip
def test_others_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError) as refused:
        checked_beside(read_arguments(["--env", "sb3_nbsp/PointGoal-v0", *wrong, "--verbose", "0"]), TOLD, tmp_path)
    assert f"the run's own arguments; got {' '.join(wrong)} beside it. Leave that out" in str(refused.value)


def test_settings_are_those_of_the_run(tmp_path):
    file = tmp_path / "config.yml"
    file.write_text(yaml.dump({"gamma": 0.9, "policy": "MlpPolicy", "n_steps": 5, **WRITTEN}))
    with pytest.raises(ValueError, match=r"policy_kwargs in .*config\.yml is a Python object"):
        read_settings(file, {}, has_model=False)
    rest = {"gamma": 0.9, "policy": "MlpPolicy", "n_steps": 5, "learning_starts": 10}
    assert read_settings(file, {}, has_model=True) == rest
    assert read_settings(file, WRITTEN, has_model=False) == {**rest, **WRITTEN}
    file.write_text("policy_kwargs: print(1)\n")
    with pytest.raises(ValueError, match=r"print\(1\)"):
        read_settings(file, {}, has_model=False)
    file.write_text("- 1\n")
    with pytest.raises(ValueError, match="Expected settings"):
        read_settings(file, {}, has_model=False)


def test_a_run_from_the_hub_goes_on_without_its_modules_and_scripts(tmp_path):
    saved = tmp_path / "sb3_nbsp-PointGoal-v0"
    saved.mkdir()
    (saved / "args.yml").write_text("algo: nbspsac\nenv: sb3_nbsp/PointGoal-v0\ngym_packages: [a]\n")
    own = split(["--resume", str(tmp_path)])[1]
    assert own[-2:] == ["--gym-packages", "a"]
    (saved / "env_kwargs.yml").touch()
    with pytest.raises(ValueError, match=r"If you trust them: --gym-packages a$"):
        split(["--resume", str(tmp_path)])
    for words in (["--gym-packages", "a"], ["--gym-packages=a"]):
        assert split(["--resume", str(tmp_path), *words])[1] == own
    (saved / "args.yml").write_text("algo: nbspsac\nenv: sb3_nbsp/PointGoal-v0\nconf_file: /a/b.py\n")
    with pytest.raises(ValueError, match=r"names the script /a/b\.py, which is not run"):
        split(["--resume", str(tmp_path)])
