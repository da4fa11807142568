"""Score the neurons of some networks on steps of the policy, and choose the skill neurons."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch as th

from sb3_nbsp.neurons.activations import ActivationRecorder
from sb3_nbsp.neurons.layers import NeuronLayer
from sb3_nbsp.neurons.networks import Network
from sb3_nbsp.neurons.rollout import ScoringSteps
from sb3_nbsp.neurons.scores import GOAL_SCORES, ScoringData, active_share, scores_of
from sb3_nbsp.neurons.skill_neurons import LayerSkill, SkillNeurons, select_top

GoalMetric = Literal["auto", "success", "reward", "return"]
SelectAmong = Literal["all", "active"]
BATCH_SIZE = 1024


def choose_goal(steps: ScoringSteps, metric: GoalMetric) -> tuple[str, np.ndarray]:
    """
    Find a goal metric that varies.

    :param steps: the scored steps
    :param metric: one of ``GoalMetric``; ``auto``: success where the env tells it, else the episode's return, and the reward
        of the step where that is constant
    :return: name and q(t), [T]. Where the wanted one is constant, the reward of the step takes its place. The user is warned
        if something else was asked for, or if the reward is constant, too.
    """
    is_free = metric == "auto"
    if metric == "auto":
        metric = "return" if np.isnan(steps.successes).any() else "success"
    goal = steps.goal(metric)
    if np.ptp(goal) == 0:
        instead = steps.goal("reward")
        if is_free and np.ptp(instead):
            return "reward", instead
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


# Runs one part of the model on a batch of step indices inside `recorder` and returns that part's loss.
LossFunction = Callable[[ScoringSteps, np.ndarray, ActivationRecorder], th.Tensor]


def score_networks(
    networks: list[Network],
    steps: ScoringSteps,
    losses: Mapping[str, LossFunction],
    task: str,
    score: str,
    goal_metric: GoalMetric,
    fraction: float,
    select_among: SelectAmong,
    seed: int | None = None,
) -> SkillNeurons:
    """
    Score the neurons of some networks on steps of the policy and choose the skill neurons.

    :param networks: networks to score, each ranked by itself
    :param steps: the scored steps
    :param losses: how to run the networks of each part (``actor``, ``critic``, ``shared``)
    :param task: the task's name
    :param score: one of ``SCORES``
    :param goal_metric: one of ``GoalMetric``
    :param fraction: m, the share of each network's neurons to choose
    :param select_among: ``all`` neurons, or only the ``active`` ones (not 0 on at least one step)
    :param seed: of a score that draws random numbers
    :raises ValueError: if a score of one's own gives anything but a number in [0.5, 1] per neuron
    """
    metric, goal = choose_goal(steps, goal_metric)
    q = th.as_tensor(goal, dtype=th.float32)
    if np.ptp(goal) == 0 and score in GOAL_SCORES:
        fraction = 0.0
    generator = th.Generator().manual_seed(seed or 0)
    activations, loss_changes = run_networks(networks, steps, losses, with_gradients=score == "taylor")
    layers: dict[str, LayerSkill] = {}
    for network in networks:
        names = [layer.name for layer in network.layers]
        scores = {n: scores_of(score, ScoringData(activations[n], q, loss_changes.get(n), generator)) for n in names}
        active = {n: active_share(activations[n]) for n in names}
        # What is frozen needs nobody to hold it, and what nothing reads does nothing: the share is one of the others.
        working = {layer.name: layer.is_read.nonzero()[:, 0] for layer in network.layers if layer.is_trained}
        eligible = {n: active[n][rows] > 0 for n, rows in working.items()} if select_among == "active" else None
        chosen = select_top({n: scores[n][rows] for n, rows in working.items()}, fraction, eligible)
        for name in names:
            indices = working[name][chosen[name]].tolist() if name in chosen else []
            layers[name] = LayerSkill(network.name, scores[name].tolist(), active[name].tolist(), indices)
    return SkillNeurons(task, score, metric, float((q > q.mean()).float().mean()), len(q), layers)


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
    networks: list[Network], steps: ScoringSteps, losses: Mapping[str, LossFunction], with_gradients: bool = False
) -> tuple[dict[str, th.Tensor], dict[str, th.Tensor]]:
    """
    Let the networks see steps of the policy.

    :param networks: networks to run
    :param steps: T steps
    :param losses: see :func:`score_networks`
    :param with_gradients: whether to compute \\|a dL/da\\| too
    :return: activations and, if wanted, \\|a dL/da\\| by layer name, [T, n_neurons], on the CPU
    """
    activations: dict[str, list[th.Tensor]] = {}
    loss_changes: dict[str, list[th.Tensor]] = {}
    for part in dict.fromkeys(network.part for network in networks):
        layers = [layer for network in networks if network.part == part for layer in network.layers]
        for rows in _batches(len(steps.rewards)):
            recorder = ActivationRecorder(layers, keep_graph=with_gradients)
            with th.set_grad_enabled(with_gradients):
                loss = losses[part](steps, rows, recorder)
            found = recorder.activations()
            changes = _changes(layers, recorder, loss * len(rows)) if with_gradients else {}  # undo the mean
            for layer in layers:  # what a forward of one's own passes over was silent
                values = _per_step(found.get(layer.name), layer, len(rows))
                activations.setdefault(layer.name, []).append(values.mean(dim=0).cpu())
                if with_gradients:
                    change = _per_step(changes.get(layer.name), layer, len(rows)).sum(dim=0).abs().cpu()
                    # What is the same at all steps has one gradient, of all of them.
                    loss_changes.setdefault(layer.name, []).append(change / len(rows) if layer.is_constant else change)
    return {n: th.cat(v) for n, v in activations.items()}, {n: th.cat(v) for n, v in loss_changes.items()}


def _changes(layers: list[NeuronLayer], recorder: ActivationRecorder, loss: th.Tensor) -> dict[str, th.Tensor]:
    """a dL/da by layer name, [n_recorded, n_neurons]; 0 where no gradient arrives (frozen parts, ``no_grad``, ``detach``)."""
    outputs = [output for firings in recorder.outputs.values() for output in firings if output.requires_grad]
    found = th.autograd.grad(loss, outputs, allow_unused=True) if outputs and loss.requires_grad else [None] * len(outputs)
    gradients = {id(output): gradient for output, gradient in zip(outputs, found, strict=True)}

    def change(output: th.Tensor) -> th.Tensor:
        gradient = gradients.get(id(output))
        return th.zeros_like(output) if gradient is None else (output * gradient).detach()

    return {
        layer.name: th.cat([layer.per_neuron(change(output), i) for i, output in enumerate(recorder.outputs[layer.name])])
        for layer in layers
        if layer.name in recorder.outputs
    }


def _per_step(values: th.Tensor | None, layer: NeuronLayer, n_steps: int) -> th.Tensor:
    """
    A layer that runs several times in one pass, [n_times * n_steps, n_neurons] -> [n_times, n_steps, n_neurons]; a constant
    one from [n_times, n_neurons], and 0 of one that did not run.
    """
    if values is None:
        return th.zeros(1, n_steps, layer.n_neurons)
    if layer.is_constant:
        return values[:, None].expand(-1, n_steps, -1)
    return values.reshape(-1, n_steps, values.shape[1])


def _batches(n: int) -> Iterator[np.ndarray]:
    for start in range(0, n, BATCH_SIZE):
        yield np.arange(start, min(start + BATCH_SIZE, n))
