"""Probes' findings as a table and as a picture: of one run, or the means over several."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from sb3_nbsp.base.markdown import escaped
from sb3_nbsp.evaluation.plots import WIDTH, new_figure, plain, save_figure, write_below
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
OWN_TASK = "on the task whose scores chose them; mean over tasks"


def probe_table(*probes: Probe) -> str:
    """
    :param probes: what was found, in one run or in several on the same sequence; then with 95 % bootstrap intervals
    :return: Markdown
    :raises ValueError: if the runs were probed on different tasks, in different measures, or not with the same arguments
    """
    first = check_comparable(probes)
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


def _on_other_tasks(probe: Probe, which: str) -> float:
    values = [
        value
        for task in probe.lesions
        for on, value in probe.performance[("", "none") if which == "none" else (task, which)].items()
        if on != task
    ]
    return sum(values) / len(values)


def _over(values: Iterable[float]) -> str:
    return str(estimate([list(values)]))


def check_comparable(probes: Sequence[Probe]) -> Probe:
    """
    :param probes: what was found in several runs
    :return: the first
    :raises ValueError: if they have no common mean
    """
    if not probes:
        raise ValueError("Expected at least one probe, got none.")
    for probe in probes:
        for name in ("performance", "task_overlap", "seed_overlap", "diagnostics"):
            ours, theirs = set(getattr(probes[0], name)), set(getattr(probe, name))
            if ours != theirs:
                raise ValueError(
                    f"Expected probes of runs on one sequence, with the same arguments; their {name} differ: {ours ^ theirs}."
                )
        for name in ("measure", "n_eval_episodes", "chance_overlap"):
            ours, theirs = getattr(probes[0], name), getattr(probe, name)
            if ours != theirs:
                raise ValueError(
                    f"Expected probes that can be averaged, their {name} is {ours!r} in one and {theirs!r} in another. Probe "
                    "the runs with the same arguments; those of other settings, or in another measure, by themselves."
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
    Bars: performance by which neurons were silenced, on the task whose scores chose them and, where there are several, on the
    other tasks. Means over tasks; with several runs over these too, and a dot for each.

    :param probes: what was found
    :param path: PNG file
    :raises ImportError: if matplotlib is not installed
    :raises ValueError: if the runs were probed on different tasks, in different measures, or not with the same arguments
    """
    first = check_comparable(probes)
    panels = {"on the task whose scores chose them": _on_own_task}
    if len(first.performance["", "none"]) > 1:
        panels["on the other tasks"] = _on_other_tasks
    figure = new_figure(WIDTH, 2.7 if len(probes) == 1 else 2.9)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    axes[0].invert_yaxis()
    for axis, (title, value) in zip(axes, panels.items(), strict=True):
        for place, which in enumerate(COLOURS if first.lesions else ()):
            _bar(axis, place, [value(probe, which) for probe in probes], COLOURS[which])
        axis.set_yticks(range(len(COLOURS)), list(COLOURS), fontsize=9)
        if first.measure == "success rate":
            axis.set_xlim(-0.03, 1.05)
        axis.set_xlabel(first.measure, fontsize=9)
        axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
        plain(axis)
    figure.supylabel("silenced neurons", fontsize=9)
    if len(probes) > 1:
        write_below(figure, f"bar: mean over {len(probes)} runs; dot: one run")
    save_figure(figure, path)


def _bar(axis: Any, place: int, values: Sequence[float], colour: str) -> None:
    # An edge, so that 0 is seen too.
    axis.barh(place, sum(values) / len(values), 0.7, color=colour, edgecolor=colour, linewidth=1.5)
    if len(values) > 1:
        places = [place + (i / (len(values) - 1) - 0.5) * 0.5 for i in range(len(values))]
        axis.scatter(values, places, s=14, color="white", edgecolor="black", linewidth=0.7, zorder=3)
