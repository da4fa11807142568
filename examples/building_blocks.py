"""
The parts of NBSP with a plain SB3 algorithm: score the neurons of a trained SAC, freeze the best, and learn on.

    python examples/building_blocks.py --steps 2000
"""

import argparse

import torch as th
from stable_baselines3 import SAC

from sb3_nbsp.neurons import ActivationRecorder, find_networks
from sb3_nbsp.neurons.scores import ScoringData, corrected_score
from sb3_nbsp.neurons.skill_neurons import select_top
from sb3_nbsp.protection import MaskedOptimizer, NeuronMasks
from sb3_nbsp.tasks import point_goal_sequence


def main(steps: int) -> None:
    """
    :param steps: env steps on each of the two tasks
    """
    sequence = point_goal_sequence(tasks=("east", "west"))
    east, west = (sequence.make_task_env(name) for name in ("east", "west"))
    settings = {"learning_rate": 1e-3, "batch_size": 64, "gamma": 0.95, "tau": 0.02, "policy_kwargs": {"net_arch": [64, 64]}}
    model = SAC("MlpPolicy", east, seed=0, **settings)
    model.learn(steps)

    # 1. Record what the actor's neurons do on east, and how good each step is.
    networks = find_networks(model.policy)
    actor = networks[0]
    rewards = []
    with ActivationRecorder(actor.layers) as recorder:
        observation, _ = east.reset(seed=1)
        for _ in range(250):
            action, _ = model.predict(observation)
            observation, reward, _, truncated, _ = east.step(action)
            rewards.append(float(reward))
            if truncated:
                observation, _ = east.reset()

    # 2. Score them, and choose a fifth.
    goal = th.tensor(rewards)
    scores = {name: corrected_score(ScoringData(a, goal)) for name, a in recorder.activations().items()}
    chosen = select_top(scores, fraction=0.2)

    # 3. Freeze what feeds the chosen neurons and what reads them, whatever the optimizer is.
    masks = NeuronMasks(networks, sides="both")
    masks.hold(0, {name: (~neurons).float() for name, neurons in chosen.items()})
    model.actor.optimizer = MaskedOptimizer(model.actor.optimizer)
    model.actor.optimizer.set_factors(masks.parameter_factors())
    print(f"{masks.free_share('actor'):.0%} of the actor's neurons are free")

    # 4. Learn west.
    before = model.actor.latent_pi[0].weight.detach().clone()
    model.set_env(west)
    model.learn(steps, reset_num_timesteps=False)
    moved = (model.actor.latent_pi[0].weight != before).any(dim=1)
    held = chosen[actor.layers[0].name]
    print(f"{int(moved.sum())} of {len(moved)} neurons of the first layer moved, {int(moved[held].sum())} chosen ones")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="env steps on each task")
    main(parser.parse_args().steps)
