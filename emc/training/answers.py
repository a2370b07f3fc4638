"""Exact counts of right answers among those of a training that emc cannot look into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from emc.errors import TrainingError
from emc.training.counting import is_right


@dataclass(frozen=True)
class Counted:
    """Right answers.

    Attributes:
        right: how many.
        not_finite: rows with a score of NaN or infinity, or without any above minus infinity; they are wrong.
    """

    right: int
    not_finite: int = 0

    def detail(self) -> dict[str, int]:
        """What the record says of them beside their number."""
        return {"not_finite": self.not_finite} if self.not_finite else {}


def right_answers(given: Any, y: npt.NDArray[np.int64], num_classes: int, owner: str) -> Counted:
    """How many answers are right.

    Args:
        given: class numbers (n,), or scores (n, K) whose columns are the classes in their order and of which the
            largest decides, a tie being wrong as everywhere.
        y: (n,) the right classes.
        num_classes: K.
        owner: who gave them, for messages.

    Raises:
        TrainingError: they are neither, or no score at all is finite.

    >>> right_answers([0, 1, 1], np.array([0, 1, 0]), 2, "predict").right
    2
    >>> right_answers([[2.0, 1.0], [1.0, 1.0]], np.array([0, 1]), 2, "predict").right
    1
    """
    found = _as_array(given, owner)
    if found.shape == y.shape and found.dtype.kind in "iub":
        return Counted(int((found == y).sum()))
    if found.shape != (len(y), num_classes) or found.dtype.kind not in "iuf":
        raise TrainingError(
            f"{owner} must give whole class numbers of shape ({len(y)},) or scores of shape ({len(y)}, {num_classes}), "
            f"got {found.dtype} of shape {found.shape}; {_remedy(found, len(y))}"
        )
    finite = (np.isfinite(found) | np.isneginf(found)).all(1) & np.isfinite(found).any(1)  # log 0 is a score
    if not finite.any():
        raise TrainingError(
            f"{owner} must give finite scores, got none that is finite in {len(y)} rows; mend the training"
        )
    right = is_right(torch.from_numpy(found.astype(np.float64)), torch.from_numpy(y)).numpy() & finite
    return Counted(int(right.sum()), int((~finite).sum()))


def _remedy(found: npt.NDArray[Any], n: int) -> str:
    if found.shape == (n, 1) and found.dtype.kind in "iub":
        return "return predictions.ravel()"
    if found.ndim == 2:
        return "columns are classes 0 .. K-1: map clf.classes_, or return class numbers"
    return "mend it"


def _as_array(given: Any, owner: str) -> npt.NDArray[Any]:
    if isinstance(given, torch.Tensor):
        given = given.detach().cpu()
    try:
        return np.asarray(given)
    except Exception as error:  # whatever a user's own object may raise
        raise TrainingError(
            f"{owner} must give an array, got {type(given).__name__} ({type(error).__name__}); mend it"
        ) from error
