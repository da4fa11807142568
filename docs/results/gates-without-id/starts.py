"""
How often is the task told right, over seeds? For each of five seeds the recogniser is fitted on 100 first observations of each
task (that seed's 50 goals) and tried on those of another seed's 50 goals. Run from the repository's root, with the file that
study.py made (how much entries of observations vary is taken from it):

    python docs/results/gates-without-id/starts.py build/observations.npz > docs/results/gates-without-id/starts.txt
"""

import sys

import numpy as np

from sb3_nbsp.task_ids import TaskRecogniser, doubts
from sb3_nbsp.tasks.metaworld import MetaWorldEnv

PAIRS = [("coffee-button", "window-close"), ("window-open", "window-close"), ("drawer-open", "drawer-close")]
SEEDS, APART = range(5), 1_000


def starts(task: str, seed: int, n: int) -> np.ndarray:
    """First observations [n, 39]."""
    env = MetaWorldEnv(task, action_repeat=4, horizon=50)
    found = [env.reset(seed=None if episode else seed)[0] for episode in range(n)]
    env.close()
    return np.asarray(found, np.float32)


tasks = dict.fromkeys(task for pair in PAIRS for task in pair)
kept = {(task, seed): starts(task, seed, 100) for task in tasks for seed in SEEDS}
new = {(task, seed): starts(task, seed + APART, 50) for task in tasks for seed in SEEDS}
stored = dict(np.load(sys.argv[1]))
for pair in PAIRS:
    spread = np.concatenate([stored[f"{task}|scripted|fit"][:, [0, -1]].reshape(-1, 39) for task in pair]).std(axis=0)
    right, n, unsure = 0, 0, 0
    for seed in SEEDS:
        seen = {task: kept[task, seed] for task in pair}
        fitted, unsure = TaskRecogniser.fit(seen, spread), unsure + bool(doubts(seen, spread))
        for index, task in enumerate(pair):
            right += int((fitted.recognise(new[task, seed]) == index).sum())
            n += len(new[task, seed])
    print(f"{', '.join(pair)}: {right} of {n} episodes told right; refused with {unsure} of {len(SEEDS)} seeds")
