"""
What do agents that rehearse few transitions make of an old task? Prints values.txt.

    python docs/results/small-memory/values.py FOLDER > docs/results/small-memory/values.txt

FOLDER/METHOD/seedN/ holds, anywhere below, a run's rl_model_12000_steps.zip (after the first task), rl_model_24000_steps.zip
(after the second); those of "rehearsal" also rl_model_36000_steps.zip, whose memory holds 10,000 transitions of both tasks.
"""

import sys
from pathlib import Path

import torch as th

from sb3_nbsp import NBSPSAC

METHODS = {
    "fine-tuning-buffer-emptied": ("fine-tuning, buffer emptied", 0),
    "rehearsal-100-transitions": ("rehearsal", 100),
    "rehearsal": ("rehearsal", 10_000),
    "nbsp-100-transitions": ("NBSP", 100),
    "nbsp": ("NBSP", 10_000),
}
HEADER = """\
seed  method                       old      value of the button's transitions   value of the window's   change of action
                                            before   after: kept  all           after                   kept  all"""


def agent(folder: Path, steps: int) -> NBSPSAC | None:
    """The checkpoint of a run, if it was kept."""
    found = sorted(folder.rglob(f"rl_model_{steps}_steps.zip"))
    return NBSPSAC.load(found[0], device="cpu") if found else None


def remembered(model: NBSPSAC, task: int) -> tuple[th.Tensor, th.Tensor]:
    """Observations and actions that a model's memory holds of a task."""
    samples = model.memory.state_dict()[str(task)]
    return samples["observations"].flatten(1).float(), samples["actions"].flatten(1).float()


@th.no_grad()
def value(model: NBSPSAC, observations: th.Tensor, actions: th.Tensor) -> float:
    """Mean of the smaller critic's value."""
    return float(th.cat(model.critic(observations, actions), dim=1).min(dim=1).values.mean())


@th.no_grad()
def change(one: NBSPSAC, other: NBSPSAC, observations: th.Tensor) -> float:
    """Mean absolute difference of the deterministic actions."""
    return float((one.actor(observations, deterministic=True) - other.actor(observations, deterministic=True)).abs().mean())


def main(folder: Path) -> None:
    """Print a row per seed and method."""
    print(HEADER)
    for seed in range(5):
        runs = {method: folder / method / f"seed{seed}" for method in METHODS}
        before = agent(runs["rehearsal"], 12_000)
        button = remembered(agent(runs["rehearsal"], 24_000), 0)
        window = remembered(agent(runs["rehearsal"], 36_000), 1)
        for method, (name, size) in METHODS.items():
            after = agent(runs[method], 24_000)
            if after is None:
                continue
            same = zip(before.policy.parameters(), agent(runs[method], 12_000).policy.parameters(), strict=True)
            assert all(th.equal(one, other) for one, other in same), "another agent after the first task"
            kept = remembered(after, 0) if size else None
            kept_value, kept_change = (value(after, *kept), change(before, after, kept[0])) if kept else (float("nan"),) * 2
            print(
                f"{seed}     {name:28s} {size:6,d}   {value(before, *button):6.0f}   {kept_value:11.0f}  "
                f"{value(after, *button):11.0f}   {value(after, *window):11.0f}             {kept_change:.2f}  "
                f"{change(before, after, button[0]):.2f}"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
