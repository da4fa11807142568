# %% [markdown]
# # Masks and memory as building blocks
#
# The parts of NBSP work with any SB3 algorithm. Here we put them into plain TD3, for which this library has no class: score
# the neurons, hold the best with masks, keep a memory of the old task. **What you will see:** which part keeps the old task.
# It is the memory, not the masks. What words mean: [glossary](../docs/guide/glossary.md).
#
# **Run time: about 1 minute on a free core.**
#
# Needs the extra `plots` ([installation](../docs/guide/install.md)): in a clone of the repository,
# `pip install -e ".[plots]"`. The file `6_building_blocks.py` is this notebook as a script.

# %%
import os
import sys
from pathlib import Path

import numpy as np
import stable_baselines3
import torch as th
from matplotlib.figure import Figure
from stable_baselines3 import TD3
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise

import sb3_nbsp
from sb3_nbsp.neurons import ActivationRecorder, find_networks
from sb3_nbsp.neurons.scores import ScoringData, corrected_score
from sb3_nbsp.neurons.skill_neurons import select_top
from sb3_nbsp.protection import MaskedOptimizer, NeuronMasks
from sb3_nbsp.rehearsal import MixedReplayBuffer
from sb3_nbsp.tasks import point_goal_sequence

print(f"sb3_nbsp {sb3_nbsp.__version__}, Stable-Baselines3 {stable_baselines3.__version__}")

# %% [markdown]
# The budget. With fewer steps than the default nothing is learned, and nothing can be forgotten.

# %%
STEPS_PER_TASK = int(os.environ.get("NOTEBOOK_STEPS", 2000))
WARMUP = STEPS_PER_TASK // 2  # random steps on west before learning goes on
EPISODES = 10  # evaluation episodes per task
FOLDER = Path("runs", "building_blocks")
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
# ## Plain TD3 learns to go east
#
# Only the replay buffer is ours: `MixedReplayBuffer` is SB3's until it has something to remember. Settings as in
# `hyperparams/nbspsac.yml` as far as TD3 has them; exploration noise 0.3.

# %%
sequence = point_goal_sequence(tasks=("east", "west"))
envs = {name: Monitor(sequence.make_task_env(name)) for name in ("east", "west")}
model = TD3(
    "MlpPolicy",
    envs["east"],
    learning_rate=1e-3,
    batch_size=64,
    gamma=0.95,
    tau=0.02,
    buffer_size=20_000,
    learning_starts=100,
    action_noise=NormalActionNoise(np.zeros(2), 0.3 * np.ones(2)),
    replay_buffer_class=MixedReplayBuffer,
    replay_buffer_kwargs={"replay_interval": 10},
    policy_kwargs={"net_arch": [64, 64]},
    seed=0,
)
model.learn(STEPS_PER_TASK)


def success_rates(agent: TD3) -> dict[str, float]:
    """Share of successful episodes on each task."""
    rates = {}
    for name in envs:
        succeeded = []
        env = Monitor(sequence.make_task_env(name))
        env.reset(seed=1)

        def note(local: dict, _: dict, succeeded: list = succeeded) -> None:
            if local["done"]:
                succeeded.append(local["info"]["is_success"])

        evaluate_policy(agent, env, EPISODES, callback=note, warn=False)
        rates[name] = float(np.mean(succeeded))
    return rates


after_east = success_rates(model)
print("success after east:", after_east)

# %% [markdown]
# ## 1. Record and score
#
# `find_networks` finds the hidden layers; target networks are left out, because no optimizer moves them. We run the policy
# with noise on east, let the actor and both critics see the same steps, and score every neuron by the reward of the step.

# %%
networks = find_networks(model.policy)
layers = [layer for network in networks for layer in network.layers]
print("networks:", ", ".join(network.name for network in networks))

noise = np.random.default_rng(0)
rewards = []
with ActivationRecorder(layers) as recorder, th.no_grad():
    observation, _ = envs["east"].reset(seed=2)
    for _ in range(min(1000, STEPS_PER_TASK)):
        action, _ = model.predict(observation)  # runs the actor
        action = np.clip(action + noise.normal(0, 0.3, 2), -1, 1).astype(np.float32)
        model.critic(th.as_tensor(observation)[None], th.as_tensor(action)[None])
        observation, reward, _, truncated, _ = envs["east"].step(action)
        rewards.append(float(reward))
        if truncated:
            observation, _ = envs["east"].reset()

goal = th.tensor(rewards)
scores = {name: corrected_score(ScoringData(values, goal)) for name, values in recorder.activations().items()}
chosen = {}
for network in networks:  # each network is ranked by itself
    chosen |= select_top({layer.name: scores[layer.name] for layer in network.layers}, fraction=0.2)
for name, neurons in chosen.items():
    print(f"{name}: {int(neurons.sum())} of {len(neurons)} chosen, scores up to {scores[name].max():.2f}")

# %% [markdown]
# ## 2. Masks
#
# `NeuronMasks` keeps a factor for each neuron and task: 0 holds it, 1 leaves it free. `MaskedOptimizer` wraps whatever
# optimizer the algorithm has. `sides="both"` holds what feeds the chosen neurons and what reads them.


# %%
def hold(agent: TD3) -> NeuronMasks:
    """Freeze the chosen neurons of an agent."""
    masks = NeuronMasks(find_networks(agent.policy), sides="both")
    masks.hold(0, {name: (~neurons).float() for name, neurons in chosen.items()})
    for part in (agent.actor, agent.critic):
        part.optimizer = MaskedOptimizer(part.optimizer)
        part.optimizer.set_factors(masks.parameter_factors())
    return masks


# %% [markdown]
# ## 3. Memory
#
# `remember(0)` keeps the transitions as those of task 0. The rest of the buffer is emptied; from now on every tenth batch
# comes from the memory.


# %%
def remember(agent: TD3) -> None:
    """Keep east's transitions in the memory."""
    agent.replay_buffer.remember(0)
    agent.replay_buffer.memory.current_task = 1


# %% [markdown]
# ## Four ways to learn west
#
# The same agent goes on four times: as it is (with an emptied buffer), with masks, with the memory, with both. Its first steps
# on west are random ones (half of the budget): a policy that has learned to go east would never see west by itself.

# %%
model.save(FOLDER / "east")
model.save_replay_buffer(FOLDER / "east_buffer")
first = chosen[networks[0].layers[0].name]
results = {"after east": after_east}
for name, parts in {"nothing": (), "masks": (hold,), "memory": (remember,), "masks and memory": (hold, remember)}.items():
    agent = TD3.load(FOLDER / "east", env=envs["west"])
    agent.load_replay_buffer(FOLDER / "east_buffer")
    for part in parts:
        part(agent)
    agent.replay_buffer.reset()  # the memory stays
    agent.learning_starts = agent.num_timesteps + WARMUP
    agent.set_random_seed(1)
    weights = agent.actor.mu[0].weight.detach().clone()
    agent.learn(STEPS_PER_TASK, reset_num_timesteps=False)
    moved = (agent.actor.mu[0].weight != weights).any(dim=1)
    results[name] = success_rates(agent)
    print(f"{name}: {int(moved[first].sum())} of {int(first.sum())} chosen neurons of the actor's first layer moved")

# %%
figure = Figure(figsize=(8, 2.8), layout="constrained")
axes = figure.subplots()
for place, (task, colour) in enumerate({"east": "#0072b2", "west": "#d55e00"}.items()):
    heights = [rates[task] for rates in results.values()]
    axes.bar([i + 0.38 * place for i in range(len(results))], heights, 0.36, color=colour, label=f"on {task}")
axes.set_xticks([i + 0.19 for i in range(len(results))], list(results))
axes.set(ylabel="success rate", ylim=(0, 1.05))
axes.spines[["top", "right"]].set_visible(False)
figure.legend(loc="outside upper center", ncols=2, frameon=False)
show(figure, "parts.png")
for name, rates in results.items():
    print(f"{name:<20}" + "".join(f"{task}: {rate:.2f}   " for task, rate in rates.items()))

# %% [markdown]
# The masks do what they say (no chosen neuron moves), and east is forgotten all the same: the neurons around them change. What
# keeps east is the memory. None of the four learns west: exploration is missing
# here, or the budget, since the agent without masks and memory does not learn it either.
#
# One seed is an illustration. What was measured over several seeds is in [docs/experiments.md](../docs/experiments.md).
