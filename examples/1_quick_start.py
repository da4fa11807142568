# %% [markdown]
# # Quick start: two tasks, one after the other
#
# **What you will see:** a point learns to go east, then to go west. SAC as it is in SB3 keeps east and does not learn west in
# time; SAC whose replay buffer is emptied learns west and loses east. `NBSPSAC` does both. At the end you save it, load it and
# test it on both tasks.
#
# **Run time: about 1 minute on a free core.** (The seconds printed below are from a machine with much else to do.)
#
# Needs the extra `plots` ([installation](../docs/guide/install.md)): in a clone of the repository,
# `pip install -e ".[plots]"`. The file `1_quick_start.py` is this notebook as a script.

# %%
import os
import sys
from pathlib import Path

import gymnasium as gym
import stable_baselines3
from stable_baselines3 import SAC

import sb3_nbsp
from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation import SequenceEvalCallback, TaskEvaluator, plot_matrix, plot_sequence

print(f"sb3_nbsp {sb3_nbsp.__version__}, Stable-Baselines3 {stable_baselines3.__version__}")

# %% [markdown]
# The budget. With fewer steps than the default nothing is learned; the notebook still runs.

# %%
STEPS_PER_TASK = int(os.environ.get("NOTEBOOK_STEPS", 2000))
EPISODES = 10  # evaluation episodes per task
FOLDER = Path("runs", "quick_start")  # where pictures go
FOLDER.mkdir(parents=True, exist_ok=True)


def show(picture: Path) -> None:
    """A notebook shows the picture, a script says where it is."""
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(filename=picture, width=700))
    else:
        print(f"Picture: {picture}")


# %% [markdown]
# ## The tasks
#
# `PointGoal-v0` is an ordinary Gymnasium env that changes its task by itself after `steps_per_task` steps. The observation
# says which task it is (the last two numbers), not where the goal is.

# %%
env = gym.make("sb3_nbsp/PointGoal-v0", steps_per_task=STEPS_PER_TASK, cycles=1)
sequence = env.unwrapped.task_sequence
print("tasks:", ", ".join(sequence.segments), "- env steps in all:", sequence.total_steps)
print("observation:", env.observation_space.shape, "action:", env.action_space.shape)

# %% [markdown]
# ## The agents
#
# The settings are those of `hyperparams/nbspsac.yml`. `NBSPSAC` stands where you would write `SAC`. It has two baselines.
# *SAC, buffer emptied* is set back at the task switch as NBSPSAC is (replay buffer emptied, exploration begins anew), but it
# holds no neurons and rehearses nothing. *SAC, buffer kept* is SAC as it is in SB3. The callback evaluates each agent on
# *both* tasks while it learns. What words mean: [glossary](../docs/guide/glossary.md).
#
# One seed is an illustration. This is seed 1; with seed 0 no agent learns to go west on its first visit, in 2,000 steps
# ([the demo](../docs/results/demo/table.md) has three seeds and two visits).

# %%
SETTINGS = {
    "learning_rate": 1e-3,
    "batch_size": 64,
    "gamma": 0.95,
    "tau": 0.02,
    "learning_starts": 100,
    "policy_kwargs": {"net_arch": [64, 64]},
    "seed": 1,
}
NBSP = {"scoring_steps": min(1000, STEPS_PER_TASK)}
AGENTS = {
    "SAC, buffer emptied": (NBSPSAC, {"skill_fraction": 0, "memory_size": 0}),
    "SAC, buffer kept": (SAC, {}),
    "NBSPSAC": (NBSPSAC, NBSP),
}

models, results = {}, {}
for name, (algorithm, extra) in AGENTS.items():
    env = gym.make("sb3_nbsp/PointGoal-v0", steps_per_task=STEPS_PER_TASK, cycles=1)
    models[name] = algorithm("MlpPolicy", env, **SETTINGS, **extra)
    callback = SequenceEvalCallback(eval_freq=max(STEPS_PER_TASK // 4, 1), n_eval_episodes=EPISODES)
    models[name].learn(sequence.total_steps, callback=callback)
    results[name] = callback.results
    print(f"{name}: {callback.results.wall_time_s:.0f} s")

# %% [markdown]
# ## Before and after the switch
#
# Each panel is one task; it is shaded where that task is trained. Look at what happens to *east* (above) once *west* is
# trained.

# %%
plot_sequence([(name, [result]) for name, result in results.items()], FOLDER / "sequence.png")
show(FOLDER / "sequence.png")

# %% [markdown]
# The same in numbers: success on east right after east was learned, and after west was learned too.
#
# With its buffer emptied SAC has lost east completely. With its buffer kept, which still holds all of east, it keeps east, but
# has not learned west. NBSPSAC can do both. (Where lines lie on one another you see the last one only.)

# %%
print(f"{'success rate':<28}{'east, before':>14}{'east, after':>14}{'west, after':>14}")
for name, result in results.items():
    matrix = result.matrix()  # one row per segment, one column per task
    print(f"{name:<28}{matrix[0, 0]:>14.2f}{matrix[1, 0]:>14.2f}{matrix[1, 1]:>14.2f}")

# %% [markdown]
# NBSPSAC's performance matrix: a row is the agent after one more task, a column is what it is tested on.

# %%
plot_matrix([results["NBSPSAC"]], FOLDER / "matrix.png")
show(FOLDER / "matrix.png")

# %% [markdown]
# ## What NBSPSAC did at the switch
#
# It ran the policy on the task that had ended, scored every neuron, and holds a fifth of each network's neurons from then on.
# It also kept some of the task's observations, with what the policy did there; while the next task is learned, the policy is
# held to that (*cloning*). *Silent* neurons put out 0 on every scored step (the field calls such neurons dormant); none of
# them is chosen. In our experiments masks alone forgot, and the cloning kept the old task
# ([docs/evidence.md](../docs/evidence.md)). Notebook 2 looks closer.

# %%
for skill in models["NBSPSAC"].skill_neurons.values():
    print(skill.table(), end="\n\n")
print(f"{models['NBSPSAC'].neuron_masks.free_share():.0%} of the neurons are held by no task")

# %% [markdown]
# ## Save, load, test
#
# Masks and memory are in the file. `predict` and everything else is as in SB3. `TaskEvaluator` plays each task by itself.

# %%
models["NBSPSAC"].save(FOLDER / "point")
loaded = NBSPSAC.load(FOLDER / "point", env=gym.make("sb3_nbsp/PointGoal-v0", steps_per_task=STEPS_PER_TASK, cycles=1))
print("learned tasks of the loaded model:", ", ".join(loaded.learned_tasks))
evaluator = TaskEvaluator(loaded.get_env(), sequence, n_eval_episodes=EPISODES)
success, _ = evaluator.evaluate(loaded)
evaluator.close()
for task, rate in success.items():
    print(f"success on {task}: {rate:.2f}")
