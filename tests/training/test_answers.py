"""Answers are counted exactly, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from emc.errors import TrainingError
from emc.training.answers import right_answers

Y = np.array([0, 1, 2, 1])


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (Y, 4),
        ([0, 1, 2, 2], 3),
        ([-1, -1, 7, 1], 1),
        (torch.tensor([0, 1, 0, 0]), 2),
        (np.eye(3)[Y], 4),
        (torch.eye(3, requires_grad=True)[Y], 4),
        (np.zeros((4, 3)), 0),  # a tie is wrong
        (np.full((4, 3), np.nan), 0),
        ([[1, 0], [0, 1], [0, 1], [0, 1]], 3),  # no score for class 2
        (np.array([False, True, True, True]), 3),
    ],
)
def test_right_answers_are_counted(given: Any, right: int) -> None:
    assert right_answers(given, Y, 3, "predict") == right


@pytest.mark.parametrize(
    ("given", "received"),
    [
        (np.zeros(4), r"float64 of shape \(4,\)"),
        (Y[:3], r"int64 of shape \(3,\)"),
        (Y[:, None, None], r"int64 of shape \(4, 1, 1\)"),
        (np.zeros((4, 4)), r"float64 of shape \(4, 4\)"),
        (["0", "1", "2", "1"], r"<U1 of shape \(4,\)"),
        (None, r"object of shape \(\)"),
        ([[1], [1, 2]], r"list \(ValueError\)"),
    ],
)
def test_anything_else_is_told(given: Any, received: str) -> None:
    with pytest.raises(TrainingError, match=rf"^predict must give .*, got {received}; mend it$"):
        right_answers(given, Y, 3, "predict")
