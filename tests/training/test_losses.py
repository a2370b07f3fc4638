"""The losses against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from emc.training.losses import SquaredLoss, loss_of, one_hot

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
