"""``sb3-nbsp train --seeds``: one run per seed, as if each had been trained alone."""

import json
from pathlib import Path

import pytest
from helpers import run_python

from sb3_nbsp import NBSPSAC

pytest.importorskip("rl_zoo3")
from sb3_nbsp.zoo.argument_types import seeds_of
from sb3_nbsp.zoo.env_workers import EnvWorkers
from sb3_nbsp.zoo.given_arguments import read_arguments
from sb3_nbsp.zoo.together import runs_of

ENV = "sb3_nbsp/PointGoal-v0"
SMALL = ("--env-kwargs", "steps_per_task:150", "cycles:1", "--eval-episodes", "2", "--eval-freq", "0", "--device", "cpu")
TINY = ("-params", "learning_starts:50", "batch_size:16", "scoring_steps:100", "policy_kwargs:dict(net_arch=[16,16])")


def train(folder: Path, *arguments: str, expect: int = 0) -> str:
    command = ("-m", "sb3_nbsp.cli", "train", "--algo", "nbspsac", "--env", ENV, *SMALL, *TINY, *arguments)
    return run_python(*command, folder=folder, expect=expect)


def test_every_seed_has_the_run_that_it_has_alone(tmp_path):
    said = train(tmp_path, "--seeds", "3,5-6", "-f", "together")
    assert "3 agents learn together" in said
    assert said.count("east (1 of 2) ended at step 150. Success at step 150: east ") == 1  # one bar for all
    assert said.count("Next:") == 1 and "sb3_nbsp-PointGoal-v0_3/sb3_nbsp-PointGoal-v0.zip" in said
    train(tmp_path, "--seed", "5", "-f", "alone")
    runs = sorted((tmp_path / "together" / "nbspsac").iterdir())
    alone = tmp_path / "alone" / "nbspsac" / "sb3_nbsp-PointGoal-v0_1"
    assert [run.name for run in runs] == [f"sb3_nbsp-PointGoal-v0_{i}" for i in (1, 2, 3)]
    found = [json.loads((run / "results.json").read_text()) for run in runs]
    assert [results["seed"] for results in found] == [3, 5, 6] and all(results["finished"] for results in found)
    expected = json.loads((alone / "results.json").read_text())
    for one, other in zip(found[1]["evaluations"], expected["evaluations"], strict=True):
        assert (one["step"], one["kind"], one["success"]) == (other["step"], other["kind"], other["success"])
        assert one["mean_return"] == pytest.approx(other["mean_return"], abs=0.05)
    assert found[1]["settings"] == expected["settings"]
    files = [{path.relative_to(run).as_posix() for path in run.rglob("*")} for run in (runs[1], alone)]
    assert len({frozenset(name for name in names if "/store/" not in name) for names in files}) == 1  # named after contents
    models = [NBSPSAC.load(run / "sb3_nbsp-PointGoal-v0.zip") for run in (runs[1], alone)]
    for one, other in zip(*(model.policy.parameters() for model in models), strict=True):
        assert float((one - other).detach().abs().max()) < 1e-3
    assert models[0].learned_tasks == models[1].learned_tasks == ["east", "west"]


@pytest.mark.expensive
def test_envs_in_processes_of_their_own_change_nothing(tmp_path):
    said = train(tmp_path, "--seeds", "5-6", "--env-workers", "2", "-f", "workers")
    assert "Envs step in 2 processes of their own" in said and "2 agents learn together" in said
    train(tmp_path, "--seeds", "5-6", "--env-workers", "0", "-f", "own")
    for number in (1, 2):
        runs = [tmp_path / where / "nbspsac" / f"sb3_nbsp-PointGoal-v0_{number}" for where in ("workers", "own")]
        results = [json.loads((run / "results.json").read_text())["evaluations"] for run in runs]
        timeless = [[{key: row[key] for key in row if key != "wall_s"} for row in rows] for rows in results]
        assert timeless[0] == timeless[1] and len(timeless[0]) == 3
        steps = [[line.split(",")[:2] for line in (run / "0.monitor.csv").read_text().splitlines()[1:]] for run in runs]
        assert steps[0] == steps[1] and len(steps[0]) > 5
        models = [NBSPSAC.load(run / "sb3_nbsp-PointGoal-v0.zip") for run in runs]
        assert all(bool((a == b).all()) for a, b in zip(*(model.policy.parameters() for model in models), strict=True))


def asked(words):
    return runs_of(read_arguments(words))


def test_how_many_processes_envs_step_in(tmp_path):
    file = tmp_path / "runs.json"
    file.write_text(json.dumps({"runs": [[], []], "env_workers": None, "cores": 3}))
    by_file = EnvWorkers.asked_for(read_arguments(["--together", str(file)]), 2)
    assert (by_file.workers, by_file.cores) == (None, 3)
    assert by_file.pool(ENV, {}) is None and by_file.workers == 0  # an env that costs next to nothing
    assert EnvWorkers.asked_for(read_arguments(["--seeds", "0-3", "--env-workers=0"]), 4).pool(ENV, {}) is None
    assert EnvWorkers.asked_for(read_arguments(["--seeds", "0-3", "--env-workers", "2"]), 4).workers == 2
    assert asked(["--seeds", "4", "--env-workers", "2", "-P"]) == [["-P", "--seed", "4"]]
    with pytest.raises(SystemExit):
        read_arguments(["--env-workers", "-1"])


def test_what_is_asked_for():
    assert seeds_of("0-2,7") == [0, 1, 2, 7]
    assert asked(["--algo", "sac", "--seeds", "1-2", "-P"]) == [
        ["--algo", "sac", "-P", "--seed", "1"],
        ["--algo", "sac", "-P", "--seed", "2"],
    ]
    assert asked(["--algo", "sac", "--seeds=4"]) == [["--algo", "sac", "--seed", "4"]] and asked(["--seed", "1"]) is None


@pytest.mark.parametrize(
    "single",
    [["--seed=7"], ["--seed", "7"], ["--trained-agent=M.zip"], ["-iM.zip"], ["--resume=r"], ["-optimize"], ["--track"]],
    ids=" ".join,
)
def test_what_is_for_one_run_is_refused_however_it_is_written(single):
    with pytest.raises(ValueError, match=r"--seeds trains several agents, and .* is for one"):
        asked([*single, "--seeds", "0-1"])


@pytest.mark.parametrize("told", [{}, [], {"runs": []}, {"runs": [1]}, {"runs": None}])
def test_a_file_of_runs_that_is_none_is_told(told, tmp_path):
    (tmp_path / "runs.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"--together .*runs\.json must hold"):
        asked(["--together", str(tmp_path / "runs.json")])


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "0-2,1", "0-4294967296"])
def test_what_no_seeds_are(text):
    with pytest.raises(ValueError, match="--seeds"):
        seeds_of(text)


@pytest.mark.parametrize("text", ["0-4294967295", "0-999,5000"])
def test_more_seeds_than_anyone_trains_are_refused(text):
    with pytest.raises(ValueError, match=r"at most 1,000 seeds; .* names [0-9,]+ or more"):
        seeds_of(text)
    assert len(seeds_of("0-999")) == 1000


def test_mistakes_are_told(tmp_path):
    assert "--seed is for one" in train(tmp_path, "--seeds", "0-1", "--seed", "2", expect=1)
    assert "0-9" in train(tmp_path, "--seeds", "many", expect=1)
