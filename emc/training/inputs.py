"""Inputs that are not in memory as a whole: gathered row by row, converted and moved a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from torch import Tensor

    from emc.data.rows import Rows

#: Bytes of inputs that a training may hold. A fixed number, since it decides which trainer trains a pool that is not
#: in memory, and trainers differ in the last bits of a verdict.
HELD_BYTES = 4 << 30


class Gathered:
    """Stands for a tensor of inputs (n, *shape) whose rows are read whenever they are selected.

    Args:
        rows: of the pool.
        order: (n,) which of them.
        device, dtype: of what is selected.
    """

    def __init__(self, rows: Rows, order: npt.NDArray[np.int64], device: torch.device, dtype: torch.dtype) -> None:
        self._rows, self._order, self._device, self._dtype = rows, order, device, dtype

    def __len__(self) -> int:
        return len(self._order)

    def index_select(self, _dim: int, index: Tensor) -> Tensor:
        """The inputs at positions (k,), as `Tensor.index_select` along the first dimension."""
        return self._read(self._order[index.cpu().numpy()])

    def split(self, size: int) -> Iterator[Tensor]:
        """All inputs in parts, as `Tensor.split`."""
        for start in range(0, len(self), size):
            yield self._read(self._order[start : start + size])

    def _read(self, index: npt.NDArray[np.int64]) -> Tensor:
        return moved(torch.from_numpy(self._rows.read(index)), self._device, self._dtype)


def moved(X: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Inputs on the device; to a GPU by pinned memory, so that the copy does not wait."""
    X = X.to(dtype)
    return X.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else X.to(device)
