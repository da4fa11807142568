# %% [markdown]
# # The neurons: look at them, score them, silence them
#
# NBSP says that some neurons carry a task's skill. **What you will see:** what the neurons of a trained agent do, how they are
# scored, and what the agent can still do when some of them are silenced: those with the highest scores, those with the lowest,
# and random ones. The last picture shows all three. What words mean: [glossary](../docs/guide/glossary.md).
#
# **Run time: under 1 minute on a free core.**
#
# Needs the extra `plots` ([installation](../docs/guide/install.md)): in a clone of the repository,
# `pip install -e ".[plots]"`. The file `2_neurons.py` is this notebook as a script.

# %%
import os
import sys
from pathlib import Path

import gymnasium as gym
import stable_baselines3
import torch as th
from matplotlib.figure import Figure

import sb3_nbsp
from sb3_nbsp import NBSPSAC
from sb3_nbsp.evaluation import TaskEvaluator
from sb3_nbsp.neurons import ActivationRecorder, find_networks
from sb3_nbsp.neurons.scores import ScoringData, active_share, corrected_score, published_score
from sb3_nbsp.neurons.skill_neurons import select_top
from sb3_nbsp.probe import silenced

print(f"sb3_nbsp {sb3_nbsp.__version__}, Stable-Baselines3 {stable_baselines3.__version__}")

# %% [markdown]
# The budget. With fewer steps than the default the agent learns nothing, and then there is nothing to lose.

# %%
STEPS_PER_TASK = int(os.environ.get("NOTEBOOK_STEPS", 2000))
SCORED_STEPS = min(1000, 2 * STEPS_PER_TASK)
EPISODES = max(1, min(10, STEPS_PER_TASK // 100))  # evaluation episodes
DRAWS = 3 if STEPS_PER_TASK >= 1000 else 1  # random sets of neurons for each size
FOLDER = Path("runs", "neurons")
FOLDER.mkdir(parents=True, exist_ok=True)


def show(figure: Figure, name: str) -> None:
    """A notebook shows the picture, a script says where it is."""
    figure.savefig(FOLDER / name, dpi=110)
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        display(Image(filename=FOLDER / name, width=700))
    else:
        print(f"Picture: {FOLDER / name}")


# %% [markdown]
# ## An agent that can do one thing
#
# NBSPSAC learns to go east. Settings as in `hyperparams/nbspsac.yml`.

# %%
env = gym.make("sb3_nbsp/PointGoal-v0", steps_per_task=STEPS_PER_TASK, cycles=1)
sequence = env.unwrapped.task_sequence
model = NBSPSAC(
    "MlpPolicy",
    env,
    learning_rate=1e-3,
    batch_size=64,
    gamma=0.95,
    tau=0.02,
    learning_starts=100,
    scoring_steps=SCORED_STEPS,
    policy_kwargs={"net_arch": [64, 64]},
    seed=0,
)
model.learn(STEPS_PER_TASK)
evaluator = TaskEvaluator(model.get_env(), sequence, n_eval_episodes=EPISODES)
success, mean_return = evaluator.evaluate(model)
print(f"success on east: {success['east']:.2f}, mean return: {mean_return['east']:.1f}")

# %% [markdown]
# ## What the neurons do
#
# `find_networks` knows the hidden layers of any SB3 policy, `ActivationRecorder` writes down what they put out while we run
# the policy. We use the policy with its noise: only then are there both good and bad steps to compare.

# %%
th.manual_seed(0)
actor = next(network for network in find_networks(model.policy) if network.part == "actor")
east = sequence.make_task_env("east")
reached = []
with ActivationRecorder(actor.layers) as recorder:
    observation, _ = east.reset(seed=1)
    for _ in range(SCORED_STEPS):
        action, _ = model.predict(observation)
        observation, _, _, truncated, info = east.step(action)
        reached.append(info["success"])
        if truncated:
            observation, _ = east.reset()
activations = recorder.activations()
for name, values in activations.items():
    silent = active_share(values) == 0
    print(f"{name}: {tuple(values.shape)} steps x neurons, {int(silent.sum())} neurons silent on every step")

# %% [markdown]
# Ten active neurons over four episodes of 25 steps: where the point stands at the goal (grey) many of them change.

# %%
first = actor.layers[0].name
values = activations[first][:100]
order = activations[first].std(dim=0).argsort(descending=True)[:10]
figure = Figure(figsize=(8, 3.2), layout="constrained")
axes = figure.subplots()
spread = values[:, order] / activations[first][:, order].max(dim=0).values.clamp(min=1e-6)
for row in range(len(order)):
    axes.plot(spread[:, row].numpy() * 0.8 + row, color="#0072b2", linewidth=1)
axes.fill_between(range(len(values)), -0.2, len(order), where=[q > 0 for q in reached[:100]], color="#dddddd", step="mid")
axes.set(xlabel="env step", ylabel="neuron", yticks=range(len(order)), yticklabels=[str(n) for n in order.tolist()])
axes.set_title(f"The ten neurons of {first} that vary most; grey: the goal is reached", loc="left", fontsize=10)
show(figure, "activations.png")

# %% [markdown]
# ## The scores
#
# A neuron's score is how well "above its own mean" agrees with "this step is good", 0.5 (not at all) to 1. The *published*
# score counts agreeing steps; the *corrected* one counts good and bad steps alike. A *silent* neuron (0 on every step; the
# field calls such neurons dormant) is never above its mean: the published score gives it the share of good (or bad) steps,
# whichever is larger, the corrected one 0.5.

# %%
goal = th.tensor(reached)
by_rule = {}
for title, rule in {"published": published_score, "corrected": corrected_score}.items():
    by_rule[title] = {name: rule(ScoringData(values, goal)) for name, values in activations.items()}
silent = th.cat([active_share(values) == 0 for values in activations.values()])

figure = Figure(figsize=(8, 3), layout="constrained")
for axes, (title, scores) in zip(figure.subplots(1, 2, sharey=True), by_rule.items(), strict=True):
    every = th.cat(list(scores.values()))
    threshold = every.sort(descending=True).values[round(0.2 * len(every)) - 1]
    bins = [0.5 + 0.025 * i for i in range(21)]
    colours = ["#0072b2", "#bbbbbb"]
    axes.hist([every[~silent].tolist(), every[silent].tolist()], bins, stacked=True, color=colours, label=["active", "silent"])
    axes.axvline(float(threshold), color="#d55e00", linestyle="--", label="best fifth")
    axes.set(title=f"{title} score", xlabel="score")
    axes.spines[["top", "right"]].set_visible(False)
figure.axes[0].set_ylabel("neurons of the actor")
figure.axes[1].legend(frameon=False)
show(figure, "scores.png")
print(f"{float(goal.mean()):.0%} of the steps are good")

# %% [markdown]
# How many of the chosen fifth are silent? A silent neuron does nothing, whatever its score is. The more steps are good, the
# more silent neurons the published score chooses.

# %%
chosen = {title: select_top(scores, fraction=0.2) for title, scores in by_rule.items()}
for title, neurons in chosen.items():
    mask = th.cat(list(neurons.values()))
    print(f"{title}: {int(mask.sum())} of {len(mask)} chosen, {int((mask & silent).sum())} of them silent")

# %% [markdown]
# ## Silence them
#
# Inside `silenced(...)` the outputs of the given neurons are 0. We silence the best fifth by either score, as many with the
# lowest scores, all, and as many random ones: of all neurons, and of the *active* ones. The last is the fair comparison, since
# to silence a silent neuron changes nothing. Random ones: mean over three draws.
#
# What came out here (seed 0): without the best fifth the agent no longer gets east, without a random fifth it does, without
# a random fifth of the active ones it mostly does. One agent is an illustration: [the probe](../docs/results/probe/README.md)
# asked five, by the published score, and found no difference between the chosen and random active neurons.


# %%
def pick(order: th.Tensor, count: int) -> dict[str, th.Tensor]:
    """The first neurons of an order over all layers, as one mask per layer."""
    mask = th.zeros(len(order), dtype=th.bool)
    mask[order[:count]] = True
    return dict(zip(activations, mask.split([len(s) for s in by_rule["published"].values()]), strict=True))


def perform(neurons: dict[str, th.Tensor]) -> tuple[float, float]:
    """Success and mean return on east without these neurons."""
    with silenced(actor.layers, neurons):
        success, mean_return = evaluator.evaluate(model)
    return success["east"], mean_return["east"]


def random_order(active_first: bool) -> th.Tensor:
    """All neurons in a random order; if asked for, the silent ones last."""
    order = th.randperm(len(silent))
    return order[silent[order].int().argsort(stable=True)] if active_first else order


n_neurons = len(silent)
fifth = round(0.2 * n_neurons)
by_score = th.cat(list(by_rule["published"].values())).argsort(descending=True, stable=True)
lesions = {
    "none": pick(by_score, 0),
    "best fifth, published": chosen["published"],
    "best fifth, corrected": chosen["corrected"],
    "lowest fifth, published": pick(by_score.flip(0), fifth),
    "all": pick(by_score, n_neurons),
}
found = {name: perform(neurons) for name, neurons in lesions.items()}
orders = {
    "random": [random_order(active_first=False) for _ in range(DRAWS)],
    "random, active first": [random_order(active_first=True) for _ in range(DRAWS)],
}
for name, some in orders.items():
    found[f"{name}, a fifth"] = th.tensor([perform(pick(order, fifth)) for order in some]).mean(dim=0).tolist()
rows = [f"{name:<32}{rate:>10.2f}{value:>10.1f}" for name, (rate, value) in found.items()]
print("\n".join([f"{'silenced':<32}{'success':>10}{'return':>10}", *rows]))

# %% [markdown]
# ## When does the skill go?
#
# One fifth is one point on a curve. Here we silence more and more neurons: the highest scores first, the lowest first,
# random ones, or random ones with the active first.
#
# Here the order matters: with the highest scores first the skill is gone at a fifth, while the lowest-scored half, much of it
# silent, can go without loss. Random ones lie between, those with the active first close to the highest scores.

# %%
counts = [round(share / 10 * n_neurons) for share in range(0, 11)]
curves = {
    "highest score first": ([perform(pick(by_score, count)) for count in counts], "#d55e00"),
    "lowest score first": ([perform(pick(by_score.flip(0), count)) for count in counts], "#56b4e9"),
}
for (name, some), colour in zip(orders.items(), ["#0072b2", "#009e73"], strict=True):
    drawn = th.tensor([[perform(pick(order, count)) for count in counts] for order in some])
    curves[name] = (drawn.mean(dim=0).tolist(), colour)

figure = Figure(figsize=(8, 3.2), layout="constrained")
for column, (axes, label) in enumerate(zip(figure.subplots(1, 2), ["success rate", "mean return"], strict=True)):
    for name, (points, colour) in curves.items():
        axes.plot([count / n_neurons for count in counts], [point[column] for point in points], "o-", color=colour, label=name)
    axes.set(xlabel="share of the actor's neurons silenced", ylabel=f"{label} on east")
    axes.spines[["top", "right"]].set_visible(False)
figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False, fontsize=8)
show(figure, "silencing.png")

# %% [markdown]
# ## What this means
#
# Silencing asks what the agent *needs now*. A score asks what *goes along with* good steps. The two are not the same question,
# and one small agent with one seed settles neither. `sb3-nbsp probe RUN` asks it for a whole training run, with
# random draws beside.

# %%
evaluator.close()
