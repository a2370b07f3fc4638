"""The losses against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from emc.training.losses import CROSS_ENTROPY, Loss, SquaredLoss, loss_gradient, loss_of, one_hot

LOGITS = torch.tensor([[0.5, 2.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
Y = torch.tensor([1, 2])

SQUARED, SMOOTHED = Loss("squared"), Loss(smoothing=0.3)

#: (0.5, 1, 0) and (1, 0, -1) off the targets.
SQUARES = torch.tensor([1.25, 2.0], dtype=torch.float64)


def test_squared_is_the_sum_over_classes() -> None:
    assert torch.equal(loss_of(SQUARED, LOGITS, Y, "none"), SQUARES)
    assert loss_of(SQUARED, LOGITS, Y) == SQUARES.mean()
    assert loss_of(SQUARED, LOGITS, Y, "sum") == SQUARES.sum()
    assert SquaredLoss()(LOGITS, one_hot(LOGITS, Y)) == SQUARES.mean()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_is_torchs_own(reduction: str) -> None:
    expected = functional.cross_entropy(LOGITS, Y, reduction=reduction)
    assert torch.equal(loss_of(CROSS_ENTROPY, LOGITS, Y, reduction), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_smoothed_is_torchs_own_less_what_no_logits_can_avoid(reduction: str) -> None:
    """The entropy of a target of 0.8, 0.1 and 0.1, 0.639 nats."""
    whole = functional.cross_entropy(LOGITS, Y, reduction=reduction, label_smoothing=0.3)
    entropy = -0.8 * math.log(0.8) - 0.2 * math.log(0.1)
    assert SMOOTHED.least(3) == pytest.approx(entropy)
    found = loss_of(SMOOTHED, LOGITS, Y, reduction)
    torch.testing.assert_close(found, whole - entropy * (2 if reduction == "sum" else 1))
    best = torch.tensor([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]).double().log()
    torch.testing.assert_close(loss_of(SMOOTHED, best, Y, reduction), torch.zeros_like(found))


@pytest.mark.parametrize("name", [CROSS_ENTROPY, SQUARED, SMOOTHED], ids=str)
def test_the_gradient_is_that_of_the_weighted_sum(name: Loss) -> None:
    logits = torch.stack([LOGITS, LOGITS.flip(1), LOGITS * 30]).requires_grad_()
    y = torch.tensor([[1, 2], [0, 0], [2, 1]])
    weights = torch.tensor([[0.5, 0.5], [1.0, 0.0], [2.0, 3.0]], dtype=torch.float64)
    loss = (loss_of(name, logits.flatten(0, 1), y.flatten(), "none") * weights.flatten()).sum()
    (expected,) = torch.autograd.grad(loss, logits)
    found = loss_gradient(name, logits.transpose(1, 2), y, weights)
    torch.testing.assert_close(found.transpose(1, 2), expected, rtol=1e-12, atol=1e-14)
