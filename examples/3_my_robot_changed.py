# %% [markdown]
# # My robot changed
#
# You have trained a SAC agent with Stable-Baselines3. Then the robot changes: another load, a worn motor, a new gripper. The
# agent has to go on learning on the changed robot, and one day the old robot comes back.
#
# **What you will see:** an agent that swings up a pendulum fails when gravity is half as strong again. SAC that goes on from
# its file learns the heavy pendulum and loses the light one. `NBSPSAC`, which takes over the same agent, learns the heavy one
# and keeps the light one. SAC with all its old data stands beside them. What words mean:
# [glossary](../docs/guide/glossary.md).
#
# **Run time: about 3 minutes on a free core.**
#
# Needs the extra `plots` ([installation](../docs/guide/install.md)): in a clone of the repository,
# `pip install -e ".[plots]"`. The file `3_my_robot_changed.py` is this notebook as a script.

# %%
import os
import sys
from pathlib import Path

import gymnasium as gym
import stable_baselines3
from matplotlib.figure import Figure
from stable_baselines3 import SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import sb3_nbsp
from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation.method_styles import STYLES
from sb3_nbsp.tasks import Task, TaskSequence

print(f"sb3_nbsp {sb3_nbsp.__version__}, Stable-Baselines3 {stable_baselines3.__version__}")

# %% [markdown]
# The budget. With fewer steps than the default the pendulum does not get up.

# %%
STEPS = int(os.environ.get("NOTEBOOK_STEPS", 6000))  # on the light pendulum
MORE_STEPS = STEPS * 4 // 3  # on the heavy one, which is harder
EPISODES = 10 if STEPS >= 1000 else 1  # of each test
FOLDER = Path("runs", "my_robot_changed")
FOLDER.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The robot, before and after
#
# A task is a name and a function that makes a Gymnasium env. All tasks must have the same observation and action spaces.
#
# `task_id=True` appends two numbers to the observation: which robot this is. It matters. The two robots need different actions
# in the same state, so an agent that cannot tell them apart cannot serve both, whatever the method. If your robot may change,
# train it with such numbers from the start (`task_id=8` leaves room for eight robots).


# %%
def light(render_mode: str | None = None) -> gym.Env:
    """Gymnasium's pendulum."""
    return gym.make("Pendulum-v1", g=10.0, render_mode=render_mode)


def heavy(render_mode: str | None = None) -> gym.Env:
    """The same with stronger gravity: the motor is now too weak to get up in one go."""
    return gym.make("Pendulum-v1", g=15.0, render_mode=render_mode)


sequence = TaskSequence((Task("light", light), Task("heavy", heavy)), STEPS, task_id=True)


def robot(task: str) -> gym.Env:
    """One of the two."""
    return Monitor(sequence.make_task_env(task))


def mean_return(model: SAC, task: str) -> float:
    """Of some episodes: about -150 where the pendulum gets up and stays, -1,000 and less where it does not."""
    env = robot(task)
    env.reset(seed=1000)
    return float(evaluate_policy(model, env, EPISODES)[0])


def test(name: str, model: SAC) -> None:
    """Play both robots, and print it."""
    results[name] = {task: mean_return(model, task) for task in ("light", "heavy")}
    print(f"{name:<28} light: {results[name]['light']:7.0f}   heavy: {results[name]['heavy']:7.0f}")


results: dict[str, dict[str, float]] = {}

# %% [markdown]
# ## Your agent: plain SAC
#
# Nothing of this package is in it. We save it and its replay buffer.

# %%
settings = {"learning_rate": 1e-3, "batch_size": 64, "policy_kwargs": {"net_arch": [64, 64]}, "seed": 0}
model = SAC("MlpPolicy", robot("light"), **settings)
model.learn(STEPS)
model.save(FOLDER / "light")
model.save_replay_buffer(FOLDER / "light_buffer")
test("before the change", model)

# %% [markdown]
# It swings up the light pendulum, and fails on the heavy one. It has to go on learning. Three ways:
#
# ## 1. SB3: load the file, go on
#
# The file holds no replay buffer: the old data is gone.

# %%
model = SAC.load(FOLDER / "light", env=robot("heavy"))
model.learn(MORE_STEPS, reset_num_timesteps=False)
test("SAC, buffer emptied", model)

# %% [markdown]
# ## 2. SB3: load the file and the buffer, go on
#
# Old and new transitions are mixed, all with the same chance.

# %%
model = SAC.load(FOLDER / "light", env=robot("heavy"))
model.load_replay_buffer(FOLDER / "light_buffer")
model.learn(MORE_STEPS, reset_num_timesteps=False)
test("SAC, buffer kept", model)

# %% [markdown]
# ## 3. NBSPSAC: take the agent over, end the old task, go on
#
# `from_sb3` takes over networks, optimizers and counters. `consolidate` ends the task *light*: the agent plays it for some
# steps, its neurons are scored and held, and some observations are kept with what the policy did there. The rest of the
# buffer is emptied, and exploration begins anew.

# %%
model = SAC.load(FOLDER / "light", env=robot("light"))
model.load_replay_buffer(FOLDER / "light_buffer")
model = NBSPSAC.from_sb3(model, scoring_steps=min(1000, STEPS))
model.consolidate(robot("light"), task="light")
model.set_env(robot("heavy"))
model.learn(MORE_STEPS, reset_num_timesteps=False)
test("NBSPSAC", model)

# %% [markdown]
# The next change is the same three lines again: `consolidate`, `set_env`, `learn`.
#
# ## What was shown

# %%
figure = Figure(figsize=(8, 2.6), layout="constrained")
for axes, task in zip(figure.subplots(1, 2, sharey=True), ("light", "heavy"), strict=True):
    names = list(results)[::-1]
    colours = [STYLES[name].colour if name in STYLES else "#cccccc" for name in names]
    axes.barh(names, [results[name][task] for name in names], color=colours)
    axes.set_title(f"on the {task} pendulum", loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel("mean return (short bars are good)")
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig(FOLDER / "returns.png", dpi=110)
if "ipykernel" in sys.modules:
    from IPython.display import Image, display

    display(Image(filename=FOLDER / "returns.png", width=700))
else:
    print(f"Picture: {FOLDER / 'returns.png'}")

# %% [markdown]
# SAC that went on from its file has learned the heavy pendulum and lost the light one. SAC with its old buffer has kept the
# light one and not learned the heavy one: for three quarters of the time its buffer held more old transitions than new ones.
# NBSPSAC can do both.
#
# One seed is an illustration, not evidence: [evidence](../docs/evidence.md) has ten. With a whole sequence of changes, a
# `TaskSequenceEnv` does the switching and `SequenceEvalCallback` the testing: [task sequences](../docs/guide/tasks.md).
