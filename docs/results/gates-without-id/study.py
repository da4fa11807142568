"""
Can the task be told from observations at all? Gathers Meta-World episodes (about 10 minutes, into a file), then tries what
100 kept observations per task tell: fitted on one seed's 50 goals, tried on another's. Run from the repository's root:

    python docs/results/gates-without-id/study.py build/observations.npz > docs/results/gates-without-id/study.txt
"""

import sys
from pathlib import Path

import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from sb3_nbsp.task_ids import TaskRecogniser, doubts, told_as
from sb3_nbsp.tasks.metaworld import MetaWorldEnv
from sb3_nbsp.tasks.point_goal import GOALS, PointGoalEnv

CW10 = ["hammer", "push-wall", "faucet-close", "push-back", "stick-pull", "handle-press-side", "push", "shelf-place",
        "window-close", "peg-unplug-side"]  # fmt: skip
PAIRS = [["coffee-button", "window-close"], ["window-open", "window-close"], ["drawer-open", "drawer-close"]]
WHOLE = [*dict.fromkeys(name for pair in PAIRS for name in pair)]  # of these whole episodes of the scripted policy
SEEDS = {"fit": 7, "test": 1007}


def gathered() -> dict[str, np.ndarray]:
    """By task, policy and use: episodes [100 or 50, 11 or 50, 39]."""
    found = {}
    for task in dict.fromkeys([*WHOLE, *CW10]):
        for (use, seed), policy in ((item, policy) for item in SEEDS.items() for policy in ("random", "scripted")):
            whole = policy == "scripted" and task in WHOLE
            n_episodes, n_steps = (50, 50) if whole else (100, 11)
            env, random = MetaWorldEnv(task, action_repeat=4, horizon=50), np.random.default_rng(seed // 1000)
            scripted, episodes = ENV_POLICY_MAP[f"{task}-v3"](), np.zeros((n_episodes, n_steps, 39), np.float32)
            for episode in range(n_episodes):
                observation, _ = env.reset(seed=seed) if episode == 0 else env.reset()
                for step in range(n_steps):
                    episodes[episode, step] = observation
                    action = random.uniform(-1, 1, 4) if policy == "random" else scripted.get_action(observation)
                    observation, *_ = env.step(np.clip(action, -1, 1).astype(np.float32))
            env.close()
            found[f"{task}|{policy}|{use}"] = episodes
    return found


def right(fitted: TaskRecogniser, episodes: dict[str, np.ndarray]) -> str:
    """Share of single observations that are told right, over the tasks: mean (lowest)."""
    shares = [np.mean(fitted.recognise(episodes[task].reshape(-1, 39)) == i) for i, task in enumerate(fitted.tasks)]
    return f"{np.mean(shares):.3f} ({min(shares):.2f})"


def starts_of_point_mass(seed: int) -> dict[str, np.ndarray]:
    """By task, first observations [100, 4]."""
    envs = {task: PointGoalEnv(task) for task in GOALS}
    seeds = {task: seed + i for i, task in enumerate(GOALS)}
    return {task: np.stack([env.reset(seed=None if i else seeds[task])[0] for i in range(100)]) for task, env in envs.items()}


def say(unsure: dict[str, str]) -> None:
    """What callback and wrapper say of such tasks."""
    print("  verdict:", " ".join(unsure.values()) or "they can be told apart.")


file = Path(sys.argv[1])
file.parent.mkdir(parents=True, exist_ok=True)
if not file.exists():
    np.savez_compressed(file, **gathered())
kept = dict(np.load(file))
random = np.random.default_rng(0)
for tasks in [*PAIRS, CW10]:
    print(", ".join(tasks) + ": share told right, mean over tasks (lowest)")
    test = {task: kept[f"{task}|scripted|test"] for task in tasks}
    resets = {task: kept[f"{task}|random|fit"][:, 0] for task in tasks}
    spread = np.concatenate([kept[f"{task}|scripted|fit"][:, [0, -1]].reshape(-1, 39) for task in tasks]).std(axis=0)
    fitted = TaskRecogniser.fit(resets, spread)
    print("  fitted on 100 first observations, held out:      ", f"{np.diag(told_as(resets, spread)).min():.2f} lowest")
    print("  tried on other goals, the first observation:     ", right(fitted, {task: test[task][:, :1] for task in tasks}))
    for step in (1, 5, 10):
        later = {task: test[task][:, step] for task in tasks}
        print(f"  tried on other goals, {step:2} steps later:            ", right(fitted, later))
    narrow = TaskRecogniser.fit(resets, np.concatenate(list(resets.values())).std(axis=0))
    step_later = {task: test[task][:, 1] for task in tasks}
    print("  scaled by first observations alone, 1 step later:", right(narrow, step_later))
    if set(tasks) <= set(WHOLE):
        visits = {task: kept[f"{task}|scripted|fit"].reshape(-1, 39) for task in tasks}
        fitted = TaskRecogniser.fit({task: rows[random.permutation(len(rows))[:100]] for task, rows in visits.items()}, spread)
        print("  fitted on 100 of whole episodes, tried on such:  ", right(fitted, test))
    say(doubts(resets, spread))
print("The point mass: " + ", ".join(GOALS))
say(doubts(starts_of_point_mass(0), np.ones(4)))
