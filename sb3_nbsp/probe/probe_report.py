"""Probes' findings as a table and as a picture: of one run, or the means over several."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from sb3_nbsp.base.markdown import escaped
from sb3_nbsp.evaluation.plots import new_figure, save_figure
from sb3_nbsp.evaluation.statistics import estimate
from sb3_nbsp.evaluation.table import markdown_table
from sb3_nbsp.probe.study import N_RANDOM, N_RESCORED, Probe

COLOURS = {
    "none": "#444444",
    "skill neurons": "#d55e00",
    "random active": "#0072b2",
    "random": "#56b4e9",
    "lowest scores": "#bbbbbb",
}
WIDTH = 0.16
OWN_TASK = "on the task whose scores chose them; mean over tasks"


def probe_table(*probes: Probe) -> str:
    """
    :param probes: what was found, in one run or in several on the same sequence; then with 95 % bootstrap intervals
    :return: Markdown
    :raises ValueError: if the runs were probed on different tasks
    """
    first = _check_comparable(probes)
    tasks = list(first.performance["", "none"])
    rows = []
    for task, which in first.performance:
        values = [_over(probe.performance[task, which][on] for probe in probes) for on in tasks]
        rows.append([f"{which} of {escaped(task)}" if task else which, _lesion(probes, task, which), *values])
    judged = f"{first.measure.capitalize()}, mean over {first.n_eval_episodes} episodes per task"
    runs = f"; mean [95 % interval] over {len(probes)} runs" if len(probes) > 1 else ""
    parts = [
        f"# Probe\n\n## Silenced neurons\n\n{judged}{runs}; random: mean over {N_RANDOM} draws.\n",
        *([markdown_table(["silenced", OWN_TASK], _own_task_rows(probes))] if first.lesions else []),
        markdown_table(["silenced", "neurons", *(f"on {escaped(task)}" for task in tasks)], rows),
    ]
    overlaps = [
        [" and ".join(map(escaped, pair)), _over(probe.task_overlap[pair] for probe in probes)] for pair in first.task_overlap
    ] + [
        [f"{escaped(task)}, {N_RESCORED} scorings with other seeds", _over(probe.seed_overlap[task] for probe in probes)]
        for task in first.seed_overlap
    ]
    if overlaps:
        chance = f"Jaccard overlap of the chosen sets; two random sets have {first.chance_overlap:.2f}.\n"
        parts += [f"## Overlap of skill neurons\n\n{chance}", markdown_table(["skill neurons of", "overlap"], overlaps)]
    measures = list(next(iter(first.diagnostics.values()), {}))
    state = [
        [network, *(_over(probe.diagnostics[network][name] for probe in probes) for name in measures)]
        for network in first.diagnostics
    ]
    parts += [
        "## Plasticity\n\nIn the task learned last; rank as a share of the neurons.\n",
        markdown_table(["network", *measures], state),
    ]
    return "\n".join(parts)


def _own_task_rows(probes: Sequence[Probe]) -> list[list[str]]:
    kinds = list(dict.fromkeys(which for _, which in probes[0].performance))
    return [[which, _over(_on_own_task(probe, which) for probe in probes)] for which in kinds]


def _on_own_task(probe: Probe, which: str) -> float:
    tasks = list(probe.lesions)
    keys = [("", "none") if which == "none" else (task, which) for task in tasks]
    return sum(probe.performance[key][task] for key, task in zip(keys, tasks, strict=True)) / len(tasks)


def _over(values: Iterable[float]) -> str:
    return str(estimate([list(values)]))


def _check_comparable(probes: Sequence[Probe]) -> Probe:
    if not probes:
        raise ValueError("Expected at least one probe, got none.")
    for probe in probes:
        for name in ("performance", "task_overlap", "seed_overlap", "diagnostics"):
            ours, theirs = set(getattr(probes[0], name)), set(getattr(probe, name))
            if ours != theirs:
                raise ValueError(
                    f"Expected probes of runs on one sequence, with the same arguments; their {name} differ: {ours ^ theirs}."
                )
    return probes[0]


def _lesion(probes: Sequence[Probe], task: str, which: str) -> str:
    if not task:
        return ""
    total, silent = (
        sum(probe.lesions[task][name] for probe in probes) / len(probes) for name in ("silenced", "silent anyway")
    )
    if which == "random active":
        return f"{total - silent:.3g}"
    return f"{total:.3g} ({silent:.3g} silent anyway)" if which == "skill neurons" else f"{total:.3g}"


def plot_probe(*probes: Probe, path: str | os.PathLike[str]) -> None:
    """
    Bars: performance on each task, by whose neurons were silenced; with several runs the mean, and a dot for each.

    :param probes: what was found
    :param path: PNG file
    :raises ImportError: if matplotlib is not installed
    :raises ValueError: if the runs were probed on different tasks
    """
    first = _check_comparable(probes)
    tasks = list(first.performance["", "none"])
    lesioned = [task for task in dict.fromkeys(task for task, _ in first.performance) if task]
    figure = new_figure(2.2 + 2.6 * max(len(lesioned), 1), 1.4 + 2.0 * len(tasks))
    axes = figure.subplots(len(tasks), 1, squeeze=False, sharex=True)[:, 0]
    for axis, task in zip(axes, tasks, strict=True):
        for place, victim in enumerate(lesioned):
            for i, which in enumerate(COLOURS):
                key = ("", "none") if which == "none" else (victim, which)
                values = [probe.performance[key][task] for probe in probes]
                label = which if place == 0 and axis is axes[0] else None
                _bar(axis, place + (i - 2) * WIDTH, values, COLOURS[which], label)
        if first.measure == "success rate":
            axis.set_ylim(-0.03, 1.05)
        axis.set_ylabel(first.measure)
        axis.set_title(f"on {task}", loc="left", fontsize=10, fontweight="bold")
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xticks(range(len(lesioned)), [f"silenced by scores on {task}" for task in lesioned])
    figure.legend(loc="outside upper center", ncols=3, frameon=False, title="silenced neurons")
    save_figure(figure, path)


def _bar(axis: Any, place: float, values: Sequence[float], colour: str, label: str | None) -> None:
    # An edge, so that 0 is seen too.
    style: dict[str, Any] = {"color": colour, "edgecolor": colour, "linewidth": 1.5, "label": label}
    axis.bar(place, sum(values) / len(values), WIDTH * 0.86, **style)
    if len(values) > 1:
        places = [place + (i / (len(values) - 1) - 0.5) * WIDTH * 0.6 for i in range(len(values))]
        axis.scatter(places, values, s=12, color="white", edgecolor="black", linewidth=0.7, zorder=3)
