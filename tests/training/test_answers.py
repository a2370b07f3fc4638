"""Answers are counted exactly, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from emc.errors import TrainingError
from emc.training.answers import Counted, right_answers

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
        (np.where(np.eye(3)[Y] > 0, 0.0, -np.inf), 4),  # log 0 is a score
        (np.array([False, True, True, True]), 3),
    ],
)
def test_right_answers_are_counted(given: Any, right: int) -> None:
    assert right_answers(given, Y, 3, "predict") == Counted(right)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_wrong_and_told(bad: float) -> None:
    scores = np.eye(3)[Y]
    scores[1, 2] = bad
    found = right_answers(scores, Y, 3, "predict")
    assert found == Counted(3, 1)
    assert found.detail() == {"not_finite": 1}


def test_scores_of_which_none_is_finite_are_a_fault() -> None:
    with pytest.raises(TrainingError, match=r"^predict must give finite scores, got none that is finite in 4 rows; m"):
        right_answers(np.full((4, 3), np.nan), Y, 3, "predict")


@pytest.mark.parametrize(
    ("given", "received", "remedy"),
    [
        (np.zeros(4), r"float64 of shape \(4,\)", "mend it"),
        (Y[:3], r"int64 of shape \(3,\)", "mend it"),
        (Y[:, None, None], r"int64 of shape \(4, 1, 1\)", "mend it"),
        (
            np.zeros((4, 4)),
            r"float64 of shape \(4, 4\)",
            r"columns are classes 0 .. K-1: map clf.classes_, or return class numbers",
        ),
        (
            np.zeros((4, 2)),
            r"float64 of shape \(4, 2\)",
            r"columns are classes 0 .. K-1: map clf.classes_, or return class numbers",
        ),
        (Y[:, None], r"int64 of shape \(4, 1\)", r"return predictions.ravel\(\)"),
        (["0", "1", "2", "1"], r"<U1 of shape \(4,\)", "mend it"),
        (None, r"object of shape \(\)", "mend it"),
        ([[1], [1, 2]], r"list \(ValueError\)", "mend it"),
    ],
)
def test_anything_else_is_told(given: Any, received: str, remedy: str) -> None:
    with pytest.raises(TrainingError, match=rf"^predict must give .*, got {received}; {remedy}$"):
        right_answers(given, Y, 3, "predict")
