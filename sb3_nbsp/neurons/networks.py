"""
Where the neurons of a policy are: its hidden layers, and the parameters that feed and read each neuron.

A neuron is one output of a ``Linear`` layer, or one channel of a ``Conv1d`` or ``Conv2d`` layer, that another layer reads.
The map is read from forward passes (:mod:`sb3_nbsp.neurons.forward_graph`), so policies of one's own are understood as
well. What is added into a stream (a residual block) is a neuron of its own, read by whatever reads the stream.
"""

import warnings
from collections.abc import Sequence
from itertools import chain

import torch as th
from stable_baselines3.common.policies import BasePolicy
from torch.nn.parameter import is_lazy

from sb3_nbsp.neurons import dummy_pass
from sb3_nbsp.neurons.forward_graph import ForwardGraph
from sb3_nbsp.neurons.kinds import SCORING, Kind, kind_of
from sb3_nbsp.neurons.layers import Network, NeuronLayer, Reader
from sb3_nbsp.neurons.names import parameter_names
from sb3_nbsp.neurons.not_held import warn_of_what_is_left_out, warn_of_what_is_not_held
from sb3_nbsp.neurons.steps import THREE, TWO, Run, place_steps

__all__ = ["Network", "NeuronLayer", "Reader", "find_networks"]

IF_ANY = ("features_extractor", "mlp_extractor", "critic.features_extractor", "critic")  # networks that not all policies have


def find_networks(policy: BasePolicy) -> list[Network]:
    """
    Find the hidden layers of an SB3 or sb3-contrib policy, or of one of your own. Warns of parameters that no mask holds.

    :param policy: policy of SAC, TD3, DDPG, TQC, DQN, QRDQN, PPO or A2C, whose networks may be your own
    :return: its networks. Of PPO and A2C, what actor and critic share is a network of its own; of the others it belongs to the
        actor. A features extractor of several critics is a network of its own. None, with a warning, where no
        forward pass could be run or read.
    :raises TypeError: for a policy of another structure
    """
    kind = kind_of(policy)
    if any(is_lazy(tensor) for tensor in chain(policy.parameters(), policy.buffers())):
        _warn(policy, "has lazy layers, which have no shapes before the first forward pass")
        return []

    def outputs(rows: Sequence[int]) -> dict[str, list[th.Tensor]]:
        return {part: dummy_pass.outputs_of(run()) for part, run in kind.passes(policy, rows).items() if part in parts}

    with dummy_pass.undisturbed(policy):
        try:
            parts = _runnable(policy, kind)
        except Exception as error:  # the parent may well train it
            _warn(policy, "could not be run on a sample of its observation space", error)
            return []
        try:
            networks, graph = _read(policy, kind, outputs)
            left_out = place_steps([layer for network in networks for layer in network.layers], outputs)
        except Exception as error:  # ours, which must not stop what the parent trains: `check_wanted` stops who wants neurons
            _warn(policy, "could be run, but not read (please report it)", error)
            return []
    for network in networks:
        network.layers = [layer for layer in network.layers if layer not in left_out]
    warn_of_what_is_not_held(policy, networks, graph)
    warn_of_what_is_left_out([layer.name for layer in left_out], graph.recorded_before)
    return networks


def _warn(policy: BasePolicy, what: str, error: Exception | None = None) -> None:
    because = "" if error is None else f" ({type(error).__name__}: {error})"
    warnings.warn(
        f"{type(policy).__name__} {what}{because}: none of its neurons can be found, scored or protected.", stacklevel=3
    )


def _runnable(policy: BasePolicy, kind: Kind) -> list[str]:
    """The parts whose passes run. Scoring may refuse made-up actions; the other passes tell the layers without it."""
    parts = []
    for part, run in kind.passes(policy, THREE).items():
        try:
            run()
            parts.append(part)
        except Exception:
            if part != SCORING:
                raise
    return parts


def _read(policy: BasePolicy, kind: Kind, run: Run) -> tuple[list[Network], ForwardGraph]:
    """The networks, from one run of each pass."""
    graph = ForwardGraph(policy, parameter_names(policy))
    with graph:
        outputs = run(TWO)
    acts, judges = (graph.layers_before(outputs.get(part, [])) for part in ("actor", "critic"))
    networks, place = kind.networks(policy, acts, judges)
    hidden = set(graph.hidden())
    for unit in graph.units:
        unit.layer.feeds_critic = unit.index in judges
        network = networks[place(unit)]
        if unit in hidden:
            network.layers.append(unit.layer)
        else:  # what nothing reads
            network.output_biases += [parameter for parameter in unit.layer.own if parameter.dim() == 1]
    networks = [net for net in networks if net.layers or net.output_biases or net.name not in IF_ANY]
    return networks, graph
