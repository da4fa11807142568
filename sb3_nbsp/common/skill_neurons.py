"""
Score neurons and choose the RL skill neurons (NBSP, arXiv 2504.08000, section on goal-oriented scores).

Pure functions on tensors. Every score lies in [0.5, 1], so that the masks' factor alpha * (1 - score) means the same
under all of them; what a score cannot tell stands at 0.5.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch as th

from sb3_nbsp.common.files import replacing


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


def active_share(activations: th.Tensor) -> th.Tensor:
    """
    :param activations: [T, n_neurons]
    :return: share of steps with a non-zero activation, [n_neurons]; 0 = silent on all of them
    """
    return (activations != 0).float().mean(dim=0)


def select_top(
    scores: Mapping[str, th.Tensor], fraction: float, eligible: Mapping[str, th.Tensor] | None = None
) -> dict[str, th.Tensor]:
    """
    Choose the highest-scored neurons of a network, all its layers ranked together.

    :param scores: score of every neuron by layer, [n_neurons]
    :param fraction: m, the share of *all* the network's neurons to choose, in [0, 1]
    :param eligible: which neurons may be chosen, bool, by layer; default: all
    :return: chosen neurons by layer, bool [n_neurons]. Ties go to the earlier neuron.
    """
    if not scores:
        return {}
    ranking = th.cat(list(scores.values()))
    allowed = th.ones_like(ranking, dtype=th.bool) if eligible is None else th.cat([eligible[name] for name in scores])
    n_chosen = min(round(fraction * len(ranking)), int(allowed.sum()))
    order = ranking.masked_fill(~allowed, -th.inf).argsort(descending=True, stable=True)
    chosen = th.zeros_like(allowed)
    chosen[order[:n_chosen]] = True
    return dict(zip(scores, chosen.split([len(s) for s in scores.values()]), strict=True))


@dataclass(frozen=True)
class LayerSkill:
    """Scores and chosen neurons of one layer. Lists have one entry per neuron."""

    network: str
    scores: list[float]
    active_share: list[float]
    chosen: list[int]


@dataclass(frozen=True)
class SkillNeurons:
    """
    The result of a scoring: which neurons carry a task's skill.

    :param task: name of the task
    :param score: name of the score
    :param goal_metric: what q(t) was
    :param good_share: share of steps with q(t) above its mean
    :param n_steps: T, the number of env steps scored
    :param layers: by layer name
    """

    task: str
    score: str
    goal_metric: str
    good_share: float
    n_steps: int
    layers: dict[str, LayerSkill]

    @property
    def has_chosen(self) -> bool:
        """Whether any neuron is chosen."""
        return any(layer.chosen for layer in self.layers.values())

    def chosen(self, layer: str) -> th.Tensor:
        """Chosen neurons of a layer, bool [n_neurons]."""
        mask = th.zeros(len(self.layers[layer].scores), dtype=th.bool)
        mask[self.layers[layer].chosen] = True
        return mask

    def with_chosen(self, chosen: Mapping[str, th.Tensor]) -> "SkillNeurons":
        """
        :param chosen: other neurons, bool [n_neurons], by layer; none in layers that are left out
        :return: the same scores with these neurons as the chosen ones
        """
        indices = {name: neurons.nonzero()[:, 0].tolist() for name, neurons in chosen.items()}
        layers = {name: replace(layer, chosen=indices.get(name, [])) for name, layer in self.layers.items()}
        return replace(self, layers=layers)

    def counts(self) -> dict[str, dict[str, int]]:
        """Per network: number of neurons, chosen ones, silent ones and silent ones among the chosen."""
        result: dict[str, dict[str, int]] = {}
        for layer in self.layers.values():
            row = result.setdefault(layer.network, {"neurons": 0, "chosen": 0, "silent": 0, "chosen_silent": 0})
            row["neurons"] += len(layer.scores)
            row["chosen"] += len(layer.chosen)
            row["silent"] += sum(share == 0 for share in layer.active_share)
            row["chosen_silent"] += sum(layer.active_share[n] == 0 for n in layer.chosen)
        return result

    def share(self, part: str, whole: str) -> float:
        """
        :param part: a key of :meth:`counts`
        :param whole: another
        :return: their ratio over all networks, 0 if there is nothing
        """
        rows = self.counts().values()
        return sum(row[part] for row in rows) / max(sum(row[whole] for row in rows), 1)

    def overlap(self, other: "SkillNeurons") -> float:
        """Jaccard overlap of the two chosen sets, in [0, 1]; 0 if both are empty."""
        mine = {(name, n) for name, layer in self.layers.items() for n in layer.chosen}
        theirs = {(name, n) for name, layer in other.layers.items() for n in layer.chosen}
        return len(mine & theirs) / max(len(mine | theirs), 1)

    def table(self) -> str:
        """A table for people."""
        lines = [
            f"Skill neurons of {self.task}: {self.score} score, q(t) = {self.goal_metric}, {self.n_steps} steps, "
            f"{self.good_share:.0%} of them good",
            f"{'network':<28}{'neurons':>9}{'chosen':>9}{'silent':>9}{'silent among the chosen':>25}",
        ]
        for network, row in self.counts().items():
            lines.append(f"{network:<28}{row['neurons']:>9}{row['chosen']:>9}{row['silent']:>9}{row['chosen_silent']:>25}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SkillNeurons":
        """The reverse of :meth:`to_dict`."""
        layers = {name: LayerSkill(**layer) for name, layer in data["layers"].items()}
        return cls(**{**data, "layers": layers})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON, atomically."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict()))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SkillNeurons":
        """Read what :meth:`save` wrote."""
        return cls.from_dict(json.loads(Path(path).read_text()))
