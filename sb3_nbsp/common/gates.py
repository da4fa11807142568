"""
Task gates: skill neurons that answer to their own task only.

Masks hold the weights of skill neurons, and still a skill is lost: neurons that were silent on the old task wake up on its
observations while the next one is learned, and the layers above hear them (docs/evidence.md). Where the observation holds the
task's one-hot id this can be ruled out, without one old sample. At the end of a task, in every layer:

- *owned*: its skill neurons belong to it from now on. They are held, and closed on every other task.
- *gate*: one free neuron becomes the task's gate, 1 on this task and 0 on all others: the id for the layer above.
- *folded*: what the other neurons contributed is taken over by the owned ones and the gate, as well as a linear map can.
- *renewed*: the other neurons are drawn anew, are read by nothing, and are closed on this task.

So what the network does on the task, once folded, cannot change while other tasks are learned. Relatives: context-dependent
gating (Masse et al. 2018; random neurons), PackNet (Mallya & Lazebnik 2018; single weights), hard attention to the task (Serra
et al. 2018; learned). Folding is the reconstruction step of structured pruning (ThiNet, Luo et al. 2017).
"""

import warnings
from collections.abc import Mapping, Sequence

import torch as th
from torch import nn

from sb3_nbsp.common.neurons import Network, NeuronLayer
from sb3_nbsp.common.skill_neurons import SkillNeurons, select_top

FREE = -1
# What closes a neuron: more than its other inputs together, and little enough that float32 still holds them beside it.
CLOSED = 100.0
RIDGE = 1e-4  # of the least squares, relative to the kept neurons' mean variance
FEW = 0.1  # share of free neurons in a layer below which users are warned


class TaskGates(nn.Module):
    """
    Which neuron belongs to which task. Kept in the state dict: an int buffer [n_neurons] per layer, with -1 for a free neuron,
    k >= 0 for one that task k owns, -2 - k for the gate of task k.

    :param networks: those whose neurons can be owned, see :func:`~sb3_nbsp.common.neurons.find_networks`
    :raises ValueError: for networks that are no plain chains of ReLU layers
    """

    def __init__(self, networks: Sequence[Network]):
        super().__init__()
        self.networks = [network for network in networks if network.layers]
        for network in self.networks:
            check_chain(network)
        self.layers = [layer for network in self.networks for layer in network.layers]
        for layer in self.layers:
            self.register_buffer(_key(layer), th.full((layer.n_neurons,), FREE))

    def owner(self, layer: NeuronLayer) -> th.Tensor:
        """See the class; int [n_neurons]."""
        return self._buffers[_key(layer)]  # type: ignore[return-value]

    def owns(self, task: int) -> bool:
        """Whether a task, given by its index, owns neurons."""
        return any(bool((self.owner(layer) == task).any()) for layer in self.layers)

    def free_share(self) -> float:
        """Share of the neurons that the next task can use, in the layer where they are fewest, in [0, 1]."""
        return min((float((self.owner(layer) == FREE).float().mean()) for layer in self.layers), default=1.0)

    def reset(self) -> None:
        """Free all neurons."""
        for layer in self.layers:
            self.owner(layer).fill_(FREE)

    def factors(self, task: int, released: bool = False) -> dict[str, th.Tensor]:
        """
        Mask factors on behalf of a task: 0 for what it owns and for all gates, else 1.

        :param task: its index
        :param released: leave what it owns free, because it is being learned again
        :return: by layer name, [n_neurons]
        """
        result = {}
        for layer in self.layers:
            owner = self.owner(layer)
            held = (owner < FREE) if released else (owner < FREE) | (owner == task)
            result[layer.name] = (~held).float()
        return result

    def choose(self, skill: SkillNeurons, task: int, fraction: float) -> SkillNeurons:
        """
        Choose a task's neurons: in each layer the highest-scored that are free and not silent. (If chosen over all layers
        together, as NBSP does, one might get none, and nothing would pass.) A task that owns neurons keeps them.

        :param skill: the scores
        :param task: the task's index
        :param fraction: m, share of each layer's neurons
        :return: the scores with these neurons as the chosen ones; none at all where a layer has not two free neurons left
        """
        owned = {layer.name: (self.owner(layer) == task).cpu() for layer in self.layers}
        if self.owns(task):
            return skill.with_chosen(owned)
        free = {layer.name: (self.owner(layer) == FREE).cpu() for layer in self.layers}
        if min(int(neurons.sum()) for neurons in free.values()) < 2:
            warnings.warn(
                f"{skill.task} gets no neurons, so nothing of it is held: a layer has fewer than two free ones left. "
                "A smaller skill_fraction or a wider net_arch leaves more.",
                stacklevel=2,
            )
            return skill.with_chosen({})
        chosen: dict[str, th.Tensor] = {}
        for layer in self.layers:
            result = skill.layers[layer.name]
            room = (int(free[layer.name].sum()) - 1) / layer.n_neurons  # one is left for the gate
            eligible = free[layer.name] & (th.tensor(result.active_share) > 0)
            chosen |= select_top({layer.name: th.tensor(result.scores)}, min(fraction, room), {layer.name: eligible})
        return skill.with_chosen(chosen)

    @th.no_grad()
    def claim(self, task: int, skill: SkillNeurons, activations: Mapping[str, th.Tensor], id_column: int) -> None:
        """
        Give a task the chosen neurons, fold what they leave into them, and renew the rest.

        :param task: the task's index
        :param skill: what :meth:`choose` returned
        :param activations: of every layer on the task, [T, n_neurons]
        :param id_column: index of the input, of every network's first layer, that is 1 on this task and 0 on all others
        """
        for network in self.networks:
            for layer in network.layers:
                owner = self.owner(layer)
                owner[skill.chosen(layer.name).to(owner.device)] = task
                owner[self._least_active(layer, activations[layer.name])] = -2 - task
            self._fold(network, task, activations)
            self._open_for(network, task, id_column)
            self._renew(network)
        if self.free_share() < FEW:
            warnings.warn(
                f"After {skill.task} a layer has only {self.free_share():.0%} of its neurons free for further tasks. "
                "A smaller skill_fraction or a wider net_arch leaves more.",
                stacklevel=2,
            )

    def _least_active(self, layer: NeuronLayer, activations: th.Tensor) -> int:
        free = (self.owner(layer) == FREE).to(activations.device)
        return int(activations.mean(dim=0).masked_fill(~free, th.inf).argmin())

    def _gate(self, layer: NeuronLayer, task: int) -> int:
        return int((self.owner(layer) == -2 - task).nonzero()[0, 0])

    def _fold(self, network: Network, task: int, activations: Mapping[str, th.Tensor]) -> None:
        """From the first layer on, so that each corrects for what the one below could not keep."""
        kept: th.Tensor | None = None  # what the owned neurons of the layer below do now, [T, n_owned], in float64
        below: NeuronLayer | None = None
        for layer, above in zip(network.layers, [*network.layers[1:], None], strict=True):
            weight, bias = (parameter.data.double() for parameter in layer.own)
            full = activations[layer.name].to(weight)
            owned, gate = self.owner(layer) == task, self._gate(layer, task)
            if below is None or kept is None:
                kept = full[:, owned]
            else:
                own_below = self.owner(below) == task
                inputs = kept @ weight[owned][:, own_below].T + weight[owned, self._gate(below, task)]
                kept = (inputs + bias[owned]).relu()
            for reader in layer.readers:
                parameter = reader.parameter.data
                rows = self.owner(above) == task if above and reader.parameter is above.own[0] else slice(None)
                before = parameter[rows].double()
                correction, constant = fold(full @ before.T, kept, before[:, owned])
                after = before.clone()
                after[:, owned] += correction
                after[:, gate] = constant
                parameter[rows] = after.to(parameter)
            below = layer

    def _open_for(self, network: Network, task: int, id_column: int) -> None:
        """Owned neurons answer to their task only; so does the gate, by 1."""
        source = id_column
        for layer in network.layers:
            weight, bias = (parameter.data for parameter in layer.own)
            owned, gate = self.owner(layer) == task, self._gate(layer, task)
            weight[owned, source] += CLOSED
            bias[owned] -= CLOSED
            weight[gate], bias[gate] = 0.0, 0.0
            weight[gate, source] = 1.0
            source = gate

    def _renew(self, network: Network) -> None:
        """Draw the free neurons anew, as nn.Linear does for the inputs that are open; closed on all tasks with neurons."""
        for layer in network.layers:
            for reader in layer.readers:
                reader.parameter.data[:, self.owner(layer) == FREE] = 0.0
        first = network.layers[0]
        sources = first.own[0].data[self.owner(first) < FREE].argmax(dim=1)  # the id columns, by what the gates read
        n_open = first.own[0].shape[1]
        for layer in network.layers:
            weight, bias = (parameter.data for parameter in layer.own)
            free = self.owner(layer) == FREE
            bound = max(n_open, 1) ** -0.5
            weight[free] = th.empty_like(weight[free]).uniform_(-bound, bound)
            bias[free] = th.empty_like(bias[free]).uniform_(-bound, bound)
            weight[free[:, None] & _columns(sources, weight)] = -CLOSED
            sources = (self.owner(layer) < FREE).nonzero()[:, 0]
            n_open = int(free.sum())


def fold(targets: th.Tensor, kept: th.Tensor, weights: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
    """
    How the kept neurons best make up for those that go: ridge regression of what is missing,

        min over D, c of  mean_t || z(t) - (W + D) h(t) - c ||^2 + ridge ||D||^2

    :param targets: z, what the layer above got from all neurons, [T, n_out]
    :param kept: h, the kept neurons' activations, [T, n_kept]
    :param weights: W, their weights, [n_out, n_kept]
    :return: D [n_out, n_kept] and c [n_out]; both are 0 where nothing is missing
    """
    missing = targets - kept @ weights.T
    centred = kept - kept.mean(dim=0)
    covariance = centred.T @ centred / len(kept)
    ridge = RIDGE * covariance.diagonal().mean().clamp_min(1e-12) if len(covariance) else 0.0
    identity = th.eye(len(covariance)).to(covariance)
    correction = th.linalg.solve(covariance + ridge * identity, centred.T @ missing / len(kept)).T
    return correction, missing.mean(dim=0) - correction @ kept.mean(dim=0)


def check_chain(network: Network) -> None:
    """
    :param network: a network whose neurons shall be gated
    :raises ValueError: if it is anything but a chain of linear layers with biases and ReLU
    """
    for layer, above in zip(network.layers, [*network.layers[1:], None], strict=True):
        plain = [parameter.dim() for parameter in layer.own] == [2, 1] and isinstance(layer.activation, nn.ReLU)
        simple = all((reader.dim, reader.start, reader.span) == (1, 0, 1) for reader in layer.readers)
        if not plain or not simple or (above and all(reader.parameter is not above.own[0] for reader in layer.readers)):
            raise ValueError(
                f"task_gates=True needs networks of linear layers with biases and ReLU, got another one at {layer.name} "
                f"({type(layer.activation).__name__}). Use an MlpPolicy with policy_kwargs=dict(activation_fn=torch.nn.ReLU), "
                "without normalisation layers and gSDE, or task_gates=False."
            )


def _columns(indices: th.Tensor, weight: th.Tensor) -> th.Tensor:
    """[1, n_in], true at the indices."""
    columns = th.zeros(1, weight.shape[1], dtype=th.bool, device=weight.device)
    columns[0, indices] = True
    return columns


def _key(layer: NeuronLayer) -> str:
    """Buffer names must not contain dots."""
    return layer.name.replace(".", "/")
