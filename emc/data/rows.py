"""Inputs row by row: held in memory, or read when they are asked for."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from emc.seeds import derive

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    Ints = npt.NDArray[np.int64]
    Inputs = npt.NDArray[np.float32]

#: Rows from which the statistics of inputs that are not held in memory are taken.
SAMPLED = 4096


class Rows(ABC):
    """Encoded inputs of a pool.

    Attributes:
        shape: of one row.
        held: (rows, *shape) float32, all of them; None where rows are read when they are asked for.
    """

    shape: tuple[int, ...]
    held: Tensor | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: Ints) -> Inputs:
        """Some rows: (len(index), *shape) float32, a copy.

        Raises:
            DataError: a row cannot be read.
        """

    @abstractmethod
    def take(self, index: Ints) -> Rows:
        """Some of the rows, standardised as before."""

    @abstractmethod
    def divide(self, stay: Ints, test: Ints, standardised: tuple[bool, ...]) -> tuple[Rows, Rows]:
        """Rows that stay and rows held out, both standardised anew by those that stay.

        Args:
            stay, test: which rows.
            standardised: see `Raw`.
        """

    @abstractmethod
    def sample(self) -> Inputs:
        """The rows that statistics of the pool are taken from: all, or up to `SAMPLED` where they are not in memory."""

    @abstractmethod
    def content_hash(self, y: Ints, num_classes: int) -> str:
        """What a pool of these rows and labels is known by; two pools of equal content are one."""


def chosen(rows: int, content: str) -> Ints:
    """Up to `SAMPLED` rows of a pool, drawn by its content alone, in rising order."""
    import numpy as np

    if rows <= SAMPLED:
        return np.arange(rows)
    generator = np.random.Generator(np.random.Philox(derive("statistics", content)))
    return np.sort(generator.choice(rows, SAMPLED, replace=False, shuffle=False))


def part_content(content: str, index: Ints) -> str:
    """What some rows of a pool of known content are known by."""
    return hashlib.sha256(content.encode() + b" rows " + index.data).hexdigest()[:32]


class TensorRows(Rows):
    """Rows in memory.

    Args:
        X: (rows, *shape) float32.
    """

    held: Tensor

    def __init__(self, X: Tensor) -> None:
        self.held, self.shape = X, tuple(X.shape[1:])

    def __len__(self) -> int:
        return len(self.held)

    def read(self, index: Ints) -> Inputs:
        """See `Rows.read`."""
        rows: Inputs = self.held.numpy()[index]
        return rows

    def take(self, index: Ints) -> TensorRows:
        """See `Rows.take`."""
        import torch

        return TensorRows(self.held[torch.from_numpy(index)])

    def divide(self, stay: Ints, test: Ints, standardised: tuple[bool, ...]) -> tuple[TensorRows, TensorRows]:
        """See `Rows.divide`; in float64, over all rows that stay."""
        import numpy as np
        import torch

        pool, held_out = self.read(stay), self.read(test)
        for place in np.flatnonzero(standardised):
            values = pool[:, place].astype(np.float64)
            mean, std = values.mean(), values.std() or 1.0
            pool[:, place] = (values - mean) / std
            held_out[:, place] = (held_out[:, place] - mean) / std
        return TensorRows(torch.from_numpy(pool)), TensorRows(torch.from_numpy(held_out))

    def sample(self) -> Inputs:
        """See `Rows.sample`."""
        return self.held.numpy()

    def content_hash(self, y: Ints, num_classes: int) -> str:
        """SHA-256 of shape, inputs and labels, shortened."""
        X = self.sample()
        content = hashlib.sha256(repr((X.shape, num_classes)).encode())
        content.update(X.data)
        content.update(y.data)
        return content.hexdigest()[:32]
