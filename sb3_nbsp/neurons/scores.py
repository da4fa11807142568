"""
The score of a neuron: how well its activity tells the good steps of a task from the others (NBSP, arXiv 2504.08000).

Pure functions on tensors. Every score lies in [0.5, 1], so that the masks' factor alpha * (1 - score) means the same
under all of them; what a score cannot tell stands at 0.5.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch as th

from sb3_nbsp.base.random_states import isolated_rng


@dataclass(frozen=True)
class ScoringData:
    """
    What a score may look at, for one layer.

    :param activations: a(N, t), [T, n_neurons]
    :param goal: q(t), [T]
    :param loss_change: \\|a(N, t) * dL/da(N, t)\\|, [T, n_neurons]; only where a score asks for it
    :param generator: source of randomness
    """

    activations: th.Tensor
    goal: th.Tensor
    loss_change: th.Tensor | None = None
    generator: th.Generator | None = None


def above_mean(values: th.Tensor) -> th.Tensor:
    """
    :param values: [T] or [T, n]
    :return: 1[values(t) > mean_t values(t)], bool, same shape
    """
    return values > values.mean(dim=0)


def published_score(data: ScoringData) -> th.Tensor:
    """
    NBSP's goal-oriented score: agreement between "neuron above its mean" and "goal metric above its mean".

        acc(N) = mean_t 1[ 1[a(N,t) > mean a(N)] == 1[q(t) > mean q] ],   score(N) = max(acc(N), 1 - acc(N))

    A neuron that never varies scores max(p, 1 - p) with p the share of good steps: close to 1 on a mastered task.
    """
    agreement = above_mean(data.activations) == above_mean(data.goal)[:, None]
    accuracy = agreement.float().mean(dim=0)
    return th.maximum(accuracy, 1 - accuracy)


def corrected_score(data: ScoringData) -> th.Tensor:
    """
    The published score with *balanced* accuracy, which the share of good steps cannot inflate.

        b(N) = ( P(a above | q above) + P(a not above | q not above) ) / 2,   score(N) = max(b(N), 1 - b(N))

    A neuron that never varies scores 0.5, whatever the share of good steps.
    """
    active, good = above_mean(data.activations).float(), above_mean(data.goal)
    if bool(good.all()) or not bool(good.any()):
        return th.full((active.shape[1],), 0.5)
    balanced = (active[good].mean(dim=0) + 1 - active[~good].mean(dim=0)) / 2
    return th.maximum(balanced, 1 - balanced)


def random_score(data: ScoringData) -> th.Tensor:
    """Control: a random ranking."""
    return _by_rank(th.rand(data.activations.shape[1], generator=data.generator))


def activity_score(data: ScoringData) -> th.Tensor:
    """Control: rank by mean \\|a\\|, the numerator of the dormancy score of ReDo (Sokar et al. 2023), most active first."""
    return _by_rank(data.activations.abs().mean(dim=0))


def dormant_score(data: ScoringData) -> th.Tensor:
    """Control: the reverse of :func:`activity_score`, most dormant first."""
    return _by_rank(-data.activations.abs().mean(dim=0))


def taylor_score(data: ScoringData) -> th.Tensor:
    """
    Rank by first-order Taylor importance mean_t \\|a(N,t) dL/da(N,t)\\|: how much the loss would change without the neuron
    (the importance of NPC, Paik et al. 2019).
    """
    assert data.loss_change is not None, "taylor_score needs the gradients of a loss"
    return _by_rank(data.loss_change.mean(dim=0))


def _by_rank(values: th.Tensor) -> th.Tensor:
    """Spread values over [0.5, 1] by their rank."""
    ranks = values.argsort(stable=True).argsort(stable=True)
    return 0.5 + 0.5 * ranks.float() / max(len(values) - 1, 1)


SCORES: dict[str, Callable[[ScoringData], th.Tensor]] = {
    "published": published_score,
    "corrected": corrected_score,
    "random": random_score,
    "activity": activity_score,
    "dormant": dormant_score,
    "taylor": taylor_score,
}
GOAL_SCORES = ("published", "corrected")  # those that look at q(t)


def scores_of(score: str, data: ScoringData) -> th.Tensor:
    """
    :param score: one of ``SCORES``
    :param data: of one layer
    :return: the score of each neuron, [n_neurons]
    :raises ValueError: if it fails, or gives anything but a number in [0.5, 1] per neuron
    """
    try:
        found: object = SCORES[score](data)
    except Exception as error:
        raise ValueError(f"score {score!r} failed: {type(error).__name__}: {error}") from error
    n_neurons = data.activations.shape[1]
    if not isinstance(found, th.Tensor) or not found.is_floating_point():
        got = str(found.dtype) if isinstance(found, th.Tensor) else type(found).__name__
    elif found.shape != (n_neurons,):
        got = f"shape {tuple(found.shape)}"
    elif not bool(((found >= 0.5) & (found <= 1)).all()):
        got = "NaN" if bool(found.isnan().any()) else f"{float(found.min()):g} to {float(found.max()):g}"
    else:
        return found.detach()
    raise ValueError(f"score {score!r} must give a tensor of {n_neurons} numbers in [0.5, 1], one for each neuron; got {got}.")


def try_own_score(score: str, sizes: Iterable[int], n_steps: int) -> None:
    """
    Try a score that is none of ours on made-up activations, so that a mistake is told before a task is trained for it. What it
    draws of global random numbers is put back.

    :param score: one of ``SCORES``
    :param sizes: number of neurons of each layer that will be scored
    :param n_steps: T
    :raises ValueError: if it gives anything but a number in [0.5, 1] per neuron
    :raises TypeError: if it is no function
    """
    function = SCORES[score]
    if not callable(function):
        raise TypeError(f"SCORES[{score!r}] must be a function of ScoringData; got {function!r}.")
    if getattr(function, "__module__", None) == __name__:
        return
    with isolated_rng(seed=0):
        for size in sizes:
            scores_of(score, ScoringData(th.rand(n_steps, size), th.arange(n_steps) % 2.0, generator=th.Generator()))


def active_share(activations: th.Tensor) -> th.Tensor:
    """
    :param activations: [T, n_neurons]
    :return: share of steps with a non-zero activation, [n_neurons]; 0 = silent on all of them
    """
    return (activations != 0).float().mean(dim=0)
