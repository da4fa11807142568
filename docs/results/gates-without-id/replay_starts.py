"""
Give an agent that was trained without the callback FirstObservations what it would have kept: it plays 100 episodes of each
task, with the true id, on the goals of its training's seed. Run from the repository's root:

    python docs/results/gates-without-id/replay_starts.py AGENT.zip RUN_FOLDER

RUN_FOLDER is then what judge.py takes.
"""

import sys
from pathlib import Path

import numpy as np
import torch as th

from sb3_nbsp import NBSPSAC
from sb3_nbsp.task_ids import FirstObservations
from sb3_nbsp.tasks import metaworld_sequence

th.set_num_threads(1)
agent = NBSPSAC.load(sys.argv[1], device="cpu")
folder = Path(sys.argv[2])
sequence = metaworld_sequence(agent.learned_tasks, task_id=True, action_repeat=4, horizon=50)
callback = FirstObservations()
callback.model, callback._sequence = agent, sequence
callback._init_callback()
for index, task in enumerate(agent.learned_tasks):
    env = sequence.make_task_env(task)
    seed = int(np.random.SeedSequence([agent.seed, index]).generate_state(1)[0])  # as TaskSequenceEnv seeds its tasks
    for episode in range(100):
        observation, _ = env.reset(seed=None if episode else seed)
        callback._keep(observation)
        callback._sum(observation)
        for _ in range(50):
            observation, *_ = env.step(agent.predict(observation)[0])
        callback._sum(observation)
    env.close()
    callback.state["ended"].append(task)
(folder / "run").mkdir(parents=True)
agent.save(folder / "run" / "sb3_nbsp-CoffeeButtonWindowClose-v0.zip")
(folder / "manifest.json").write_text("{}")
(folder / "done.json").write_text("{}")
