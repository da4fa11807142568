"""Run the trained policy on a task and score its neurons."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.common.activations import ActivationRecorder, per_neuron
from sb3_nbsp.common.memory import Observations
from sb3_nbsp.common.neurons import Network
from sb3_nbsp.common.skill_neurons import GOAL_SCORES, SCORES, LayerSkill, ScoringData, SkillNeurons, active_share, select_top

GOAL_METRICS = ("auto", "success", "reward", "return")
BATCH_SIZE = 1024


@dataclass(frozen=True)
class Rollout:
    """
    T steps of the policy on a task, as it sees them (observations are normalised where training normalises them).

    :param observations: [T, ...]
    :param actions: [T, action_dim], as the networks take them (scaled to [-1, 1] where the policy squashes its output)
    :param rewards: [T], not normalised
    :param next_observations: [T, ...]
    :param dones: [T], terminated (time limits do not count)
    :param episode_starts: [T], whether a step is the first of its episode
    :param successes: [T], success of the step, NaN where the env does not tell
    :param ended: whether an episode ended with the last step
    """

    observations: Observations
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: Observations
    dones: np.ndarray
    episode_starts: np.ndarray
    successes: np.ndarray
    ended: bool = False

    def goal(self, metric: str) -> np.ndarray:
        """
        q(t), [T].

        :param metric: ``success`` of the step, ``reward`` of the step, or ``return`` of the episode that the step is in
        :raises ValueError: for ``success`` where the env does not tell it
        """
        if metric == "success":
            if np.isnan(self.successes).any():
                raise ValueError(
                    'goal_metric="success" needs `success` or `is_success` in the env\'s info at every step; this env tells '
                    'neither. Use goal_metric="return" or "reward", or add the key in a wrapper.'
                )
            return self.successes
        if metric == "reward":
            return self.rewards
        episode = np.cumsum(self.episode_starts) - 1
        returns = np.bincount(episode, weights=self.rewards)
        if len(returns) > 1 and not self.ended:
            # The rest of the last episode's return is missing: it counts as an average one.
            returns[-1] = returns[:-1].mean()
        return returns[episode]


def collect_rollout(model: BaseAlgorithm, env: VecEnv, n_steps: int) -> Rollout:
    """
    Run the model's stochastic policy: exploration noise is what gives both good and bad steps.

    :param model: any SB3 algorithm
    :param env: a vectorised env with one sub-env, wrapped as the training env is
    :param n_steps: T, env steps
    """
    steps: dict[str, list[Any]] = {name: [] for name in Rollout.__dataclass_fields__ if name != "ended"}
    observation, start = env.reset(), True
    for _ in range(n_steps):
        action, _ = model.predict(observation, deterministic=False)  # type: ignore[arg-type]
        after, reward, done, infos = env.step(action)
        info = infos[0]
        # A VecEnv has already begun the next episode when one ended.
        next_observation = _batch_of_one(info["terminal_observation"]) if done[0] else after
        values = {
            "observations": observation,
            "actions": action,
            "rewards": reward[0],
            "next_observations": next_observation,
            "dones": float(done[0] and not info.get("TimeLimit.truncated", False)),
            "episode_starts": start,
            "successes": float(info.get("success", info.get("is_success", np.nan))),
        }
        for name, value in values.items():
            steps[name].append(_copy(value))
        observation, start = after, bool(done[0])
    arrays = {name: _stack(values) for name, values in steps.items()}
    if model.policy.squash_output:
        arrays["actions"] = model.policy.scale_action(arrays["actions"])
    if arrays["actions"].ndim > 2:
        arrays["actions"] = arrays["actions"].reshape(n_steps, -1)
    return Rollout(**arrays, ended=start)


def choose_goal(rollout: Rollout, metric: str) -> tuple[str, np.ndarray]:
    """
    Find a goal metric that varies.

    :param rollout: the scored steps
    :param metric: one of ``GOAL_METRICS``; ``auto``: success where the env tells it, else the episode's return
    :return: name and q(t), [T]. Where the wanted one is constant, the reward of the step takes its place; the user is warned.
    """
    if metric == "auto":
        metric = "return" if np.isnan(rollout.successes).any() else "success"
    goal = rollout.goal(metric)
    if np.ptp(goal) == 0:
        instead = rollout.goal("reward")
        verdict = (
            "the reward of the step is used in its place"
            if np.ptp(instead)
            else "so is the reward of the step: scores say nothing, and no neuron is held"
        )
        warnings.warn(
            f"The goal metric q(t) = {metric} is constant at {goal[0]:g} over the {len(goal)} scored steps, so no neuron "
            f"can be told from another by it; {verdict}.",
            stacklevel=2,
        )
        metric, goal = "reward", instead
    return metric, goal


# Runs one part of the model on a batch of rollout indices inside `recorder` and returns that part's loss.
LossFunction = Callable[[Rollout, np.ndarray, ActivationRecorder], th.Tensor]


def score_networks(
    networks: list[Network],
    rollout: Rollout,
    losses: Mapping[str, LossFunction],
    task: str,
    score: str,
    goal_metric: str,
    fraction: float,
    select_among: str,
    seed: int | None = None,
) -> SkillNeurons:
    """
    Score the neurons of some networks on a rollout and choose the skill neurons.

    :param networks: networks to score, each ranked by itself
    :param rollout: the scored steps
    :param losses: how to run the networks of each part (``actor``, ``critic``, ``shared``)
    :param task: the task's name
    :param score: one of ``SCORES``
    :param goal_metric: one of ``GOAL_METRICS``
    :param fraction: m, the share of each network's neurons to choose
    :param select_among: ``all`` neurons, or only the ``active`` ones (not zero on every step)
    :param seed: of a score that draws random numbers
    """
    goal_metric, goal = choose_goal(rollout, goal_metric)
    q = th.as_tensor(goal, dtype=th.float32)
    if np.ptp(goal) == 0 and score in GOAL_SCORES:
        fraction = 0.0
    generator = th.Generator().manual_seed(seed or 0)
    activations, loss_changes = run_networks(networks, rollout, losses, with_gradients=score == "taylor")
    layers: dict[str, LayerSkill] = {}
    for network in networks:
        names = [layer.name for layer in network.layers]
        scores = {n: SCORES[score](ScoringData(activations[n], q, loss_changes.get(n), generator)) for n in names}
        active = {n: active_share(activations[n]) for n in names}
        eligible = {n: active[n] > 0 for n in names} if select_among == "active" else None
        for name, chosen in select_top(scores, fraction, eligible).items():
            indices = chosen.nonzero()[:, 0].tolist()
            layers[name] = LayerSkill(network.name, scores[name].tolist(), active[name].tolist(), indices)
    return SkillNeurons(task, score, goal_metric, float((q > q.mean()).float().mean()), len(q), layers)


def warn_of_silent(skill: SkillNeurons) -> None:
    """
    Warn where most of the neurons that are about to be held never fired. These agree with rare good steps, or with nearly all,
    as well as any: the published score takes them.
    """
    share = skill.share("chosen_silent", "chosen")
    if skill.score in GOAL_SCORES and share > 0.5:
        warnings.warn(
            f"{share:.0%} of the neurons chosen for {skill.task} put out 0 on all {skill.n_steps} scored steps "
            f"({skill.good_share:.1%} of them good): to hold them holds nothing of the skill. They are passed over with "
            'score="corrected", or with select_among="active".',
            stacklevel=3,
        )


def run_networks(
    networks: list[Network], rollout: Rollout, losses: Mapping[str, LossFunction], with_gradients: bool = False
) -> tuple[dict[str, th.Tensor], dict[str, th.Tensor]]:
    """
    Let the networks see a rollout.

    :param networks: networks to run
    :param rollout: T steps
    :param losses: see :func:`score_networks`
    :param with_gradients: whether to compute \\|a dL/da\\| too
    :return: activations and, if wanted, \\|a dL/da\\| by layer name, [T, n_neurons], on the CPU
    """
    activations: dict[str, list[th.Tensor]] = {}
    loss_changes: dict[str, list[th.Tensor]] = {}
    for part in dict.fromkeys(network.part for network in networks):
        layers = [layer for network in networks if network.part == part for layer in network.layers]
        for rows in _batches(len(rollout.rewards)):
            recorder = ActivationRecorder(layers, keep_graph=with_gradients)
            with th.set_grad_enabled(with_gradients):
                loss = losses[part](rollout, rows, recorder)
            for name, values in recorder.activations().items():
                activations.setdefault(name, []).append(values.cpu())
            if with_gradients and recorder.outputs:
                outputs = {name: values[0] for name, values in recorder.outputs.items()}
                gradients = th.autograd.grad(loss * len(rows), list(outputs.values()))  # undo the mean over the batch
                for (name, output), gradient in zip(outputs.items(), gradients, strict=True):
                    loss_changes.setdefault(name, []).append(per_neuron(output * gradient).detach().abs().cpu())
    return {n: th.cat(v) for n, v in activations.items()}, {n: th.cat(v) for n, v in loss_changes.items()}


def _batches(n: int) -> Iterator[np.ndarray]:
    for start in range(0, n, BATCH_SIZE):
        yield np.arange(start, min(start + BATCH_SIZE, n))


def _batch_of_one(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: np.asarray(value)[None] for key, value in observation.items()}
    return np.asarray(observation)[None]


def _copy(value: Any) -> Any:
    """Some envs hand out the same array at every step."""
    if isinstance(value, dict):
        return {key: array.copy() for key, array in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def _stack(values: list[Any]) -> Any:
    """Join T values: arrays with a leading batch axis of one, or numbers."""
    if isinstance(values[0], dict):
        return {key: np.concatenate([value[key] for value in values]) for key in values[0]}
    return np.concatenate(values) if isinstance(values[0], np.ndarray) else np.asarray(values)
