"""To the Hugging Face Hub and back, up to where the network begins: there a folder stands for the Hub."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from helpers import run_python
from stable_baselines3 import SAC

from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation.skill_file import read_skill_neurons

pytest.importorskip("rl_zoo3")
FAKE_HUB = Path(__file__).parents[1] / "helpers" / "fake_hub.py"
TRUST = {"TRUST_REMOTE_CODE": "True"}
ENV = "sb3_nbsp/PointGoal-v0"
NAME = "sb3_nbsp-PointGoal-v0"
RUN = ("--algo", "nbspsac", "--env", ENV, "-orga", "me")
REPO = f"me/nbspsac-{NAME}"
SHORT = ("--env-kwargs", "steps_per_task:150", "cycles:1", "--eval-episodes", "1", "--verbose", "0", "--seed", "1")
SMALL = ("learning_starts:50", "batch_size:16", "scoring_steps:100", "policy_kwargs:dict(net_arch=[16,16])", "normalize:True")


def sb3_nbsp(*arguments: str, folder: Path, expect: int = 0, **env: str) -> str:
    """Run commands in a folder; return what they printed."""
    return run_python(str(FAKE_HUB), str(folder / "hub"), *arguments, folder=folder, expect=expect, **{**TRUST, **env})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks were learned, with observations normalised; the model was uploaded."""
    folder = tmp_path_factory.mktemp("hub")
    train = ("train", "--algo", "nbspsac", "--env", ENV, *SHORT, "--save-freq", "200", "--save-replay-buffer")
    output = sb3_nbsp(*train, "-params", *SMALL, "then", "push", *RUN, "-m", "first", folder=folder)
    assert f"Uploaded: https://huggingface.co/{REPO}" in output
    return folder


def test_what_is_uploaded(folder: Path) -> None:
    repo, run = folder / "hub" / REPO, folder / "logs" / "nbspsac" / f"{NAME}_1"
    settings = {"args.yml", "config.yml", "env_kwargs.yml", "vec_normalize.pkl"}
    results = {"README.md", "skill_neurons.json", "sequence.png", "train_eval_metrics.zip"}
    assert {file.name for file in repo.iterdir()} == {f"nbspsac-{NAME}.zip", *settings, *results}  # no replay buffer
    assert json.loads((folder / "hub" / "commits.json").read_text()) == [REPO, "first"]
    assert (repo / f"nbspsac-{NAME}.zip").read_bytes() == (run / f"{NAME}.zip").read_bytes()
    assert (repo / "env_kwargs.yml").read_text() == "cycles: 1\nsteps_per_task: 150\n"
    with zipfile.ZipFile(repo / "train_eval_metrics.zip") as archive:
        assert set(archive.namelist()) >= {"results.json", "matrix.csv", "0.monitor.csv", "skill_neurons.json"}


def test_the_skill_neuron_report(folder: Path) -> None:
    repo = folder / "hub" / REPO
    skills = NBSPSAC.load(repo / f"nbspsac-{NAME}.zip").skill_neurons
    assert list(skills) == ["east", "west"]
    uploaded = read_skill_neurons(repo)
    assert list(uploaded) == list(skills)
    for task, skill in skills.items():
        assert uploaded[task].counts() == skill.counts() and uploaded[task].overlap(skill) == 1
        for name, layer in skill.layers.items():
            assert uploaded[task].layers[name].scores == pytest.approx(layer.scores, abs=1e-4)

    card = (repo / "README.md").read_text()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in card.splitlines() if line.startswith("|")]
    for task, skill in skills.items():
        for network, counts in skill.counts().items():
            assert [task, network, *map(str, counts.values())] in cells
    assert ["actor", "32", "6"] == next(row for row in cells if row[0] == "west")[1:4]
    assert ["east and west", f"{skills['east'].overlap(skills['west']):.2f}"] in cells
    assert "two random sets have 0.11" in card


def test_the_card_says_how_to_use_it_and_what_it_can(folder: Path) -> None:
    card = (folder / "hub" / REPO / "README.md").read_text()
    assert f"sb3-nbsp pull --algo nbspsac --env {ENV} -orga me -name nbspsac-{NAME} -f logs\n" in card
    assert "| NBSPSAC, seed 1 | 2. west" in card and "One run each." in card and "![" in card
    metadata = card.split("---\n")[1]
    assert "library_name: stable-baselines3" in metadata and "- name: NBSPSAC\n" in metadata
    assert "name: mean success rate over tasks at the end" in metadata
    assert str(folder) not in card


def test_pull_brings_what_enjoy_and_probe_need(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "hub").symlink_to(folder / "hub")
    twice = ("pull", *RUN, "-f", "logs", "then", "pull", *RUN, "then")  # the second one beside the first
    watch = ("enjoy", *RUN[:4], "-f", "logs", "--no-render", "-n", "60", "then")
    output = sb3_nbsp(*twice, *watch, "push", *RUN, "-o", "again", folder=tmp_path)
    assert f"To watch it: sb3-nbsp enjoy --algo nbspsac --env {ENV} -f logs" in output
    assert "task                      episodes" in output and "vec_normalize.pkl" in output
    for number in (1, 2):
        run = tmp_path / "logs" / "nbspsac" / f"{NAME}_{number}"
        assert (run / f"{NAME}.zip").is_file() and (run / NAME / "vecnormalize.pkl").is_file()
    assert list(read_skill_neurons(run)) == ["east", "west"]
    assert json.loads((run / "results.json").read_text())["finished"]  # probe and report read it
    # What was pulled can be pushed again.
    assert (tmp_path / "again" / "README.md").read_text() == (folder / "hub" / REPO / "README.md").read_text().replace(
        "\n![On each task, while the sequence was learned](sequence.png)\n", ""
    )


def test_pull_without_normalisation(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "hub", tmp_path / "hub")
    (tmp_path / "hub" / REPO / "vec_normalize.pkl").unlink()
    forced = ("pull", *RUN, "--exp-id", "1", "--force")
    assert sb3_nbsp("pull", *RUN, "then", *forced, folder=tmp_path).count("No normalization file") == 2
    run = tmp_path / "logs" / "nbspsac" / f"{NAME}_1"
    assert not (run / NAME / "vecnormalize.pkl").exists() and (run / f"{NAME}.zip").is_file()
    there = sb3_nbsp("pull", *RUN, "--exp-id", "1", "then", "pull", *RUN, "-name", "nowhere", folder=tmp_path, expect=1)
    assert "already exists, use --force" in there and "404" in there


def test_a_plain_algorithm_has_no_skill_neurons(folder: Path) -> None:
    """Its run is ours with another model in it."""
    run = folder / "logs" / "sac" / f"{NAME}_1"
    shutil.copytree(folder / "logs" / "nbspsac" / f"{NAME}_1" / NAME, run / NAME)
    SAC("MlpPolicy", "Pendulum-v1", buffer_size=10, policy_kwargs={"net_arch": [4]}).save(run / NAME)
    sb3_nbsp("push", "--algo", "sac", "--env", ENV, "-orga", "me", "-name", "plain", "--private", folder=folder)
    repo = folder / "hub" / "me" / "plain"
    card = (repo / "README.md").read_text()
    assert "# SAC on" in card and "-name plain" in card and "Skill neurons" not in card
    assert not (repo / "skill_neurons.json").exists()


def test_output_uploads_nothing(folder: Path) -> None:
    before = (folder / "hub" / "commits.json").stat().st_mtime_ns
    assert "Nothing was uploaded" in sb3_nbsp("push", *RUN, "-o", "looked/at", folder=folder)
    files = {file.name: file.read_bytes() for file in (folder / "hub" / REPO).iterdir()}
    for name in set(files) - {"train_eval_metrics.zip"}:
        assert (folder / "looked" / "at" / name).read_bytes() == files[name]
    assert (folder / "hub" / "commits.json").stat().st_mtime_ns == before


def test_errors_say_what_to_do(folder: Path) -> None:
    look = ("push", *RUN, "-o", "hub")
    output = sb3_nbsp("push", *RUN, "--exp-id", "7", "then", *look, folder=folder, expect=2)
    assert f"{NAME}_7 folder was not found" in output and "-f and --exp-id say which" in output
    assert "expected a folder that does not exist yet, got hub" in output
    wrong_name = ("push", *RUN, "-name", "no/name")
    output = sb3_nbsp(*wrong_name, "then", "pull", *RUN, folder=folder, expect=1, TRUST_REMOTE_CODE="False")
    assert "me/no/name was not uploaded (HFValidationError" in output and "hf auth login" in output
    assert "`TRUST_REMOTE_CODE` to `True`" in output and "Traceback" not in output
