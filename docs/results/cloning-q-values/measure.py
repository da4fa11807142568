"""
How a value learner is cloned: forms, temperatures and strengths, on tuning seeds. See README.md beside this file.

    OMP_NUM_THREADS=1 python docs/results/cloning-q-values/measure.py dqn 100 trainings.jsonl

East is learned once per seed; each variant goes on from there with west and north, 2,000 env steps each.
"""

import io
import json
import sys
import warnings
from dataclasses import replace
from typing import Any

from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sb3_nbsp import NBSPDQN, NBSPQRDQN
from sb3_nbsp.tasks import TaskSequence, TaskSequenceEnv, point_goal_sequence

TASKS = ("east", "west", "north")
SETTINGS: dict[str, Any] = {  # hyperparams/nbspdqn.yml
    "learning_rate": 1e-3, "batch_size": 64, "gamma": 0.95, "learning_starts": 100, "train_freq": 1, "tau": 0.02,
    "target_update_interval": 1, "exploration_fraction": 0.5, "exploration_final_eps": 0.05, "buffer_size": 10_000,
    "skill_fraction": 0, "memory_size": 100, "scoring_steps": 1_000, "device": "cpu",
}  # fmt: skip
CLONE = {"rehearsal": "clone", "clone_batch_size": 32}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing": ("", {"memory_size": 0}),
    "replay 100": ("", {"rehearsal": "replay"}),
    **{
        f"kl tau={tau} coef={coef}": ("", {**CLONE, "clone_temperature": tau, "clone_coef": coef})
        for tau, coef in ((0.1, 1), (0.1, 10), (0.1, 100), (1.0, 10), (0.01, 10))
    },
    "mse coef=10": ("mse", {**CLONE, "clone_coef": 10}),
    "quantiles mse coef=10": ("quantiles", {**CLONE, "clone_coef": 10}),
}


def variant_of(cls: Any, form: str) -> Any:
    """A class that clones in another form: the Q-values, or all quantiles, by their mean square."""
    held = cls.cloned_outputs
    if form == "quantiles":
        held = replace(
            held,
            outputs=lambda model, seen: model.quantile_net(seen).flatten(1),
            n_outputs=lambda model: model.quantile_net.n_quantiles * int(model.action_space.n),
        )
    if form:
        held = replace(held, divergence=lambda model, seen, kept: (held.outputs(model, seen) - kept).square().mean(dim=1))
    return type(cls.__name__, (cls,), {"cloned_outputs": held})


def success(model: Any, sequence: TaskSequence, task: str) -> float:
    """Share of ten episodes in which the goal is reached."""
    env, wins = sequence.make_task_env(task), 0
    for episode in range(10):
        observation, done, won = env.reset(seed=1000 + episode)[0], False, False
        while not done:
            action = model.predict(observation, deterministic=True)[0]
            observation, _, terminated, truncated, info = env.step(action)
            won, done = won or bool(info["success"]), terminated or truncated
        wins += won
    return wins / 10


def measure(algo: str, seed: int, path: str) -> None:
    """Append a line per variant."""
    cls: Any = {"dqn": NBSPDQN, "qrdqn": NBSPQRDQN}[algo]
    policy = {"net_arch": [64, 64], **({"n_quantiles": 25} if algo == "qrdqn" else {})}
    sequence = point_goal_sequence(TASKS, cycles=1, discrete=True)

    def env() -> VecEnv:
        return DummyVecEnv([lambda: Monitor(TaskSequenceEnv(sequence))])

    first = cls("MlpPolicy", env(), seed=seed, rehearsal="both", policy_kwargs=policy, **SETTINGS).learn(2_000)
    file = io.BytesIO()
    first.save(file)
    for name, (form, arguments) in VARIANTS.items():
        if form == "quantiles" and algo == "dqn":
            continue
        file.seek(0)
        model = variant_of(cls, form).load(file, env=env(), device="cpu", **arguments)
        if form == "quantiles":  # these were not kept
            model.cloning.remember(0, first.cloning.memory.tasks[0].observations)
        model.set_random_seed(seed + 1_000)
        learned = [success(first, sequence, TASKS[0])]
        for task in TASKS[1:]:
            model.learn(2_000, reset_num_timesteps=False)
            learned.append(success(model, sequence, task))
        row = {"which": algo, "name": name, "seed": seed, "learned": learned}
        with open(path, "a") as lines:
            lines.write(json.dumps({**row, "final": [success(model, sequence, task) for task in TASKS]}) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    measure(sys.argv[1], int(sys.argv[2]), sys.argv[3])
