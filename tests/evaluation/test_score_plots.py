"""Skill neurons in a run's folder, and the histograms that are drawn of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import NBSP_SETTINGS, SETTINGS, sequence_env
from helpers.reported_runs import skill_neurons
from stable_baselines3 import SAC

from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation import SequenceEvalCallback, plot_score_histogram, plot_score_histograms, score_plots
from sb3_nbsp.evaluation.skill_file import read_skill_neurons, write_skill_neurons

pytestmark = pytest.mark.filterwarnings(r"ignore:The goal metric q\(t\)")


def test_a_file_holds_four_digits(tmp_path):
    skill = skill_neurons()
    write_skill_neurons({"a": skill.to_dict()}, tmp_path)
    (read,) = read_skill_neurons(tmp_path).values()
    assert read.layers["critic.qf0.0"].scores == [0.6, 0.6667]
    assert read.layers["actor.0"].active_share == [0.3, 1.0, 0.0, 0.0001, 0.0]  # hardly ever is not never
    assert read.counts() == skill.counts() and replace(read, layers={}) == replace(skill, layers={})


def test_files_that_cannot_be_read(tmp_path):
    assert read_skill_neurons(tmp_path) == {}
    for text in ("{", "[]", '{"format": "other"}'):
        (tmp_path / "skill_neurons.json").write_text(text)
        with pytest.raises(ValueError, match=r"Expected skill neurons in .*skill_neurons\.json, got something else"):
            read_skill_neurons(tmp_path)


def test_training_keeps_what_each_consolidation_found(tmp_path):
    model = NBSPSAC("MlpPolicy", sequence_env(), **NBSP_SETTINGS)
    model.learn(65, callback=SequenceEvalCallback(0, 1, log_path=tmp_path))
    assert list(read_skill_neurons(tmp_path)) == ["east"]
    model.learn(55, callback=SequenceEvalCallback(0, 1, log_path=tmp_path), reset_num_timesteps=False)
    kept = read_skill_neurons(tmp_path)  # the last task is consolidated at the end of training
    assert list(kept) == ["east", "west"] and kept["west"].counts() == model.skill_neurons["west"].counts()
    east = json.dumps(model.skill_neuron_records["east"])
    model.learn(61, callback=SequenceEvalCallback(0, 1, log_path=tmp_path), reset_num_timesteps=False)  # east again
    assert json.dumps(model.skill_neuron_records["east"]) != east
    assert read_skill_neurons(tmp_path)["east"].counts() == model.skill_neurons["east"].counts()


def test_a_run_that_goes_on_brings_what_it_knew(tmp_path):
    model = NBSPSAC("MlpPolicy", sequence_env(), **NBSP_SETTINGS).learn(65)
    model.save(tmp_path / "model")
    loaded = NBSPSAC.load(tmp_path / "model", env=sequence_env())
    loaded.learn(5, callback=SequenceEvalCallback(0, 1, log_path=tmp_path), reset_num_timesteps=False)
    assert list(read_skill_neurons(tmp_path)) == ["east"]


@pytest.mark.parametrize("make", [lambda env: SAC("MlpPolicy", env, **SETTINGS), lambda env: without_scores(env)])
def test_models_without_skill_neurons_write_none(make, tmp_path):
    make(sequence_env()).learn(70, callback=SequenceEvalCallback(0, 1, log_path=tmp_path))
    assert (tmp_path / "results.json").is_file() and not (tmp_path / "skill_neurons.json").exists()


def without_scores(env):
    return NBSPSAC("MlpPolicy", env, **{**NBSP_SETTINGS, "skill_fraction": 0.0})


@pytest.fixture
def drawn(monkeypatch):
    """Figures in place of files."""
    figures = []
    monkeypatch.setattr(score_plots, "save_figure", lambda figure, path: figures.append(figure))
    return figures


def heights(panel, bars):
    return np.array([bar.get_height() for bar in bars])


@pytest.mark.known_answer
def test_a_histogram_per_network(drawn):
    plot_score_histogram(skill_neurons(), "nowhere.png")
    actor, critic = drawn[0].axes
    active, silent = (heights(actor, bars) for bars in actor.containers)
    assert active.sum() == 3 and silent.sum() == 2
    assert active[0] == 1 and silent[0] == 1 and active[-1] == 1  # 0.5 and the silent 0.51; 1.0
    assert actor.containers[1][0].get_y() == 1  # silent neurons stand on active ones
    (outline,) = actor.patches[-1:]
    assert outline.get_data().values.sum() == 2  # the chosen ones
    assert actor.get_title() == "5 neurons: 2 chosen,\n2 silent, 1 both"
    assert critic.get_title() == "2 neurons: 1 chosen,\n0 silent, 0 both"
    assert {text.get_text() for axes in drawn[0].axes for text in axes.texts} == {"actor", "critic.qf0"}


def test_counts_are_means_over_runs(drawn):
    runs = [{"a": skill_neurons("a"), "b": skill_neurons("b")}, {"a": skill_neurons("a")}]  # one is not finished
    plot_score_histograms(runs, "nowhere.png")
    assert len(drawn[0].axes) == 4
    assert [sum(heights(panel, bars).sum() for bars in panel.containers) for panel in drawn[0].axes] == [5, 2, 5, 2]
    assert "mean over 1 to 2\nseeds" in drawn[0]._supxlabel.get_text()
    plot_score_histograms(runs[1:] * 3, "nowhere.png")
    assert "mean over 3 seeds" in drawn[1]._supxlabel.get_text()
    plot_score_histograms([{"a": skill_neurons("a")}, {"b": skill_neurons("b")}], "nowhere.png")
    assert "mean" not in drawn[2]._supxlabel.get_text()


def with_networks(task, *networks):
    skill = skill_neurons(task)
    return replace(skill, layers={name: layer for name, layer in skill.layers.items() if layer.network in networks})


def test_a_network_that_only_some_tasks_were_scored_with(drawn):
    nothing, actor, critic = with_networks("a"), with_networks("b", "actor"), with_networks("c", "critic.qf0")
    plot_score_histograms(
        [{"a": nothing, "b": actor, "c": critic}, {"b": with_networks("b", "actor", "critic.qf0")}], "no.png"
    )
    titles = [panel.get_title() for panel in drawn[0].axes]
    five, two = "5 neurons: 2 chosen,\n2 silent, 1 both", "2 neurons: 1 chosen,\n0 silent, 0 both"
    assert titles == ["not scored", "not scored", five, two, "not scored", two]  # means over the runs that have the network
    assert {text.get_text() for text in drawn[0].legends[0].get_texts()} == {"active neurons", "silent neurons", "chosen ones"}


def test_a_picture(tmp_path):
    plot_score_histogram(skill_neurons(), tmp_path / "scores.png")
    assert (tmp_path / "scores.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="Expected the scores of at least one network"):
        plot_score_histogram(replace(skill_neurons(), layers={}), tmp_path / "scores.png")
