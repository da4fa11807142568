"""
What NBSP's arguments were at commit 2a43d91: the last one whose benchmarks did not record them. Data, not settings: cells that
were trained until then keep these values, whatever the defaults are now.
"""

from typing import Any

_SHARED: dict[str, Any] = {
    "skill_fraction": 0.2,
    "mask_coef": 0.2,
    "mask_target": "update",
    "mask_networks": "all",
    "mask_sides": "incoming",
    "mask_output_biases": False,
    "task_gates": False,
    "score": "published",
    "select_among": "all",
    "goal_metric": "auto",
    "scoring_steps": 5_000,
    "memory_size": 10_000,
    "replay_mode": "interval",
    "replay_interval": 10,
    "old_task_fraction": 0.5,
    "reset_optimizer": False,
    "schedules_per_task": True,
    "fast_update": False,
}
_OFF_POLICY = {**_SHARED, "memory_retention": "uniform", "reset_replay_buffer": True, "task_warmup": None}

# The constructors' defaults, by algorithm.
DEFAULTS: dict[str, dict[str, Any]] = {
    "nbspsac": {**_OFF_POLICY, "reset_ent_coef": True, "fast_update": "auto"},
    "nbsptqc": {**_OFF_POLICY, "reset_ent_coef": True},
    "nbspdqn": _OFF_POLICY,
    "nbspqrdqn": _OFF_POLICY,
    "nbspppo": {**_SHARED, "rehearsal": "clone", "reset_log_std": True},
}

# What held before an argument existed, by algorithm: cells that do not record it were trained so.
BEFORE: dict[str, dict[str, Any]] = {algo: {"rehearsal": "replay"} for algo in DEFAULTS if algo != "nbspppo"}

_POINT_GOAL = {"scoring_steps": 1_000}
_ATARI_IDS = ("Atari", "PongBreakout", "SpaceInvadersDemonAttack", "PongSpaceInvaders", "BreakoutDemonAttack", "Atari4")
_ATARI = {f"sb3_nbsp/{name}-v0": {"memory_size": 10_000} for name in _ATARI_IDS}
_DISCRETE = {"sb3_nbsp/PointGoalDiscrete-v0": _POINT_GOAL, "sb3_nbsp/PointGoalImage-v0": _POINT_GOAL}

# What the files in hyperparams/ said instead, by algorithm and env.
OF_ENVS: dict[str, dict[str, dict[str, Any]]] = {
    "nbspsac": {"sb3_nbsp/PointGoal-v0": _POINT_GOAL, "sb3_nbsp/PointGoal4-v0": _POINT_GOAL},
    "nbsptqc": {"sb3_nbsp/PointGoal-v0": _POINT_GOAL},
    "nbspdqn": {**_DISCRETE, **_ATARI},
    "nbspqrdqn": {**_DISCRETE, **_ATARI},
    "nbspppo": {"sb3_nbsp/PointGoalDiscrete-v0": _POINT_GOAL, "sb3_nbsp/PointGoal-v0": _POINT_GOAL, **_ATARI},
}
