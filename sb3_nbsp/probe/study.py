"""The causal test and its companions, on one trained NBSP agent."""

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv

from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.base.random_states import isolated_rng
from sb3_nbsp.common.continual_algorithm import ContinualAlgorithm
from sb3_nbsp.common.env_util import wrap_like
from sb3_nbsp.evaluation.contexts import playing
from sb3_nbsp.evaluation.evaluator import TaskEvaluator
from sb3_nbsp.neurons.rollout import run_for_scoring
from sb3_nbsp.neurons.skill_neurons import SkillNeurons
from sb3_nbsp.probe.plasticity import dormant_share, effective_rank, weight_norm
from sb3_nbsp.probe.silencing import Neurons, acting_networks, lowest, random_like, silenced

N_RANDOM = 3
N_RESCORED = 3
DIAGNOSED_STEPS = 1000
_BY_PAIR = ("performance", "task_overlap")


@dataclass(frozen=True)
class Probe:
    """
    What was found.

    :param performance: by (neurons of which task were silenced, which of them), by task. ``("", "none")`` is the whole agent;
        random draws are averaged. ``random active`` are as many as there are active ones among the skill neurons, of those
        that were active when the task was scored: to silence a silent neuron takes nothing away.
    :param measure: what performance is: ``success rate``, or ``mean return`` where the tasks know no success
    :param lesions: number of silenced neurons of the acting networks, and how many of them were silent anyway, by task
    :param task_overlap: Jaccard overlap of two tasks' skill neurons; two random sets have m / (2 - m)
    :param seed_overlap: the same of one task's skill neurons in scorings with different seeds, mean over pairs
    :param chance_overlap: overlap of two random sets
    :param diagnostics: by network: dormant share, effective rank over the number of neurons (means over layers, in the
        task learned last), root mean square of weights, share of free neurons
    :param n_eval_episodes: per task and lesion
    """

    performance: dict[tuple[str, str], dict[str, float]]
    measure: str
    lesions: dict[str, dict[str, int]]
    task_overlap: dict[tuple[str, str], float]
    seed_overlap: dict[str, float]
    chance_overlap: float
    diagnostics: dict[str, dict[str, float]]
    n_eval_episodes: int

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_dict` as JSON, atomically."""
        with replacing(Path(path)) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1))

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON. Values by pairs become a list of ``[first, second, value]``."""
        pairs = {name: [[*pair, value] for pair, value in getattr(self, name).items()] for name in _BY_PAIR}
        return {**asdict(self), **pairs}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Probe":
        """The reverse of :meth:`to_dict`."""
        pairs = {name: _by_pair(plain[name]) for name in _BY_PAIR}
        return cls(**{**plain, **pairs})


def probe_model(
    model: ContinualAlgorithm,
    env: VecEnv,
    n_eval_episodes: int = 20,
    seed: int = 0,
    rescore: bool = True,
    telling: Collection[str] = (),
) -> Probe:
    """
    Silence an agent's skill neurons, as many random ones, and those with the lowest scores, and see what it still can.

    Only networks that choose actions are touched. The model stays as it is.

    :param model: has learned at least one task of the sequence
    :param env: a vectorised env of the task sequence, wrapped as in training
    :param n_eval_episodes: episodes per task and lesion
    :param seed: of evaluation and random draws
    :param rescore: score each task again with other seeds, to see how stable the choice is
    :param telling: tasks that are known to tell success, also where no episode here does, as that of the run's evaluations
        (:func:`~sb3_nbsp.evaluation.told_success.telling_tasks`)
    :raises ValueError: if no neurons of a task of this sequence were scored
    """
    sequence = env.get_attr("task_sequence", 0)[0]
    skills = {task: skill for task, skill in model.skill_neurons.items() if task in sequence.task_names}
    if not skills:
        raise ValueError(
            f"The model has skill neurons of {list(model.skill_neurons) or 'no task'}, the env goes through "
            f"{list(sequence.task_names)}. Probe a model that was trained on this sequence with skill_fraction > 0."
        )
    last = _learned_last(model, skills)
    with closing(TaskEvaluator(env, sequence, n_eval_episodes, seed=seed)) as evaluator:
        measure, performance, lesions = _causal_test(model, skills, evaluator, seed, telling)
    return Probe(
        performance=performance,
        measure=measure,
        lesions=lesions,
        task_overlap={pair: skills[pair[0]].overlap(skills[pair[1]]) for pair in combinations(skills, 2)},
        seed_overlap=_seed_overlap(model, env, list(skills), seed) if rescore else {},
        chance_overlap=model.skill_fraction / (2 - model.skill_fraction),
        diagnostics=_diagnostics(model, env, last, seed),
        n_eval_episodes=n_eval_episodes,
    )


def _learned_last(model: ContinualAlgorithm, tasks: Collection[str]) -> str:
    """
    :param tasks: of the env's sequence that the model has learned
    :return: the one whose visit ended last; where tasks were given by hand, the one that was consolidated last for the first
        time: of later visits there is no record
    """
    ended = [task for task, _ in model.position.visits[: model.position.n_completed]]
    return [task for task in (*model.learned_tasks, *ended) if task is not None and task in tasks][-1]


def _causal_test(
    model: ContinualAlgorithm,
    skills: Mapping[str, SkillNeurons],
    evaluator: TaskEvaluator,
    seed: int,
    telling: Collection[str],
) -> tuple[str, dict[tuple[str, str], dict[str, float]], dict[str, dict[str, int]]]:
    layers = [layer for network in acting_networks(model.neuron_masks.networks) for layer in network.layers]
    success, mean_return = evaluator.evaluate(model)
    knows_success = all(rate is not None or task in telling for task, rate in success.items())

    def perform(neurons: Neurons) -> dict[str, float]:
        with silenced(layers, neurons):
            success, mean_return = evaluator.evaluate(model)
        return {task: rate or 0.0 for task, rate in success.items()} if knows_success else mean_return

    whole = {task: rate or 0.0 for task, rate in success.items()} if knows_success else mean_return
    performance, lesions = {("", "none"): whole}, {}
    generator = th.Generator().manual_seed(seed)
    for task, skill in skills.items():
        names = [layer.name for layer in layers if layer.name in skill.layers]
        chosen = {name: skill.chosen(name) for name in names}
        if not names or not any(bool(mask.any()) for mask in chosen.values()):  # e.g. mask_networks="critic"
            continue
        silent = {name: th.tensor(skill.layers[name].active_share) == 0 for name in names}
        lesions[task] = {
            "silenced": sum(int(mask.sum()) for mask in chosen.values()),
            "silent anyway": sum(int((chosen[name] & silent[name]).sum()) for name in names),
        }
        performance[task, "skill neurons"] = perform(chosen)
        performance[task, "random"] = _mean([perform(random_like(chosen, generator)) for _ in range(N_RANDOM)])
        active = {name: ~silent[name] for name in names}
        at_work = {name: chosen[name] & active[name] for name in names}
        draws = [perform(random_like(at_work, generator, among=active)) for _ in range(N_RANDOM)]
        performance[task, "random active"] = _mean(draws)
        scores = {name: th.tensor(skill.layers[name].scores) for name in names}
        performance[task, "lowest scores"] = perform(lowest(scores, chosen))
    return "success rate" if knows_success else "mean return", performance, lesions


@contextmanager
def _task_env(env: VecEnv, task: str) -> Iterator[VecEnv]:
    """An env of one task, wrapped as the sequence's is."""
    with closing(wrap_like(env, env.get_attr("task_sequence", 0)[0].make_task_env(task, evaluation=True))) as task_env:
        yield task_env


def _seed_overlap(model: ContinualAlgorithm, env: VecEnv, tasks: list[str], seed: int) -> dict[str, float]:
    result = {}
    for task in tasks:
        scorings = []
        for i in range(N_RESCORED):
            with _task_env(env, task) as task_env, playing(model, task):
                scorings.append(model.score_neurons(task_env, task, seed + i))
        result[task] = float(np.mean([one.overlap(other) for one, other in combinations(scorings, 2)]))
    return result


def _diagnostics(model: ContinualAlgorithm, env: VecEnv, task: str, seed: int) -> dict[str, dict[str, float]]:
    networks = model.neuron_masks.networks
    with _task_env(env, task) as task_env, isolated_rng(seed, model.action_space), playing(model, task):
        task_env.seed(seed)
        activations = model.activations_on(run_for_scoring(model, task_env, DIAGNOSED_STEPS))
    return {
        network.name: {
            "dormant share": float(np.mean([dormant_share(activations[layer.name]) for layer in network.layers])),
            "effective rank": float(
                np.mean([effective_rank(activations[layer.name]) / layer.n_neurons for layer in network.layers])
            ),
            "weight norm": weight_norm(network),
            "free share": model.neuron_masks.free_share(network.name),
        }
        for network in networks
        if network.layers
    }


def _mean(draws: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {task: float(np.mean([draw[task] for draw in draws])) for task in draws[0]}


def _by_pair(plain: Any) -> dict[tuple[str, str], Any]:
    """Earlier files have a mapping with ``"a / b"`` as keys."""
    if isinstance(plain, dict):
        if unknown := [key for key in plain if " / " not in key]:
            raise ValueError(f"Expected pairs of names with ' / ' between them, got {unknown[0]!r}")
        plain = [[*key.rpartition(" / ")[::2], value] for key, value in plain.items()]
    return {(first, second): value for first, second, value in plain}
