"""
README's picture: success over all tasks of a sequence while they are trained one after another, out of the published runs.

    python docs/pictures/results.py  # writes docs/pictures/results.png
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sb3_nbsp.benchmark.file_names import RUNS
from sb3_nbsp.benchmark.runs_file import read_runs_file
from sb3_nbsp.evaluation import SequenceResults
from sb3_nbsp.evaluation.method_styles import STYLES
from sb3_nbsp.evaluation.plots import SHADE, WIDTH, new_figure, plain, save_figure

RESULTS = Path(__file__).parents[1] / "results"
# At most four lines; a method that a sequence was not trained with yet has none.
METHODS = {
    "fine-tuning, buffer kept": "SB3's SAC:\nbuffer kept",
    "fine-tuning, buffer emptied": "buffer\nemptied",
    "cloning, 100 observations": "cloning, 100\nobservations",
    "task gates": "task gates",
}
SHORT = {"coffee-button": "button", "window-close": "window"}


@dataclass(frozen=True)
class Panel:
    """
    :param title: above it
    :param sequence: as the suite names it
    :param folders: of published runs, under docs/results
    :param heights: where the lines' names stand, success rates
    """

    title: str
    sequence: str
    folders: tuple[str, ...]
    heights: Mapping[str, float]


PANELS = (
    Panel(
        "four short tasks (10 seeds)",
        "four tasks",
        ("quick", "cloning-in-class"),
        {
            "fine-tuning, buffer kept": 0.54,
            "fine-tuning, buffer emptied": 0.2,
            "cloning, 100 observations": 0.84,
            "task gates": 1.0,
        },
    ),
    Panel(
        "Meta-World, robot arm (5 seeds)",
        "coffee-button, window-close",
        ("metaworld",),
        {
            "fine-tuning, buffer kept": 0.86,
            "fine-tuning, buffer emptied": 0.6,
            "cloning, 100 observations": 0.99,
            "task gates": 0.77,
        },
    ),
)


def runs_of(panel: Panel) -> dict[str, list[SequenceResults]]:
    """The reported runs of the panel's sequence, by method."""
    found: dict[str, list[SequenceResults]] = {}
    for folder in panel.folders:
        for record in read_runs_file(RESULTS / folder / RUNS)[1]:
            manifest, results = record.manifest, record.results()
            if results is not None and manifest.get("sequence") == panel.sequence and manifest["seed"] < 100:
                found.setdefault(manifest["method"], []).append(results)
    return {method: found[method] for method in METHODS if method in found}


def draw(axes: Any, panel: Panel) -> None:
    """One line per method: the mean over seeds and tasks."""
    runs = runs_of(panel)
    first = next(iter(runs.values()))[0]
    ends = np.cumsum(first.segment_steps)
    for index, (start, end) in enumerate(zip((0, *ends), ends, strict=False)):
        if index % 2 == 0:
            axes.axvspan(start, end, color=SHADE, zorder=0, linewidth=0)
        axes.text((start + end) / 2, -0.02, SHORT.get(name := first.segments[index], name), ha="center", va="top", fontsize=9)
    for method, results in runs.items():
        mean = np.mean([run.values().mean(axis=1) for run in results], axis=0)
        colour = STYLES[method].colour
        axes.plot(first.steps, mean, color=colour, linewidth=2.4, solid_joinstyle="round")
        place = (ends[-1] * 1.02, panel.heights[method])
        label: dict[str, Any] = {"va": "center", "fontsize": 9, "linespacing": 1.0, "fontweight": "bold"}
        axes.text(*place, METHODS[method], color=colour, clip_on=False, **label)
    axes.set(xlim=(0, ends[-1]), ylim=(0, 1.04), xticks=[], yticks=[0, 0.5, 1])
    axes.set_title(panel.title, fontsize=10.5, fontweight="bold", loc="left")
    plain(axes)
    axes.tick_params(labelsize=9)


def main() -> None:
    """Draw the picture."""
    figure = new_figure(WIDTH, 2.7)
    axes = figure.subplots(1, len(PANELS))
    for one, panel in zip(axes, PANELS, strict=True):
        draw(one, panel)
    axes[0].set_ylabel("success, mean over all tasks", fontsize=9.5)
    figure.supxlabel("the task that is being trained", fontsize=9.5)
    save_figure(figure, Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
