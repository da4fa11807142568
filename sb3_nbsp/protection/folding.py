"""Folding: the work of neurons that go is taken over by those that stay."""

import torch as th

RIDGE = 1e-4  # of the least squares, relative to the kept neurons' mean variance
ROUNDING = 1e-12  # variance, relative to the mean square, below which neurons count as constant


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
    if kept.shape[1] == 0:
        return th.zeros_like(weights), missing.mean(dim=0)
    centred = kept - kept.mean(dim=0)
    covariance = centred.T @ centred / len(kept)
    ridge = RIDGE * covariance.diagonal().mean() + ROUNDING * kept.square().mean() + th.finfo(kept.dtype).tiny
    identity = th.eye(len(covariance)).to(covariance)
    correction = th.linalg.solve(covariance + ridge * identity, centred.T @ missing / len(kept)).T
    return correction, missing.mean(dim=0) - correction @ kept.mean(dim=0)
