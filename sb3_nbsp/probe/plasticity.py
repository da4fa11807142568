"""How much a network can still learn: pure functions on its activations and weights."""

import torch as th

from sb3_nbsp.neurons.networks import Network

DORMANT_BELOW = 0.025  # tau of ReDo
RANK_LEFT_OUT = 0.01  # delta of Kumar et al.


def dormant_share(activations: th.Tensor, threshold: float = DORMANT_BELOW) -> float:
    """
    Share of tau-dormant neurons (Sokar et al. 2023, definition 3.1)

        s_i = mean_t \\|a(i, t)\\| / ( mean over the layer's neurons of mean_t \\|a(k, t)\\| ),   dormant if s_i <= tau

    :param activations: [T, n_neurons] of one layer
    :param threshold: tau
    :return: in [0, 1]; 1 for a layer that is silent as a whole
    """
    mean = activations.abs().mean(dim=0)
    average = mean.mean()
    return float((mean <= threshold * average).float().mean()) if average > 0 else 1.0


def effective_rank(activations: th.Tensor, left_out: float = RANK_LEFT_OUT) -> int:
    """
    Effective rank of a layer's features (Kumar et al. 2021, section 3)

        srank = min k: (sum of the k largest singular values) / (sum of all) >= 1 - delta

    :param activations: [T, n_neurons] of one layer
    :param left_out: delta
    :return: 0 (all features are 0) to min(T, n_neurons)
    """
    values = th.linalg.svdvals(activations.double())
    if float(values.sum()) == 0:
        return 0
    shares = values.cumsum(0) / values.sum()
    return int((shares < 1 - left_out).sum()) + 1


def weight_norm(network: Network) -> float:
    """
    :param network: a network
    :return: root mean square of the parameters that feed its hidden neurons (a growing one is a sign of lost plasticity)
    """
    parameters = [parameter.detach().flatten() for layer in network.layers for parameter in layer.own]
    return float(th.cat(parameters).square().mean().sqrt()) if parameters else 0.0
