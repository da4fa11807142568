"""What protects an agent's neurons, put together: its masks and, where it has them, its task gates."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

import torch as th
from torch import nn

from sb3_nbsp.neurons.networks import Network
from sb3_nbsp.neurons.skill_neurons import SkillNeurons
from sb3_nbsp.protection.gates import TaskGates
from sb3_nbsp.protection.masks import MaskSides, NeuronMasks


class Protection:
    """
    The masks and task gates of one agent.

    It says by which factors parameters may change (:meth:`parameter_factors`); to obey them is the optimizers' part, see
    :class:`~sb3_nbsp.protection.optimizer.MaskedOptimizer`.

    :param networks: all networks of the policy, see :func:`~sb3_nbsp.neurons.find_networks`
    :param mask_networks: which networks' neurons can be skill neurons; what actor and critic share counts for both
    :param sides: see :class:`~sb3_nbsp.protection.masks.NeuronMasks`
    :param output_biases: see there
    :param task_gates: whether skill neurons answer to their own task only; they are held as a whole then
    :param targets: pairs of a network and the target network that follows it
    :raises ValueError: where the networks cannot be gated
    """

    def __init__(
        self,
        networks: Sequence[Network],
        mask_networks: Literal["all", "actor", "critic"] = "all",
        sides: MaskSides = "incoming",
        output_biases: bool = False,
        task_gates: bool = False,
        targets: Sequence[tuple[nn.Module, nn.Module]] = (),
    ):
        wanted = ("actor", "critic", "shared") if mask_networks == "all" else (mask_networks, "shared")
        self.mask_networks = mask_networks
        self.networks = [network for network in networks if network.part in wanted]
        if mask_networks == "critic":
            self.networks = [*_read_by_critics(networks), *self.networks]
        self.masks = NeuronMasks(networks, "both" if task_gates else sides, output_biases or task_gates)
        self.gates = TaskGates(self.networks) if task_gates else None
        self.targets = list(targets)

    def check_wanted(self, skill_fraction: float) -> None:
        """
        :param skill_fraction: m, share of each layer's neurons that shall be held
        :raises ValueError: if the policy could not be read, or if it has neurons, and the networks that are wanted have none.
            (A linear policy has none at all.)
        """
        if skill_fraction == 0:
            return
        if not self.masks.networks:
            raise ValueError(
                "Expected a policy whose neurons can be found, got one that could not be read (the warning before says why): "
                "nothing would be held. Change what it says, or train the policy as the parent does with skill_fraction=0."
            )
        found = [network for network in self.masks.networks if network.layers] or self.masks.networks
        if {network.name for network in found}.isdisjoint(network.name for network in self.networks):
            there = ", ".join(f"{network.name} ({network.part})" for network in found)
            raise ValueError(
                f'mask_networks="{self.mask_networks}" names no network with neurons: this agent\'s are {there}. Nothing '
                'would be held. Use mask_networks="all", or skill_fraction=0.'
            )

    def to(self, device: th.device) -> "Protection":
        """Move the factors to a device."""
        self.masks.to(device)
        if self.gates is not None:
            self.gates.to(device)
        return self

    def states(self) -> dict[str, nn.Module]:
        """What is saved with a model, by its name in the file."""
        return {"neuron_masks": self.masks} | ({} if self.gates is None else {"gates": self.gates})

    def parameter_factors(self) -> dict[th.Tensor, th.Tensor]:
        """
        :return: by parameter, in its shape, in [0, 1]; parameters that are left out are free
        """
        factors = self.masks.parameter_factors()
        if self.gates is not None:
            self.gates.hold_closed(factors)
        return factors

    # The end of a task

    def claim(
        self,
        task: int,
        skill: SkillNeurons,
        fraction: float,
        activations: Mapping[str, th.Tensor],
        id_columns: Sequence[int],
        own: int,
    ) -> SkillNeurons:
        """
        Let a task own its skill neurons, which are closed on all other tasks from now on. Needs task gates.

        :param task: the task's index
        :param skill: the scores
        :param fraction: m, share of each layer's neurons
        :param activations: of every layer on the task, [T, n_neurons]
        :param id_columns: the inputs that hold the one-hot id
        :param own: the one of them that is 1 on this task
        :return: the scores, with the neurons that it owns as the chosen ones
        """
        assert self.gates is not None
        skill = self.gates.choose(skill, task, fraction)
        if skill.has_chosen:
            self.gates.claim(task, skill, activations, id_columns, own)
        else:
            self.gates.close_free()
        self._copy_to_targets()
        return skill

    def hold(self, task: int, skill: SkillNeurons | None, mask_coef: float) -> None:
        """
        Hold a task's skill neurons, in place of those that were held for it before:

            factor(N) = alpha * (1 - score(N)) for a skill neuron, else 1    (NBSP's adaptive mask)

        and, with task gates, 0 for what the task owns.

        :param task: the task's index
        :param skill: scores and chosen neurons; ``None`` holds nothing
        :param mask_coef: alpha, in [0, 1]
        """
        factors: Mapping[str, th.Tensor] = {}
        if skill is not None:
            factors = _adaptive_mask(skill, mask_coef) if self.gates is None else self.gates.factors(task)
        self.masks.hold(task, factors)

    # The beginning of a task

    def hold_owned(self, n_tasks: int, relearned: int | None) -> None:
        """
        With task gates: hold all that tasks own, but for the task that is learned again. Warns where the task that begins will
        get no neurons.

        :param n_tasks: number of tasks that were learned
        :param relearned: index of the task that begins, if it is one of them
        """
        for index in range(n_tasks if self.gates is not None else 0):
            assert self.gates is not None
            self.masks.hold(index, {} if index == relearned else self.gates.factors(index))
        if self.gates is not None and not self.gates.has_room(n_tasks if relearned is None else relearned):
            warnings.warn(
                "The task that begins will be trained in vain: a layer has fewer than two neurons that are free, one for the "
                "task and one for its gate. A smaller skill_fraction or a wider net_arch leaves more.",
                stacklevel=3,
            )

    def open_free(self, relearned: int | None) -> bool:
        """
        With task gates: let a task that is learned again use the free neurons too, and no other old task.

        :param relearned: index of the task that begins, if it was learned before
        :return: whether any weight was changed
        """
        if self.gates is None:
            return False
        changed = self.gates.close_free(but=relearned)
        if relearned is not None and self.gates.owns(relearned):
            changed = self.gates.open_free(relearned) or changed
        if changed:
            self._copy_to_targets()
        return changed

    def _copy_to_targets(self) -> None:
        for network, target in self.targets:
            target.load_state_dict(network.state_dict())


def _read_by_critics(networks: Sequence[Network]) -> list[Network]:
    """Of the actors only the layers that critics read, too: the features extractor that SAC's and TQC's can share."""
    actors = [network for network in networks if network.part == "actor"]
    found = [Network(net.name, net.part, [layer for layer in net.layers if layer.feeds_critic]) for net in actors]
    return [network for network in found if network.layers]


def _adaptive_mask(skill: SkillNeurons, mask_coef: float) -> dict[str, th.Tensor]:
    return {
        name: th.where(skill.chosen(name), mask_coef * (1 - th.tensor(layer.scores)), 1.0)
        for name, layer in skill.layers.items()
    }
