"""L2: all parameters are equally important."""

import torch as th

from sb3_nbsp.baselines.quadratic_penalty import QuadraticPenalty


class L2(QuadraticPenalty):
    """
    Omega_j = 1 for every task. See :class:`~sb3_nbsp.baselines.quadratic_penalty.QuadraticPenalty`.

    Source: the control of Kirkpatrick et al. 2017 (arXiv 1612.00796, figure 2); strength of Continual World's CW20 runs.

    :param coef: strength of the penalty
    :param networks: ``actor``, ``critic`` or ``all``
    :param verbose: 1 prints each task end
    """

    def __init__(self, coef: float = 1e5, networks: str = "actor", verbose: int = 0):
        super().__init__(coef, networks, verbose)

    def importances(self, task: str, parameters: dict[str, th.nn.Parameter]) -> dict[str, th.Tensor]:
        """See :meth:`QuadraticPenalty.importances`."""
        return {name: th.ones_like(p) for name, p in parameters.items()}
