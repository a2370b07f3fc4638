"""A dataset: inputs by row, labels, and the facts about them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from emc.data.rows import Rows, TensorRows
from emc.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Raw:
    """What a source has read: encoded inputs and classes, before duplicates are looked at.

    Attributes:
        name: what a user reads beside the number, such as "CIFAR-10".
        X: (rows, *shape) float32, encoded and standardised; or rows that are read when they are asked for.
        y: (rows,) int64 in 0 .. len(classes) - 1.
        classes: the classes' names.
        missing_filled: values that were missing and were filled.
        constant_columns: names of columns dropped because they never vary.
        notes: anything else a reader of the number should know.
        standardised: for each channel of images, else each feature, whether the source standardised it; empty for none.
        group: (rows,) the first row with equal inputs, as a source of `Rows` found it; None where none was looked for.
    """

    name: str
    X: npt.NDArray[np.float32] | Rows
    y: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    missing_filled: int = 0
    constant_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    standardised: tuple[bool, ...] = ()
    group: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of a pool; see `Raw` for the fields not named here.

    Attributes:
        rows: rows of the pool, after duplicates were dropped or kept.
        repeats: rows whose inputs repeat an earlier row's.
        conflicts: repeats whose label differs from the first such row's.
        duplicates: "drop" or "keep".
        content_hash: SHA-256 of the pool's shape, inputs and labels; of rows that are not in memory, as their source
            says.
        test_rows: rows held out of the pool.
    """

    name: str
    rows: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    repeats: int
    conflicts: int
    duplicates: str
    missing_filled: int
    constant_columns: tuple[str, ...]
    notes: tuple[str, ...]
    content_hash: str
    test_rows: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Rows that are never trained on, and y (rows,) int64, their semantic classes."""

    rows: Rows
    y: Tensor

    @property
    def X(self) -> Tensor:  # noqa: N802
        """(rows, *shape) float32; read for this where they are not in memory."""
        return _all(self.rows)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A pool of samples.

    Attributes:
        rows: the inputs.
        y: (rows,) int64, the semantic classes.
        group: (rows,) int64; rows with equal inputs share a number. 0 .. rows - 1 where duplicates were dropped.
        facts: see `Facts`.
        standardised: see `Raw`.
        test: rows held out of the pool; None where none were.
    """

    rows: Rows
    y: Tensor
    group: Tensor
    facts: Facts = field(repr=False)
    standardised: tuple[bool, ...] = ()
    test: HeldOut | None = None

    @property
    def X(self) -> Tensor:  # noqa: N802
        """(rows, *shape) float32; read for this where they are not in memory."""
        return _all(self.rows)


def _all(rows: Rows) -> Tensor:
    import numpy as np
    import torch

    return rows.held if rows.held is not None else torch.from_numpy(rows.read(np.arange(len(rows))))


def make_dataset(raw: Raw, duplicates: str = "drop") -> Dataset:
    """Check what a source read, find the repeats, drop or keep them, and hash what stays.

    Args:
        raw: the source's reading.
        duplicates: "drop" keeps the first of equal inputs; "keep" keeps all.

    Raises:
        DataError: too few rows or classes, shapes that disagree, labels out of range, or inputs that are not finite.
    """
    import numpy as np
    import torch

    y = np.require(raw.y, np.int64, ["C", "W"])  # PyTorch warns of memory it may not write to
    if isinstance(raw.X, Rows):
        rows, group = raw.X, np.arange(len(raw.X)) if raw.group is None else raw.group
        _check(raw, (len(rows), *rows.shape), y)
    else:
        X = np.require(raw.X, np.float32, ["C", "W"])
        _check(raw, X.shape, y)
        _check_finite(raw, X)
        rows, group = TensorRows(torch.from_numpy(X)), _first_equal(X)
    repeated = group != np.arange(len(rows))
    conflicts = int((y[group] != y)[repeated].sum())
    if duplicates == "drop" and repeated.any():
        kept = np.flatnonzero(~repeated)
        rows, y, group = rows.take(kept), y[kept], np.arange(len(kept))
        _check(raw, (len(rows), *rows.shape), y)
    facts = Facts(
        name=raw.name,
        rows=len(rows),
        shape=rows.shape,
        classes=raw.classes,
        repeats=int(repeated.sum()),
        conflicts=conflicts,
        duplicates=duplicates,
        missing_filled=raw.missing_filled,
        constant_columns=raw.constant_columns,
        notes=raw.notes,
        content_hash=rows.content_hash(y, len(raw.classes)),
    )
    return Dataset(rows, torch.from_numpy(y), torch.from_numpy(group), facts, raw.standardised)


def _first_equal(X: npt.NDArray[np.float32]) -> Ints:
    """(rows,) the first row whose inputs equal each row's."""
    import numpy as np

    first: dict[bytes, int] = {}
    return np.array([first.setdefault(_row_hash(row), i) for i, row in enumerate(X)], dtype=np.int64)


def _row_hash(row: npt.NDArray[np.float32]) -> bytes:
    positive_zero = row + row.dtype.type(0)  # -0.0 and 0.0 are one input
    return hashlib.blake2b(positive_zero.tobytes(), digest_size=16).digest()


def _check(raw: Raw, shape: tuple[int, ...], y: Ints) -> None:

    if len(shape) < 2 or (shape[0],) != y.shape or 0 in shape:
        raise DataError(
            f"data {raw.name} must give inputs (rows, features...) and one label a row, got {shape} and {y.shape}"
        )
    if shape[0] < 2:
        raise DataError(f"data {raw.name} must have at least 2 rows, got {shape[0]}")
    if (y == y[0]).all():
        raise DataError(f"data {raw.name} must have at least 2 classes, got 1; check the target")
    if y.min() < 0 or y.max() >= len(raw.classes):
        raise DataError(f"labels of {raw.name} must lie in 0 .. {len(raw.classes) - 1}, got {y.min()} .. {y.max()}")


def _check_finite(raw: Raw, X: npt.NDArray[np.float32]) -> None:
    import numpy as np

    bad = int((~np.isfinite(X)).sum())
    if bad:
        raise DataError(
            f"inputs of {raw.name} must be finite, got {bad} NaN or infinite values; fill or drop them first"
        )
