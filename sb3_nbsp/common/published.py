"""Settings that have a name: NBSP as the paper describes it, as far as that is known, and SB3's parent."""

import inspect
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
NOTHING_PER_TASK: dict[str, Any] = {
    "skill_fraction": 0.0,
    "memory_size": 0,
    "schedules_per_task": False,
    "reset_replay_buffer": False,
    "reset_ent_coef": False,
    "reset_log_std": False,
}


def plain_settings(algorithm: type) -> dict[str, Any]:
    """
    Arguments with which an NBSP algorithm learns what its SB3 parent learns: nothing of a task is held, kept or set back.

    Bit for bit; ``NBSPSAC`` to rounding, and bit for bit with ``fast_update=False`` beside them.

    :param algorithm: e.g. ``NBSPSAC``
    :return: for its constructor: ``NBSPSAC("MlpPolicy", env, **plain_settings(NBSPSAC))``
    :raises TypeError: for another class
    """
    described = [cls for cls in getattr(algorithm, "__mro__", ()) if "sb3_class" in vars(cls)]
    if not described:
        raise TypeError(f"algorithm must be an NBSP algorithm such as NBSPSAC; got {algorithm!r}.")
    known = inspect.signature(described[0]).parameters  # a user's class may list less
    return {name: value for name, value in NOTHING_PER_TASK.items() if name in known}
