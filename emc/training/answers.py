"""Exact counts of right answers among those of a training that emc cannot look into."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from emc.errors import TrainingError
from emc.training.counting import is_right


def right_answers(given: Any, y: npt.NDArray[np.int64], num_classes: int, owner: str) -> int:
    """How many answers are right.

    Args:
        given: class numbers (n,), or scores (n, k) of which the largest decides, a tie being wrong as everywhere; k is
            at most the number of classes, and a class without a score is never right.
        y: (n,) the right classes.
        num_classes: K.
        owner: who gave them, for messages.

    Raises:
        TrainingError: they are neither.

    >>> right_answers([0, 1, 1], np.array([0, 1, 0]), 2, "predict")
    2
    >>> right_answers([[2.0, 1.0], [1.0, 1.0]], np.array([0, 1]), 2, "predict")
    1
    """
    found = _as_array(given, owner)
    if found.shape == y.shape and found.dtype.kind in "iub":
        return int((found == y).sum())
    whole = found.ndim == 2 and len(found) == len(y) and 1 <= found.shape[1] <= num_classes
    if not (whole and found.dtype.kind in "iuf"):
        raise TrainingError(
            f"{owner} must give whole class numbers of shape ({len(y)},) or scores of shape ({len(y)}, {num_classes}), "
            f"got {found.dtype} of shape {found.shape}; mend it"
        )
    scores = np.full((len(y), num_classes), -np.inf)
    scores[:, : found.shape[1]] = found
    return int(is_right(torch.from_numpy(scores), torch.from_numpy(y)).sum())


def _as_array(given: Any, owner: str) -> npt.NDArray[Any]:
    if isinstance(given, torch.Tensor):
        given = given.detach().cpu()
    try:
        return np.asarray(given)
    except Exception as error:  # whatever a user's own object may raise
        raise TrainingError(
            f"{owner} must give an array, got {type(given).__name__} ({type(error).__name__}); mend it"
        ) from error
