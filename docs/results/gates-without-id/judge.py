"""
Agents with task gates, acting with the true id, with the other task's, and with the inferred one, on envs without ids. Prints
a line per agent and task. Run from the repository's root, with the folder that suite.yml was trained into:

    python docs/results/gates-without-id/judge.py runs/gates-without-id
"""

import sys
from pathlib import Path

import numpy as np
import torch as th
from stable_baselines3.common.evaluation import evaluate_policy

from sb3_nbsp import NBSPSAC
from sb3_nbsp.task_ids import InferredTaskId
from sb3_nbsp.tasks import metaworld_sequence

EPISODES, SEED = 25, 5_000  # per task; no agent has trained or was scored with this seed
WITHOUT_ID = {"action_repeat": 4, "horizon": 50}


def judged(model: NBSPSAC, tasks: list[str], task: str, inferred: bool = False) -> tuple[float, float]:
    """
    Share of solved episodes, and of episodes whose task was told right.

    :param tasks: in the order of their ids
    """
    sequence = metaworld_sequence(tasks, task_id=not inferred, **WITHOUT_ID)
    env = sequence.make_task_env(task, evaluation=True)
    env = InferredTaskId(env, model) if inferred else model._wrap_env(env, verbose=0)
    env.seed(SEED)
    solved, right = [], []

    def at_step(seen: dict, _globals: dict) -> None:
        if "episode" in seen["info"]:
            solved.append(seen["info"]["is_success"])
            right.append(seen["info"].get("inferred_task") == task)

    evaluate_policy(model, env, EPISODES, callback=at_step)
    env.close()
    return float(np.mean(solved)), float(np.mean(right))


th.set_num_threads(1)
for manifest in sorted(Path(sys.argv[1]).rglob("manifest.json")):
    if not (manifest.parent / "done.json").exists():
        continue
    (saved,) = (manifest.parent / "run").rglob("sb3_nbsp-CoffeeButtonWindowClose-v0.zip")
    agent = NBSPSAC.load(saved, device="cpu")
    for name in agent.learned_tasks:
        with_true, _ = judged(agent, agent.learned_tasks, name)
        with_other, _ = judged(agent, agent.learned_tasks[::-1], name)
        with_inferred, told = judged(agent, agent.learned_tasks, name, inferred=True)
        print(
            f"{', '.join(agent.learned_tasks)}; seed {agent.seed}; {name}: success {with_true:.2f} with the true id, "
            f"{with_other:.2f} with the other's, {with_inferred:.2f} with the inferred one; {told:.2f} of {EPISODES} episodes "
            "told right",
            flush=True,
        )
