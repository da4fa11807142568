"""
The names of the methods, and how figures draw each of them: one colour, marker and line for a method in all figures.

Families have hues of Okabe and Ito's palette: greys and browns learn on without protection, slate
has a policy per task, blues rehearse, oranges and reds
are NBSP and its variants, greens task gates, purples penalties on parameters, black PackNet. Within a family shades, markers
and lines tell methods apart: the more transitions are kept, the darker.
"""

from collections.abc import Iterable
from dataclasses import dataclass

# Okabe and Ito's palette, told apart with every common colour blindness; its yellow is too faint for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Of tasks, which stand in no figure beside methods' colours: Tol's muted palette, made for the same.
TASK_COLOURS = ("#332288", "#CC6677", "#999933", "#44AA99", "#882255", "#88CCEE", "#DDCC77")


# What keeps a policy for each task: a ceiling for methods with one network, and none of them.
CEILINGS = ("saved copy per task", "from scratch per task")


@dataclass(frozen=True)
class Style:
    """
    How a method is drawn.

    :param colour: as ``#RRGGBB``
    :param marker: matplotlib's code of a marker
    :param line: matplotlib's code of a line style
    """

    colour: str
    marker: str = "o"
    line: str = "-"


STYLES: dict[str, Style] = {
    # No protection.
    "fine-tuning, buffer kept": Style("#444444", "D"),
    "fine-tuning, buffer emptied": Style("#999999", "X"),
    "new networks at each switch": Style("#8C6D46", "X", ":"),
    "low learning rate after the first task": Style("#B59B78", "v", ":"),
    "ReDo": Style("#6B4F2A", "P", ":"),
    "CReLU": Style("#A0522D", "^", ":"),
    "continual backprop": Style("#D2A679", "s", ":"),
    "plasticity injection": Style("#5C4033", "o", ":"),
    "UPGD": Style("#C4956A", "D", ":"),
    # A policy per task: what one network is compared with.
    "saved copy per task": Style("#2F4F4F", "D", "--"),
    "from scratch per task": Style("#7A9A9A", "X", "--"),
    "single task": Style("#BBBBBB", "o", "--"),
    # Old transitions, or what the networks say of them.
    "rehearsal": Style("#0072B2", "s"),
    "no masks": Style("#0072B2", "s"),
    "rehearsal, 100 transitions": Style("#8CC5E8", "s", "-."),
    "rehearsal, 1,000 transitions": Style("#4A9FD1", "s", "--"),
    "rehearsal, half of each batch": Style("#004C7A", "s", ":"),
    "cloning": Style("#56409E", "o"),
    "cloning, 100 observations": Style("#A79BDB", "o", "--"),
    "masks and cloning": Style("#B0479A", "o"),
    "masks and cloning, 100 observations": Style("#DB8FCB", "o", "--"),
    "masks and cloning, published score": Style("#7A2668", "o", "-."),
    "masks and cloning, published score, active neurons": Style("#C765B1", "^", "--"),
    "masks and cloning, corrected score, active neurons": Style("#4F1843", "^", ":"),
    "cloning skill neurons": Style("#7A2E8C", "^"),
    "cloning skill neurons, clone coef 10": Style("#C79AD6", "^", ":"),
    "cloning skill neurons, clone coef 100": Style("#9F5FB5", "^", "--"),
    "cloning skill neurons, clone coef 1,000": Style("#5A1C6B", "^", "-."),
    "cloning all active neurons": Style("#4B2A7B", "D", "-."),
    "A-GEM": Style("#16355B", "v", "-."),
    "behavioural cloning": Style("#3F3D99", "P"),
    "behavioural cloning, 100 observations": Style("#8A88D6", "P", "--"),
    # NBSP, its parts and its variants.
    "NBSP": Style("#D55E00", "o"),
    "published score, among all neurons": Style("#8A3A00", "o", "--"),
    "corrected score, among active neurons": Style("#E0566B", "^"),
    "masks only": Style("#F2B27A", "o", ":"),
    "NBSP, 100 transitions": Style("#EFA05C", "o", "-."),
    "NBSP, 1,000 transitions": Style("#E37F2E", "o", "--"),
    "NBSP as published": Style("#8A3A00", "o", "--"),
    "NBSP, half of each batch": Style("#A84B00", "o", ":"),
    "NBSP, hard mask": Style("#C23B22", "v"),
    "NBSP, both sides, hard mask": Style("#8F1D14", "v", "--"),
    "NBSP, corrected score": Style("#E0566B", "^"),
    "NBSP, active neurons only": Style("#C43C59", "^", "--"),
    "NBSP, published score, active neurons": Style("#C43C59", "^", "--"),
    "NBSP, corrected score, active neurons": Style("#E0566B", "^"),
    "NBSP, buffer kept": Style("#B5651D", "o", "-."),
    "NBSP, entropy coefficient kept": Style("#E8935A", "o", ":"),
    "NBSP, warm-up of 10": Style("#F0B080", "o", "--"),
    "NBSP, warm-up of 500": Style("#BF4E14", "o", "--"),
    "NBSP, random neurons": Style("#F08A9B", "^", ":"),
    "NBSP, dormant neurons": Style("#F5B3BC", "^", "-."),
    "NBSP, Taylor importance": Style("#A12A4A", "^", ":"),
    "NBSP, critic only": Style("#E69F00", "v", "-."),
    "NBSP, actor only": Style("#B57D00", "v", ":"),
    "active neurons held": Style("#8A8A00", "D"),
    "active neurons held, no rehearsal": Style("#C9C95C", "D", ":"),
    "active neurons held, 100 transitions": Style("#A9A92E", "D", "-."),
    # Neurons that answer to their own task only.
    "task gates": Style("#009E73", "^"),
    "task gates, 1,000 transitions": Style("#5CC9A7", "^", "--"),
    "task gates, random neurons": Style("#00573F", "^", ":"),
    # Parameters of old tasks.
    "L2": Style("#E3B7D0", "v", "-."),
    "EWC": Style("#CC79A7", "v"),
    "MAS": Style("#96467A", "v", "--"),
    "NPC": Style("#9B6BB0", "v", ":"),
    "ANCL": Style("#6E2F5C", "s", "--"),
    "PackNet": Style("#000000", "P"),
}
# The demonstration says which algorithm: "NBSPDQN" is drawn as NBSP, "DQN, buffer kept" as fine-tuning with its buffer kept.
for _algo in ("SAC", "TQC", "DQN", "QRDQN", "PPO"):
    STYLES[f"NBSP{_algo}"] = STYLES["NBSP"]
    for _part in ("masks only", "task gates"):
        STYLES[f"NBSP{_algo}, {_part}"] = STYLES[_part]
    STYLES[f"{_algo}, buffer kept"] = STYLES["fine-tuning, buffer kept"]
    STYLES[f"{_algo}, buffer emptied"] = STYLES["fine-tuning, buffer emptied"]
STYLES["PPO"] = STYLES["fine-tuning, buffer emptied"]  # it keeps no data


def styles_of(names: Iterable[str]) -> dict[str, Style]:
    """
    :param names: of the methods in a figure
    :return: a style for each; methods that are not known here get the palette's colours that no other one has, in a fixed
        order, and the same again with other lines where these do not suffice
    """
    names = list(dict.fromkeys(names))
    taken = {STYLES[name].colour for name in names if name in STYLES}
    free = [index for index, colour in enumerate(COLOURS) if colour not in taken] or list(range(len(COLOURS)))
    unknown = [name for name in names if name not in STYLES]
    lines = ("-", "--", "-.", ":")
    rest = {
        name: Style(COLOURS[free[index % len(free)]], MARKERS[free[index % len(free)]], lines[index // len(free) % len(lines)])
        for index, name in enumerate(unknown)
    }
    return {name: STYLES.get(name) or rest[name] for name in names}
