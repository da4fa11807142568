"""Factors that a masked optimizer refuses."""

import pytest
import torch as th
from torch import nn
from torch.optim import SGD

from sb3_nbsp.protection import MaskedOptimizer


@pytest.mark.parametrize(
    "parameter, factors, words",
    [
        (th.ones(3, 2), th.tensor([0.0, 1.0, 1.0]), r"shape \(3, 2\), got \(3,\)"),
        (th.ones(2, 2), th.tensor([1.0, 0.0]), r"shape \(2, 2\), got \(2,\)"),
        (th.ones(3), th.tensor([0.0, 1.0, 2.0]), r"in \[0, 1\], got 0\.0 to 2\.0"),
        (th.ones(2), th.tensor([-0.5, 1.0]), r"in \[0, 1\], got -0\.5 to 1\.0"),
        (th.ones(2), th.tensor([th.nan, 1.0]), r"in \[0, 1\], got nan"),
        (th.tensor(1.0), th.tensor(0.0), r"single number.*shape \(1,\)"),
    ],
)
def test_factors_that_are_none_are_refused(parameter, factors, words):
    parameter = nn.Parameter(parameter)
    optimizer = MaskedOptimizer(SGD([parameter], lr=1.0))
    with pytest.raises(ValueError, match=words):
        optimizer.set_factors({parameter: factors})
    assert not optimizer.is_masking


PARAMETER = nn.Parameter(th.ones(2))


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"x": 1}, "the object itself; got 'x'"),
        ({nn.Linear(1, 1): th.zeros(1)}, "got Linear, which is none"),
        ({0: th.zeros(2)}, "got int, which is none"),
        ({PARAMETER.data: th.zeros(2)}, "got Tensor, which is none"),
        ({PARAMETER * 1: th.zeros(2)}, "got Tensor, which is none"),
        ({PARAMETER: 0}, "a tensor of factors.*got int"),
        ([PARAMETER], "dict of tensors by parameter; got list"),
    ],
)
def test_factors_of_what_is_no_parameter_are_refused(factors, words):
    optimizer = MaskedOptimizer(SGD([PARAMETER], lr=1.0))
    with pytest.raises(TypeError, match=words):
        optimizer.set_factors(factors)
    assert not optimizer.is_masking


def test_a_learned_tensor_is_a_parameter_too():
    """SB3's ``log_ent_coef`` is no ``nn.Parameter``, and a frozen parameter needs no gradient."""
    learned, frozen = th.zeros(1, requires_grad=True), nn.Parameter(th.ones(2), requires_grad=False)
    optimizer = MaskedOptimizer(SGD([learned], lr=1.0))
    optimizer.set_factors({learned: th.zeros(1), frozen: th.zeros(2)})
    assert optimizer.is_masking


def test_a_single_number_that_is_free_is_not_refused():
    MaskedOptimizer(SGD([number := nn.Parameter(th.tensor(1.0))])).set_factors({number: th.tensor(1.0)})
