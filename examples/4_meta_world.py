# %% [markdown]
# # Meta-World, from the command line
#
# **What you will see:** a robot arm learns to press the button of a coffee machine, then to close a window. SAC whose replay
# buffer is emptied between the two then presses the button in half of the episodes only. `NBSPSAC` with task gates, which
# keeps no old data either, presses it as before. At the end you watch it do both.
#
# `sb3-nbsp train` does the training and `sb3-nbsp report` the tables; the notebook only calls them. What words mean:
# [glossary](../docs/guide/glossary.md).
#
# **Run time: about 8 minutes on two free cores (15 minutes of computing, in two processes).** An action is repeated for
# four simulator steps, so that 12,000 decisions per task are enough.
#
# Needs the extras `metaworld` and `zoo` ([installation](../docs/guide/install.md)): in a clone of the repository,
# `pip install -e ".[metaworld,zoo]"`. The file `4_meta_world.py` is this notebook as a script.

# %%
import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np

import sb3_nbsp
from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation import SequenceResults, plot_sequence, results_table

STEPS_PER_TASK = int(os.environ.get("NOTEBOOK_STEPS", 12_000))  # decisions
SEED = 0
FOLDER = Path("runs", "meta_world")
ENV = "sb3_nbsp/CoffeeButtonWindowClose-v0"
ENV_KWARGS = {"steps_per_task": STEPS_PER_TASK, "cycles": 1, "action_repeat": 4, "horizon": 50, "task_id": True}

print(f"sb3_nbsp {sb3_nbsp.__version__}")


def start(log: Path, *arguments: str) -> subprocess.Popen:
    """Start `sb3-nbsp ...` in the background. What it prints goes to a file, progress and warnings to one beside it."""
    print("sb3-nbsp", *arguments)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "sb3_nbsp.cli", *arguments]
    files = {"stdout": log.open("w"), "stderr": log.with_suffix(".err").open("w")}
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **files)


def finish(process: subprocess.Popen, log: Path) -> str:
    """Wait for it, show its warnings, and return what it printed."""
    code = process.wait()
    print(log.with_suffix(".err").read_text(), file=sys.stderr, end="")
    assert code == 0
    return log.read_text()


def show(picture: Path) -> None:
    """A notebook shows the picture, a script says where it is."""
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(filename=picture, width=700))
    else:
        print(f"Picture: {picture}")


# %% [markdown]
# ## Train
#
# The settings are those of `hyperparams/nbspsac.yml`; `-params` changes some:
#
# - `skill_fraction:0 memory_size:0`: SAC. Nothing is held and nothing is kept; the buffer is emptied at the task switch.
# - `task_gates:True memory_size:0`: each task gets neurons of its own, which put out 0 on all other tasks. Nothing else is
#   kept. The agent is told the task by the last two numbers of its observation (`task_id:True`).
#
# Both trainings run at the same time, one thread each. What they print goes to a file; what they warn of is shown here.

# %%
METHODS = {
    "SAC, buffer emptied": "skill_fraction:0 memory_size:0",
    "NBSPSAC, task gates": "task_gates:True memory_size:0",
}
evaluation = max(STEPS_PER_TASK // 8, 30)


def folder_of(name: str) -> Path:
    """Where a method's run goes."""
    return FOLDER / name.replace(" ", "_").replace(",", "")


def training(name: str, params: str) -> subprocess.Popen:
    """Start one training."""
    folder = folder_of(name)
    arguments = ["train", "--algo", "nbspsac", "--env", ENV, "--seed", str(SEED), "-f", str(folder), "--device", "cpu"]
    arguments += ["--env-kwargs", *(f"{key}:{value}" for key, value in ENV_KWARGS.items())]
    arguments += ["--eval-freq", str(evaluation), "--eval-episodes", "10" if STEPS_PER_TASK >= 1000 else "1", "--verbose", "0"]
    arguments += ["-params", *params.split(), f"scoring_steps:{min(2000, STEPS_PER_TASK)}"]
    return start(folder / "train.log", *arguments)


running = {name: training(name, params) for name, params in METHODS.items()}
for name, process in running.items():
    finish(process, folder_of(name) / "train.log")

# %% [markdown]
# ## What became of the button
#
# Each run's folder holds `results.json`. In the lower table, look at *coffee-button* in the two rows of each method: right
# after it was trained, and after the window.

# %%
results = {}
for name in METHODS:
    (path,) = folder_of(name).rglob("results.json")
    results[name] = SequenceResults.read(path)
labelled = [(name, [result]) for name, result in results.items()]
print(results_table(labelled))
plot_sequence(labelled, FOLDER / "sequence.png")
show(FOLDER / "sequence.png")

# %% [markdown]
# The window's fall at step 22,500 is no forgetting: it is the task being trained, which gates do not hold yet, and SAC's
# policy still changes there from one update to the next.
#
# One seed is an illustration, not evidence: five seeds and thirteen methods stand in
# [the results](../docs/results/metaworld/README.md), and what they mean in [evidence](../docs/evidence.md). `sb3-nbsp report`
# writes the same tables for runs of your own, with intervals where there are several seeds. (The hours of training in it are
# those of a machine that was busy with other work.)

# %%
report = start(FOLDER / "report.log", "report", str(FOLDER), "-o", str(FOLDER / "report"))
print(finish(report, FOLDER / "report.log"))

# %% [markdown]
# ## Look at the agent
#
# The saved agent plays both tasks, one after another: the button first, then the window. Without a screen MuJoCo renders with
# `MUJOCO_GL=egl` or `osmesa`; where neither is there, the pictures are left out. (`sb3-nbsp enjoy` plays in a window.)

# %%
(saved,) = folder_of("NBSPSAC, task gates").rglob("sb3_nbsp-CoffeeButtonWindowClose-v0.zip")
model = NBSPSAC.load(saved, device="cpu")
print(model.learned_tasks, f"{model.gates.free_share():.0%} of the neurons are free for further tasks")


def episode(env: gym.Env, every: int = 4) -> list[np.ndarray]:
    """One episode of the agent, every fourth picture."""
    observation, _ = env.reset(seed=SEED)
    frames, over = [], False
    while not over:
        action, _ = model.predict(observation, deterministic=True)
        observation, _, terminated, truncated, _ = env.step(action)
        over = terminated or truncated
        frames.append(env.render())
    return frames[::every]


def film(path: Path) -> None:
    """Both tasks, one after another, as a GIF."""
    from PIL import Image

    env = gym.make(ENV, render_mode="rgb_array", switch_on="episode", **ENV_KWARGS)
    frames = [Image.fromarray(frame).resize((220, 220)).quantize(32) for _ in range(2) for frame in episode(env)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=160, loop=0)
    env.close()


if os.environ.get("MUJOCO_GL") in ("egl", "osmesa", "glfw"):
    film(FOLDER / "agent.gif")
    show(FOLDER / "agent.gif")
else:
    print("No pictures: set MUJOCO_GL to egl, osmesa or glfw.")
