"""A probe's findings as a table and as a picture."""

import os
from typing import Any

from sb3_nbsp.evaluation.plots import new_figure, save_figure
from sb3_nbsp.evaluation.table import markdown_table
from sb3_nbsp.probe.study import N_RANDOM, N_RESCORED, Probe

COLOURS = {"none": "#444444", "skill neurons": "#d55e00", "random": "#0072b2", "lowest scores": "#56b4e9"}


def probe_table(probe: Probe) -> str:
    """
    :param probe: what was found
    :return: Markdown
    """
    tasks = list(probe.performance["", "none"])
    rows = [["none", "", *(_number(probe.performance["", "none"][task]) for task in tasks)]]
    for (task, which), values in probe.performance.items():
        if task:
            rows.append([f"{which} of {task}", _lesion(probe, task, which), *(_number(values[name]) for name in tasks)])
    judged = f"{probe.measure.capitalize()}, mean over {probe.n_eval_episodes} episodes per task"
    heading = f"## Silenced neurons\n\n{judged}; random: mean over {N_RANDOM} draws.\n"
    parts = [
        heading,
        markdown_table(["silenced", "neurons", *(f"on {task}" for task in tasks)], rows),
    ]
    overlaps = [[f"{a} and {b}", _number(value)] for (a, b), value in probe.task_overlap.items()]
    overlaps += [[f"{task}, {N_RESCORED} scorings with other seeds", _number(v)] for task, v in probe.seed_overlap.items()]
    if overlaps:
        chance = f"Jaccard overlap of the chosen sets; two random sets have {probe.chance_overlap:.2f}.\n"
        parts += [f"## Overlap of skill neurons\n\n{chance}", markdown_table(["skill neurons of", "overlap"], overlaps)]
    measures = list(next(iter(probe.diagnostics.values()), {}))
    state = [[network, *(_number(values[name]) for name in measures)] for network, values in probe.diagnostics.items()]
    parts += [
        "## Plasticity\n\nIn the task learned last; rank as a share of the neurons.\n",
        markdown_table(["network", *measures], state),
    ]
    return "\n".join(parts)


def _lesion(probe: Probe, task: str, which: str) -> str:
    counts = probe.lesions[task]
    if which != "skill neurons":
        return str(counts["silenced"])
    return f"{counts['silenced']} ({counts['silent anyway']} silent anyway)"


def _number(value: float) -> str:
    return f"{value:.2f}"


def plot_probe(probe: Probe, path: str | os.PathLike[str]) -> None:
    """
    Bars: performance on each task, by whose neurons were silenced.

    :param probe: what was found
    :param path: PNG file
    :raises ImportError: if matplotlib is not installed
    """
    tasks = list(probe.performance["", "none"])
    lesioned = [task for task in dict.fromkeys(task for task, _ in probe.performance) if task]
    figure = new_figure(2.2 + 2.4 * max(len(lesioned), 1), 1.2 + 2.0 * len(tasks))
    axes = figure.subplots(len(tasks), 1, squeeze=False, sharex=True)[:, 0]
    width = 0.2
    for axis, task in zip(axes, tasks, strict=True):
        for place, victim in enumerate(lesioned):
            for i, (which, colour) in enumerate(COLOURS.items()):
                value = probe.performance["", "none"] if which == "none" else probe.performance.get((victim, which), {})
                label = which if place == 0 and axis is axes[0] else None
                # An edge, so that 0 is seen too.
                style: dict[str, Any] = {"color": colour, "edgecolor": colour, "linewidth": 1.5, "label": label}
                axis.bar(place + (i - 1.5) * width, value.get(task, 0.0), width * 0.86, **style)
        if probe.measure == "success rate":
            axis.set_ylim(-0.03, 1.05)
        axis.set_ylabel(probe.measure)
        axis.set_title(f"on {task}", loc="left", fontsize=10, fontweight="bold")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xticks(range(len(lesioned)), [f"silenced by scores on {task}" for task in lesioned])
    figure.legend(loc="outside upper center", ncols=len(COLOURS), frameon=False, title="silenced neurons")
    save_figure(figure, path)
