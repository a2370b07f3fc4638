"""Every registered activation against its formula."""

from __future__ import annotations

import math

import pytest
import torch

from emc.errors import UnknownNameError
from emc.models.activations import ACTIVATIONS

X = torch.linspace(-3, 3, 13, dtype=torch.float64)

FORMULAS = {
    "relu": X.clamp(min=0),
    "leaky_relu": torch.where(X > 0, X, 0.01 * X),
    "leaky_relu:slope=0.3": torch.where(X > 0, X, 0.3 * X),
    "gelu": X * 0.5 * (1 + torch.erf(X / math.sqrt(2))),
    "silu": X / (1 + torch.exp(-X)),
    "elu": torch.where(X > 0, X, torch.exp(X) - 1),
    "elu:alpha=0.5": torch.where(X > 0, X, 0.5 * (torch.exp(X) - 1)),
    "tanh": (torch.exp(X) - torch.exp(-X)) / (torch.exp(X) + torch.exp(-X)),
    "sigmoid": 1 / (1 + torch.exp(-X)),
    "identity": X,
}


def test_every_registered_activation_is_held_to_a_formula() -> None:
    assert {text.partition(":")[0] for text in FORMULAS} == set(ACTIVATIONS.names())


@pytest.mark.parametrize("activation", FORMULAS)
def test_values_and_finite_gradients(activation: str) -> None:
    module = ACTIVATIONS.build(activation)
    assert not list(module.parameters())
    x = X.clone().requires_grad_()
    torch.testing.assert_close(module(x), FORMULAS[activation], rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad(module(x).sum(), x)
    assert gradient.isfinite().all()


def test_each_build_is_a_module_of_its_own() -> None:
    assert ACTIVATIONS.build("relu") is not ACTIVATIONS.build("relu")


def test_unknown_option() -> None:
    with pytest.raises(UnknownNameError, match='activation elu has no option "alhpa"; did you mean "alpha"'):
        ACTIVATIONS.build("elu:alhpa=2")
