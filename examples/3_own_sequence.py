# %% [markdown]
# # Your own task sequence
#
# A task is a name and a function that makes a Gymnasium env. All tasks of a sequence must have the same observation and action
# spaces. Here: to swing up a pendulum, then the same with a motor that is wired the other way round.
#
# **Run time: about 2 minutes (measured: 110 s on a busy 2-core Intel Xeon, one thread; 48 s of it computing).**
#
# Needs `pip install "sb3-nbsp[plots]"`. The file `3_own_sequence.py` is this notebook as a script.

# %%
import os
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import stable_baselines3

import sb3_nbsp
from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation import SequenceEvalCallback, plot_sequence
from sb3_nbsp.tasks import Task, TaskSequence, TaskSequenceEnv, gymnasium_sequence

print(f"sb3_nbsp {sb3_nbsp.__version__}, Stable-Baselines3 {stable_baselines3.__version__}")

# %% [markdown]
# The budget. With fewer steps than the default the pendulum does not get up.

# %%
STEPS_PER_TASK = int(os.environ.get("NOTEBOOK_STEPS", 4000))
EPISODES = 5 if STEPS_PER_TASK >= 1000 else 1  # evaluation episodes per task
FOLDER = Path("runs", "own_sequence")
FOLDER.mkdir(parents=True, exist_ok=True)


def show(picture: Path) -> None:
    """A notebook shows the picture, a script says where it is."""
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(filename=picture, width=700))
    else:
        print(f"Picture: {picture}")


# %% [markdown]
# ## The short way: two registered envs
#
# `gymnasium_sequence` takes the ids of registered envs. The ids are the tasks' names. The same from the command line:
# `sb3-nbsp train --algo nbspsac --env sb3_nbsp/Gymnasium-v0 --env-kwargs "tasks:['Pendulum-v1','PendulumHeavy-v0']"`, where
# both ids must be registered.

# %%
gym.register("PendulumHeavy-v0", "gymnasium.envs.classic_control:PendulumEnv", kwargs={"g": 15.0}, max_episode_steps=200)
short = gymnasium_sequence(("Pendulum-v1", "PendulumHeavy-v0"), steps_per_task=STEPS_PER_TASK, cycles=2)
print("segments:", ", ".join(short.segments))

# %% [markdown]
# ## The long way: tasks of your own
#
# `Task(name, make)`: `make(render_mode)` returns a new env with its time limit. Functions at the top level of a module can be
# sent to subprocesses, so do not use a lambda.
#
# An env may tell success in its `info`; then results are success rates. Gymnasium's pendulum tells none. We add it in a
# wrapper: the pendulum is up (within 0.3 rad) and slow. Wrappers belong around the single tasks, never around the whole
# sequence.


# %%
class TellSuccess(gym.Wrapper):
    """A step is a success if the pendulum stands."""

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        cosine, _, velocity = observation
        return observation, reward, terminated, truncated, {**info, "success": cosine > np.cos(0.3) and abs(velocity) < 0.5}


class Reversed(gym.ActionWrapper):
    """The motor turns the other way."""

    def action(self, action):
        return -action


def make_normal(render_mode: str | None) -> gym.Env:
    """Gymnasium's pendulum."""
    return TellSuccess(gym.make("Pendulum-v1", render_mode=render_mode))


def make_reversed(render_mode: str | None) -> gym.Env:
    """The same with a reversed motor."""
    return Reversed(make_normal(render_mode))


# %% [markdown]
# The two tasks need opposite actions in the same state, so the observation must tell them apart: `task_id=True` appends the
# task's number as a one-hot vector. Budgets may differ: `steps_per_task=(3000, 5000)`. Spaces that do not agree are reported
# here and not at the first switch.

# %%
sequence = TaskSequence((Task("normal", make_normal), Task("reversed", make_reversed)), STEPS_PER_TASK, cycles=1, task_id=True)
env = TaskSequenceEnv(sequence)
print("observation:", env.observation_space.shape, "- three of the pendulum, two that tell the task")
print("switches at env steps:", sequence.switch_steps)

# %% [markdown]
# ## Learn it
#
# With the settings of the embedded sequence (`hyperparams/nbspsac.yml`), not tuned for the pendulum; only gamma is SB3's
# default. *SAC, buffer emptied* is set back at the task switch as NBSPSAC is, but holds no neurons and rehearses nothing.
# What words mean: [glossary](../docs/guide/glossary.md).

# %%
SETTINGS = {
    "learning_rate": 1e-3,
    "batch_size": 64,
    "tau": 0.02,
    "learning_starts": 100,
    "policy_kwargs": {"net_arch": [64, 64]},
    "seed": 0,
}
METHODS = {
    "SAC, buffer emptied": {"skill_fraction": 0, "memory_size": 0},
    "NBSPSAC": {"scoring_steps": min(1000, STEPS_PER_TASK)},
}
results = {}
for name, extra in METHODS.items():
    callback = SequenceEvalCallback(max(STEPS_PER_TASK // 4, 1), EPISODES)
    model = NBSPSAC("MlpPolicy", TaskSequenceEnv(sequence), **SETTINGS, **extra)
    model.learn(sequence.total_steps, callback=callback)
    results[name] = callback.results
    print(f"{name}: {callback.results.wall_time_s:.0f} s")

# %%
plot_sequence([(name, [result]) for name, result in results.items()], FOLDER / "sequence.png")
show(FOLDER / "sequence.png")

# %% [markdown]
# Both learn both tasks. SAC, whose buffer was emptied, forgets the first; NBSPSAC keeps it, although its settings were chosen
# on other tasks. One seed is an illustration, not evidence.
#
# An episode counts as solved if any of its steps is a success. The mean return is recorded beside it:

# %%
for metric in ("success", "return"):
    print(f"{'mean ' + metric:<28}{'normal, before':>16}{'normal, after':>16}{'reversed, after':>16}")
    for name, result in results.items():
        matrix = result.matrix(metric)
        print(f"{name:<28}{matrix[0, 0]:>16.2f}{matrix[1, 0]:>16.2f}{matrix[1, 1]:>16.2f}")

# %% [markdown]
# ## Without a sequence
#
# Where you switch tasks yourself, say so: `model.consolidate(env, task="normal")` scores the neurons on a task and holds
# them, then `model.set_env(next_env)` and `model.learn(..., reset_num_timesteps=False)`.
