"""The losses against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from emc.training.losses import SquaredLoss, loss_gradient, loss_of, one_hot

LOGITS = torch.tensor([[0.5, 2.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
Y = torch.tensor([1, 2])

#: (0.5, 1, 0) and (1, 0, -1) off the targets.
SQUARES = torch.tensor([1.25, 2.0], dtype=torch.float64)


def test_squared_is_the_sum_over_classes() -> None:
    assert torch.equal(loss_of("squared", LOGITS, Y, "none"), SQUARES)
    assert loss_of("squared", LOGITS, Y) == SQUARES.mean()
    assert loss_of("squared", LOGITS, Y, "sum") == SQUARES.sum()
    assert SquaredLoss()(LOGITS, one_hot(LOGITS, Y)) == SQUARES.mean()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_is_torchs_own(reduction: str) -> None:
    expected = functional.cross_entropy(LOGITS, Y, reduction=reduction)
    assert torch.equal(loss_of("cross_entropy", LOGITS, Y, reduction), expected)


@pytest.mark.parametrize("name", ["cross_entropy", "squared"])
def test_the_gradient_is_that_of_the_weighted_sum(name: str) -> None:
    logits = torch.stack([LOGITS, LOGITS.flip(1), LOGITS * 30]).requires_grad_()
    y = torch.tensor([[1, 2], [0, 0], [2, 1]])
    weights = torch.tensor([[0.5, 0.5], [1.0, 0.0], [2.0, 3.0]], dtype=torch.float64)
    loss = (loss_of(name, logits.flatten(0, 1), y.flatten(), "none") * weights.flatten()).sum()
    (expected,) = torch.autograd.grad(loss, logits)
    found = loss_gradient(name, logits.transpose(1, 2), y, weights)
    torch.testing.assert_close(found.transpose(1, 2), expected, rtol=1e-12, atol=1e-14)
