"""
Task gates: skill neurons that answer to their own task only.

Masks hold the weights of skill neurons, and still a skill is lost: neurons that were silent on the old task wake up on its
observations while the next one is learned, and the layers above hear them (docs/evidence.md). Where the observation holds the
task's one-hot id this can be ruled out, without one old sample. At the end of a task, in every layer:

- *owned*: its skill neurons belong to it from now on. They are held, and closed on every other task.
- *gate*: one free neuron becomes the task's gate, 1 on this task and 0 on all others: the id for the layer above.
- *folded*: what the other neurons contributed is taken over by the owned ones and the gate, as well as a linear map can.
- *renewed*: the other neurons are drawn anew, are read by nothing, and are closed on this task.

An example (``tests/protection/test_gates_example.py``). Observations are [x, id of A, id of B], x = 0 to 3; two layers of four
neurons. At the end of task A neuron 0 of each layer is its skill neuron; the largest activation of each layer is 7. Rows are
weights and, behind the bar, the bias:

    lower layer      before           after
    neuron 0          1  0  0 |  0     1    0  -700 | 0    owned by A, closed on B
    neuron 1         -1  0  0 |  0     0    1     0 | 0    gate of A, as the least active
    neurons 2, 3      .  .  . |  .     .  -700    . | .    drawn anew, closed on A
    upper layer
    neuron 0          1  1  0  0 | 0.5    1  0.5  0  0 | 0    owned by A; its bias comes from the gate below
    neuron 2          0  0  0  0 | -1     0    1  0  0 | 0    gate of A
    neurons 1, 3      .  .  .  . |  .     0 -700  .  . | .    drawn anew, closed on A
    output            1  1  0  1 | 0      4  0 -0.5  0 | 0    neurons 1 and 3 are folded into 0 and the gate

On A the output is 1.5, 5.5, 9.5, 13.5, as before; on B all that A owns is 0.

So what the network does on the task, once folded, cannot change while other tasks are learned. Relatives: context-dependent
gating (Masse et al. 2018; random neurons), PackNet (Mallya & Lazebnik 2018; single weights), hard attention to the task (Serra
et al. 2018; learned). Folding is the reconstruction step of structured pruning (ThiNet, Luo et al. 2017).
"""

import warnings
from collections.abc import Mapping, Sequence

import torch as th

from sb3_nbsp.neurons.networks import Network, NeuronLayer
from sb3_nbsp.neurons.skill_neurons import SkillNeurons
from sb3_nbsp.protection.folding import fold
from sb3_nbsp.protection.ownership import CLOSED, FREE, NeuronOwners, gate_code, is_free, is_gate

FEW = 0.1  # share of free neurons in a layer below which users are warned


class TaskGates(NeuronOwners):
    """The surgery on the networks. What is remembered of it: :class:`~sb3_nbsp.protection.ownership.NeuronOwners`."""

    @th.no_grad()
    def claim(
        self, task: int, skill: SkillNeurons, activations: Mapping[str, th.Tensor], id_columns: Sequence[int], own: int
    ) -> None:
        """
        Give a task the chosen neurons, in place of those that it owned, fold what the others did into them, renew the rest.

        :param task: the task's index
        :param skill: what :meth:`choose` returned
        :param activations: of every layer on the task, [T, n_neurons]
        :param id_columns: the inputs of every network's first layer that hold the one-hot id
        :param own: the one of them that is 1 on this task
        """
        strengths = {layer.name: self._strength(layer, activations[layer.name]) for layer in self.layers}
        for network in self.networks:
            self._own(network, task, skill)
            self._pick_gates(network, task, activations)
            self._fold(network, task, activations)
            self._close_on_others(network, task, own, id_columns, strengths)
            self._renew(network, strengths)
        if self.free_share() < FEW:
            warnings.warn(
                f"After {skill.task} a layer has only {self.free_share():.0%} of its neurons free for further tasks. "
                "A smaller skill_fraction or a wider net_arch leaves more.",
                stacklevel=2,
            )

    @th.no_grad()
    def open_free(self, task: int) -> bool:
        """
        Let a task that is met again use the free neurons too, beside its own.

        :param task: its index
        :return: whether any was closed on it
        """
        changed = False
        for network in self.networks:
            source = self.id_column(task)
            for layer in network.layers:
                weight, free = layer.own[0].data, is_free(self.owner(layer))
                closed = free & (weight[:, source] <= -CLOSED)
                weight[closed, source] = 0.0
                changed = changed or bool(closed.any())
                source = self.gate(layer, task)
        return changed

    @th.no_grad()
    def close_free(self, but: int | None = None) -> bool:
        """
        Undo :meth:`open_free` for a task that was left before its end: it keeps its own neurons only.

        :param but: index of a task on which free neurons may be open
        :return: whether any was on another
        """
        changed = False
        for network in self.networks:
            first = network.layers[0]
            owner = self.owner(first)
            gates = is_gate(owner) if but is None else is_gate(owner) & ~is_gate(owner, but)
            ids = first.own[0].data[gates].argmax(dim=1)  # by what the gates read
            if bool((first.own[0].data[is_free(owner)][:, ids] > -CLOSED).any()):
                self._renew(network, {layer.name: -float(layer.own[0].min()) for layer in network.layers})
                changed = True
        return changed

    def _strength(self, layer: NeuronLayer, activations: th.Tensor) -> float:
        """How strongly neurons of a layer are closed; never less than for the tasks before."""
        return max(CLOSED * max(float(activations.max()), 1.0), -float(layer.own[0].min()))

    # The five stages of a claim

    def _own(self, network: Network, task: int, skill: SkillNeurons) -> None:
        """The chosen neurons are the task's, in place of those that it owned."""
        for layer in network.layers:
            owner = self.owner(layer)  # [n_neurons]
            owner[owner == task] = FREE
            owner[skill.chosen(layer.name).to(owner.device)] = task

    def _pick_gates(self, network: Network, task: int, activations: Mapping[str, th.Tensor]) -> None:
        """In each layer the least active free neuron becomes the task's gate, if the task has none yet."""
        for layer in network.layers:
            owner, mean = self.owner(layer), activations[layer.name].mean(dim=0)  # [n_neurons]
            if not bool(is_gate(owner, task).any()):
                free = is_free(owner).to(mean.device)
                owner[int(mean.masked_fill(~free, th.inf).argmin())] = gate_code(task)

    def _fold(self, network: Network, task: int, activations: Mapping[str, th.Tensor]) -> None:
        """
        What the other neurons contributed on the task is taken over by the owned ones and the gate: each weight row that reads
        a layer gets a correction [n_owned] and a constant (the gate's weight). From the first layer on, so that each corrects
        for what the one below could not keep.
        """
        kept: th.Tensor | None = None  # what the owned neurons of the layer below do now, [T, n_owned], in float64
        below: NeuronLayer | None = None
        for layer, above in zip(network.layers, [*network.layers[1:], None], strict=True):
            weight, bias = (parameter.data.double() for parameter in layer.own)
            full = activations[layer.name].to(weight)
            owned, gate = self.owner(layer) == task, self.gate(layer, task)
            if below is None or kept is None:
                kept = full[:, owned]
            else:
                own_below = self.owner(below) == task
                inputs = kept @ weight[owned][:, own_below].T + weight[owned, self.gate(below, task)]
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

    def _close_on_others(
        self, network: Network, task: int, own: int, id_columns: Sequence[int], strengths: Mapping[str, float]
    ) -> None:
        """
        Owned neurons answer to their task only, and so does the gate, by 1. In the first layer the other tasks' ids close
        them; above it they read nothing but the task's own neurons, so once the bias comes from the gate they are silent
        where those are.
        """
        source = own  # the input, or the gate below, that is 1 on this task and 0 on all others
        for layer in network.layers:
            weight, bias = (parameter.data for parameter in layer.own)  # [n_neurons, n_in], [n_neurons]
            owned, gate = self.owner(layer) == task, self.gate(layer, task)
            weight[owned, source] += bias[owned]
            bias[owned] = 0.0
            weight[gate], bias[gate] = 0.0, 0.0
            weight[gate, source] = 1.0
            source = gate
        first = network.layers[0]
        others = _columns([column for column in id_columns if column != own], first.own[0])  # [1, n_in]
        first.own[0].data[(self.owner(first) == task)[:, None] & others] = -strengths[first.name]

    def _renew(self, network: Network, strengths: Mapping[str, float]) -> None:
        """
        Draw the free neurons anew, as nn.Linear does for the inputs that are open. They are read by nothing, and closed on
        every task that has neurons.
        """
        for layer in network.layers:
            for reader in layer.readers:
                reader.parameter.data[:, is_free(self.owner(layer))] = 0.0
        first = network.layers[0]
        # What is 1 on a task that has neurons: in the first layer its id, by what the gates read; above it the gate below.
        sources = first.own[0].data[is_gate(self.owner(first))].argmax(dim=1)
        taken = sources
        n_open = first.own[0].shape[1]
        for layer in network.layers:
            weight, bias = (parameter.data for parameter in layer.own)  # [n_neurons, n_in], [n_neurons]
            owner = self.owner(layer)
            free = is_free(owner)
            bound = max(n_open, 1) ** -0.5
            weight[free] = th.empty_like(weight[free]).uniform_(-bound, bound)
            bias[free] = th.empty_like(bias[free]).uniform_(-bound, bound)
            weight[free[:, None] & _columns(taken, weight)] = 0.0  # whatever owned neurons do opens nothing
            weight[free[:, None] & _columns(sources, weight)] = -strengths[layer.name]
            sources, taken = is_gate(owner).nonzero()[:, 0], (~free).nonzero()[:, 0]
            n_open = int(free.sum())


def _columns(indices: th.Tensor | Sequence[int], weight: th.Tensor) -> th.Tensor:
    """[1, n_in], true at the indices."""
    columns = th.zeros(1, weight.shape[1], dtype=th.bool, device=weight.device)
    columns[0, indices] = True
    return columns
