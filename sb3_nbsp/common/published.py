"""NBSP as the paper describes it, as far as that is known, as arguments of the algorithms."""

from typing import Any

# What the defaults differ in, and why: docs/evidence.md; what of the paper is not known: docs/guide/paper.md.
# PPO has no replay: NBSPPPO(..., **PUBLISHED | {"rehearsal": "clip"}).
PUBLISHED: dict[str, Any] = {
    "skill_fraction": 0.2,
    "mask_coef": 0.2,
    "mask_target": "gradient",
    "mask_networks": "all",
    "mask_sides": "incoming",
    "mask_output_biases": False,
    "task_gates": False,
    "score": "published",
    "select_among": "all",
    "rehearsal": "replay",
    "replay_mode": "interval",
}
