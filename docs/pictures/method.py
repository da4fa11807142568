"""
The method in one figure: what happens to a network's neurons at the end of a task, with masks and with task gates.

    python docs/pictures/method.py  # writes docs/pictures/method.png
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

SIZES = (3, 6, 6, 2)  # inputs (the last one tells the task), two hidden layers, outputs
SKILL = {1: (1, 2), 2: (0, 3)}  # the chosen neurons by layer
SILENT = {1: (4, 5), 2: (2, 5)}
GATES = {1: 5, 2: 5}
FREE, HELD, NEW, GATE, EDGE = "#ffffff", "#2b6ca3", "#f2b134", "#333333", "#c9c9c9"


def place(layer: int, neuron: int) -> tuple[float, float]:
    """Where a neuron is drawn."""
    return 1.5 * layer, (SIZES[layer] - 1) / 2 - neuron


def connect(axes: Axes, one: tuple[int, int], other: tuple[int, int], colour: str, width: float) -> None:
    """A line between two neurons."""
    (x0, y0), (x1, y1) = place(*one), place(*other)
    axes.plot([x0, x1], [y0, y1], color=colour, linewidth=width, zorder=2 if width > 1 else 1, solid_capstyle="round")


def is_skill(layer: int, neuron: int) -> bool:
    """Whether a neuron was chosen."""
    return neuron in SKILL.get(layer, ())


def edge_style(kind: str, one: tuple[int, int], other: tuple[int, int]) -> tuple[str, float] | None:
    """Colour and width of a weight; None for one that is 0."""
    incoming, outgoing = is_skill(*other), is_skill(*one)
    if kind != "gates":
        return (HELD, 1.3) if kind == "masks" and incoming else (EDGE, 0.6)
    from_gate, to_gate = (GATES.get(layer) == n for layer, n in (one, other))
    if to_gate:
        return (GATE, 1.3) if from_gate or one == (0, SIZES[0] - 1) else None
    if from_gate:
        return (GATE, 0.6)
    from_input, to_output = one[0] == 0, other[0] == len(SIZES) - 1
    if (incoming or to_output) and (outgoing or from_input):
        return (HELD, 1.3)
    return None if incoming or outgoing else (EDGE, 0.6)


def edges(axes: Axes, kind: str) -> None:
    """Weights: the held ones are thick."""
    for layer in range(len(SIZES) - 1):
        for one in ((layer, n) for n in range(SIZES[layer])):
            for other in ((layer + 1, n) for n in range(SIZES[layer + 1])):
                style = edge_style(kind, one, other)
                if style is not None:
                    connect(axes, one, other, *style)


def neurons(axes: Axes, kind: str) -> None:
    """Circles, by what they are."""
    for layer, size in enumerate(SIZES):
        for n in range(size):
            face, text, dashed = FREE, "", False
            if is_skill(layer, n):
                face = HELD
            elif kind == "gates" and n == GATES.get(layer):
                face, text = GATE, "1"
            elif kind == "gates" and layer in GATES:
                face = NEW
            elif n in SILENT.get(layer, ()):
                dashed = True
            if layer == 0 and n == SIZES[0] - 1:
                text = "id"
            style = {"linestyle": (0, (2, 1.5)) if dashed else "solid", "edgecolor": "#555555", "linewidth": 1.1}
            axes.add_patch(Circle(place(layer, n), 0.3, facecolor=face, zorder=3, **style))  # type: ignore[arg-type]
            colour = "white" if face == GATE else "black"
            axes.text(*place(layer, n), text, ha="center", va="center", fontsize=9, color=colour, zorder=4)


def panel(axes: Axes, kind: str, title: str, text: str) -> None:
    """One state of the network."""
    edges(axes, kind)
    neurons(axes, kind)
    axes.text(2.25, 3.45, title, ha="center", fontsize=11, fontweight="bold")
    axes.text(2.25, -3.35, text, ha="center", va="top", fontsize=9.5, linespacing=1.4)
    axes.set_xlim(-0.6, 5.1)
    axes.set_ylim(-5.6, 3.9)
    axes.set_aspect("equal")
    axes.set_axis_off()


def main() -> None:
    """Draw and save."""
    figure = Figure(figsize=(8, 4.1), dpi=150, layout="constrained")
    before, masks, gates = figure.subplots(1, 3)
    panel(
        before,
        "before",
        "A task ends",
        "Neurons are scored while the\nagent plays. Blue: the best fifth.\nDashed: put out 0 all the time.",
    )
    panel(
        masks,
        "masks",
        "Default: masks, cloning",
        "What feeds the blue neurons\nhardly changes any more. Old\nobservations are cloned on.",
    )
    panel(
        gates,
        "gates",
        "Or: task gates",
        "Blue: work on this task only,\nnever change. Black: switches\nthem on. Yellow: for new tasks.",
    )
    figure.savefig(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
