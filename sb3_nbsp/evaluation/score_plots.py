"""Histograms of neurons' scores: which ones are silent, and which were chosen."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sb3_nbsp.evaluation.method_styles import COLOURS
from sb3_nbsp.evaluation.metric_arguments import FloatArray
from sb3_nbsp.evaluation.plots import GREY, ONE_SEED, WIDTH, new_figure, plain, save_figure, seeds_in_words, write_below
from sb3_nbsp.neurons.skill_neurons import LayerSkill, SkillNeurons

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = np.linspace(0.5, 1.0, 26)  # every score lies in [0.5, 1]
ACTIVE, SILENT, CHOSEN = COLOURS[5], COLOURS[1], COLOURS[6]
PANEL_WIDTH, PANEL_HEIGHT = 2.45, 1.75  # inches


def plot_score_histogram(skill_neurons: SkillNeurons, path: str | os.PathLike[str]) -> None:
    """
    Draw the scores of one task's neurons, one histogram per network. Silent neurons (0 on every step that was scored, "dead"
    ones) stand in another colour; an outline marks the chosen ones.

    :param skill_neurons: of one scoring, e.g. ``model.skill_neurons["east"]`` or what ``model.consolidate()`` returns
    :param path: image file, replaced as a whole
    :raises ImportError: if matplotlib is not installed
    :raises ValueError: if no neurons were scored
    :raises TypeError: for anything else
    """
    if not isinstance(skill_neurons, SkillNeurons):
        raise TypeError(f"Expected the SkillNeurons of one task, got {type(skill_neurons).__name__}.")
    plot_score_histograms([{skill_neurons.task: skill_neurons}], path)


def plot_score_histograms(
    runs: Sequence[Mapping[str, SkillNeurons]], path: str | os.PathLike[str], title: str | None = None
) -> None:
    """
    Draw :func:`plot_score_histogram` for several tasks, one row each. Counts are means over the runs in which a task was
    scored with the network.

    :param runs: the skill neurons by task, for each run of one method
    :param path: image file, replaced as a whole
    :param title: above the figure, e.g. the method's name
    :raises ImportError: if matplotlib is not installed
    :raises ValueError: if no neurons were scored
    :raises TypeError: for anything but skill neurons by task
    """
    if isinstance(runs, Mapping) or not all(isinstance(run, Mapping) for run in runs):
        raise TypeError(f"Expected a list of dicts of SkillNeurons by task, one for each run, got {type(runs).__name__}.")
    tasks = list(dict.fromkeys(task for run in runs for task in run))
    scored = [skill for run in runs for skill in run.values()]
    networks = list(dict.fromkeys(layer.network for skill in scored for layer in skill.layers.values()))
    if not networks:
        raise ValueError(f"Expected the scores of at least one network, got {len(scored)} scorings without any.")
    size = max(WIDTH, 0.6 + PANEL_WIDTH * len(networks)), 1.3 + PANEL_HEIGHT * len(tasks)
    figure = new_figure(*size)
    panels = figure.subplots(len(tasks), len(networks), sharex=True, sharey="row", squeeze=False)
    numbers: list[int] = []  # of runs in each panel
    for row, task in zip(panels, tasks, strict=True):
        for panel, network in zip(row, networks, strict=True):
            of_panel = [layers for run in runs if task in run and (layers := _layers(run[task], network))]
            numbers.append(len(of_panel))
            _draw_scores(panel, of_panel)
        row[0].set_ylabel(task, fontsize=9, fontweight="bold")
    for panel, network in zip(panels[0], networks, strict=True):
        where: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (0, 32), "textcoords": "offset points", "ha": "center"}
        panel.annotate(network, (0.5, 1.0), **where, fontsize=9, fontweight="bold")
    handles, labels = panels.flat[np.flatnonzero(numbers)[0]].get_legend_handles_labels()
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "title": title, "title_fontsize": 10}
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), **style)
    kinds = ", ".join(dict.fromkeys(skill.score for skill in scored))
    goals = ", ".join(dict.fromkeys(skill.goal_metric for skill in scored))
    seeds = seeds_in_words(filter(None, numbers), "mean over ")
    over = "" if seeds == ONE_SEED else f", {seeds}"
    write_below(figure, f"{kinds} score by number of neurons{over}; goal metric: {goals}; silent: 0 on every scored step")
    save_figure(figure, path)


def _layers(skill: SkillNeurons, network: str) -> list[LayerSkill]:
    return [layer for layer in skill.layers.values() if layer.network == network]


def _draw_scores(panel: "Axes", runs: Sequence[Sequence[LayerSkill]]) -> None:
    if not runs:
        panel.set_title("not scored", fontsize=9, color=GREY, pad=3)
        return plain(panel)
    layers = [layer for run in runs for layer in run]
    scores = np.array([score for layer in layers for score in layer.scores])
    silent = np.array([share == 0 for layer in layers for share in layer.active_share], dtype=bool)
    chosen = np.concatenate([np.isin(np.arange(len(layer.scores)), layer.chosen) for layer in layers])
    share = 1 / len(runs)
    parts = [(scores[~silent], ACTIVE, "active neurons"), (scores[silent], SILENT, "silent neurons")]
    below: FloatArray = np.zeros(len(BINS) - 1)
    for values, colour, label in parts:
        counts = np.histogram(values, BINS)[0] * share
        panel.bar(BINS[:-1], counts, np.diff(BINS), below, align="edge", color=colour, edgecolor="white", lw=0.4, label=label)
        below = below + counts
    panel.stairs(np.histogram(scores[chosen], BINS)[0] * share, BINS, color=CHOSEN, linewidth=1.3, label="chosen ones")
    panel.set_xlim(BINS[0], BINS[-1])
    panel.set_ylim(0, max(panel.get_ylim()[1], 1.08 * below.max()))  # which the panels of a row share
    numbers = [f"{float(mask.sum()) * share:.0f}" for mask in (chosen, silent, chosen & silent)]
    text = f"{len(scores) * share:.0f} neurons: {numbers[0]} chosen,\n{numbers[1]} silent, {numbers[2]} both"
    panel.set_title(text, fontsize=9, color=GREY, pad=3)
    plain(panel)
