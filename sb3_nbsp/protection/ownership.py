"""Which neuron belongs to which task: the books of the task gates."""

import warnings
from collections.abc import Sequence

import torch as th
from torch import nn

from sb3_nbsp.neurons.networks import Network, NeuronLayer
from sb3_nbsp.neurons.skill_neurons import SkillNeurons, select_top

FREE = -1
# The weight that closes a neuron, relative to its layer's largest activation on the task (but at least to 1): to open it on
# that task, weights would have to grow a hundredfold; to open the task's neurons on another, observations would.
CLOSED = 100.0


def gate_code(task: int) -> int:
    """What stands in the books for the gate of a task: -2 for task 0, -3 for task 1, ..."""
    return -2 - task


def is_free(owner: th.Tensor) -> th.Tensor:
    """Which neurons belong to no task and are no gate, bool, in the shape of ``owner``."""
    return owner == FREE


def is_gate(owner: th.Tensor, task: int | None = None) -> th.Tensor:
    """Which neurons are the gate of a task, or of any, bool, in the shape of ``owner``."""
    return owner < FREE if task is None else owner == gate_code(task)


class NeuronOwners(nn.Module):
    """
    Which neuron belongs to which task. Kept in the state dict: an int buffer [n_neurons] per layer, with -1 for a free neuron,
    k >= 0 for one that task k owns, and :func:`gate_code` for the gate of task k.

    :param networks: those whose neurons can be owned, see :func:`~sb3_nbsp.neurons.networks.find_networks`
    :raises ValueError: for networks that are no plain chains of ReLU layers, or where there are none
    """

    def __init__(self, networks: Sequence[Network]):
        super().__init__()
        self.networks = list(networks)
        if not self.networks:
            raise ValueError("task_gates=True needs hidden layers, but mask_networks names no network of this algorithm.")
        for network in self.networks:
            check_chain(network)
        self.layers = [layer for network in self.networks for layer in network.layers]
        for layer in self.layers:
            self.register_buffer(layer.key, th.full((layer.n_neurons,), FREE))

    def owner(self, layer: NeuronLayer) -> th.Tensor:
        """See the class; int [n_neurons]."""
        return self._buffers[layer.key]  # type: ignore[return-value]

    def owns(self, task: int) -> bool:
        """Whether a task, given by its index, owns neurons."""
        return any(bool((self.owner(layer) == task).any()) for layer in self.layers)

    def id_column(self, task: int) -> int:
        """The input that is 1 on a task with neurons and 0 on all others: what its gates read."""
        first = self.layers[0]
        return int(first.own[0][self.gate(first, task)].argmax())

    def free_share(self) -> float:
        """Share of the neurons that the next task can use, in the layer where they are fewest, in [0, 1]."""
        return min((float(is_free(self.owner(layer)).float().mean()) for layer in self.layers), default=1.0)

    def has_room(self, task: int) -> bool:
        """Whether every layer has a neuron for a task, given by its index, and one for its gate if it has none yet."""
        n_needed = 1 if self.owns(task) else 2
        return min(int(neurons.sum()) for neurons in self._available(task).values()) >= n_needed

    def _available(self, task: int) -> dict[str, th.Tensor]:
        """By layer name which neurons are free or the task's, bool [n_neurons]."""
        owners = {layer.name: self.owner(layer).cpu() for layer in self.layers}
        return {name: is_free(owner) | (owner == task) for name, owner in owners.items()}

    def reset(self) -> None:
        """Free all neurons."""
        for layer in self.layers:
            self.owner(layer).fill_(FREE)

    def factors(self, task: int) -> dict[str, th.Tensor]:
        """
        Mask factors on behalf of a task: 0 for its neurons and its gates, else 1.

        :param task: its index
        :return: by layer name, [n_neurons]
        """
        owners = {layer.name: self.owner(layer) for layer in self.layers}
        return {name: 1 - ((owner == task) | is_gate(owner, task)).float() for name, owner in owners.items()}

    def hold_closed(self, factors: dict[th.Tensor, th.Tensor]) -> None:
        """
        Hold what makes gates and closes neurons, which neither a task that is learned again nor weight decay may change.

        :param factors: of the entries of parameters, by parameter; changed in place
        """
        for layer in self.layers:
            owner, (weight, bias) = self.owner(layer), layer.own
            for parameter in (weight, bias):
                factors.setdefault(parameter, th.ones_like(parameter))
            factors[weight][is_gate(owner)[:, None] | (weight <= -CLOSED)] = 0.0
            factors[bias][~is_free(owner)] = 0.0

    def choose(self, skill: SkillNeurons, task: int, fraction: float) -> SkillNeurons:
        """
        Choose a task's neurons: in each layer the highest-scored that are not silent, among the free ones and those that it
        owns from an earlier visit. (If chosen over all layers together, as NBSP does, one might get none, and nothing would
        pass.)

        :param skill: the scores
        :param task: the task's index
        :param fraction: m, share of each layer's neurons
        :return: the scores with these neurons as the chosen ones; none at all where scores say nothing, or where a layer has
            no neuron left for the task and its gate
        """
        if not self.has_room(task):  # before the scores, which say nothing where no neuron can learn
            warnings.warn(
                f"{skill.task} gets no neurons, so nothing of it is held: a layer has fewer than two free ones left. "
                "A smaller skill_fraction or a wider net_arch leaves more.",
                stacklevel=2,
            )
            return skill.with_chosen({})
        if not skill.has_chosen:
            return skill
        available, n_gates = self._available(task), 0 if self.owns(task) else 1
        chosen: dict[str, th.Tensor] = {}
        for layer in self.layers:
            result = skill.layers[layer.name]
            room = (int(available[layer.name].sum()) - n_gates) / layer.n_neurons
            share = min(max(fraction, 1 / layer.n_neurons), room)  # through a layer without any nothing would pass
            eligible = available[layer.name] & (th.tensor(result.active_share) > 0)
            chosen |= select_top({layer.name: th.tensor(result.scores)}, share, {layer.name: eligible})
        return skill.with_chosen(chosen)

    def gate(self, layer: NeuronLayer, task: int) -> int:
        """The neuron of a layer that is a task's gate."""
        return int(is_gate(self.owner(layer), task).nonzero()[0, 0])


def check_chain(network: Network) -> None:
    """
    :param network: a network whose neurons shall be gated
    :raises ValueError: if it is anything but a chain of linear layers with biases and ReLU
    """
    if not network.layers:
        raise ValueError(
            f"task_gates=True needs hidden layers, but the network {network.name} has none. Give it some with net_arch, or "
            "leave it out with mask_networks."
        )
    for layer, above in zip(network.layers, [*network.layers[1:], None], strict=True):
        plain = [parameter.dim() for parameter in layer.own] == [2, 1] and isinstance(layer.activation, nn.ReLU)
        simple = layer.is_plain and all((reader.dim, reader.start, reader.span) == (1, 0, 1) for reader in layer.readers)
        read_by = {id(reader.parameter) for reader in layer.readers}
        hidden = {id(other.own[0]) for other in network.layers}
        in_order = read_by == {id(above.own[0])} if above else not read_by & hidden
        if not plain or not simple or not in_order:
            raise ValueError(
                f"task_gates=True needs networks of linear layers with biases and ReLU, got another one at {layer.name} "
                f"({type(layer.activation).__name__}). Use an MlpPolicy with policy_kwargs=dict(activation_fn=torch.nn.ReLU), "
                "without normalisation layers and gSDE, or task_gates=False."
            )
