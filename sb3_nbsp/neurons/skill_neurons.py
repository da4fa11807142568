"""Which neurons are chosen as a task's RL skill neurons, and the frozen result of a scoring."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch as th

from sb3_nbsp.base.arguments import Share, check_values
from sb3_nbsp.base.atomic_write import replacing
from sb3_nbsp.base.names import unknown_name_message


def select_top(
    scores: Mapping[str, th.Tensor], fraction: float, eligible: Mapping[str, th.Tensor] | None = None
) -> dict[str, th.Tensor]:
    """
    Choose the highest-scored neurons of a network, all its layers ranked together.

    :param scores: score of every neuron by layer, [n_neurons]
    :param fraction: m, the share of *all* the network's neurons to choose, in [0, 1]; where it is above 0, at least one
    :param eligible: which neurons may be chosen, bool, by layer; default: all
    :return: chosen neurons by layer, bool [n_neurons]. Ties go to the earlier neuron.
    :raises ValueError: for another fraction, or scores that are NaN
    """
    check_values({"fraction": Share}, {"fraction": fraction})
    if bad := [name for name, values in scores.items() if bool(th.isnan(values).any())]:
        raise ValueError(f"scores must be numbers; those of {', '.join(bad)} hold NaN.")
    if not scores:
        return {}
    ranking = th.cat(list(scores.values()))
    allowed = th.ones_like(ranking, dtype=th.bool) if eligible is None else th.cat([eligible[name] for name in scores])
    wanted = max(round(fraction * len(ranking)), int(fraction > 0))  # of one or two neurons, a share is one, not none
    n_chosen = min(wanted, int(allowed.sum()))
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
        :raises ValueError: for a layer that was not scored, or another number of neurons
        """
        if unknown := [name for name in chosen if name not in self.layers]:
            raise ValueError(unknown_name_message("layer", unknown[0], self.layers))
        for name, neurons in chosen.items():
            if neurons.shape != (len(self.layers[name].scores),):
                wanted, got = len(self.layers[name].scores), tuple(neurons.shape)
                raise ValueError(f"The chosen neurons of {name} must be told by a tensor of shape ({wanted},); got {got}.")
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
