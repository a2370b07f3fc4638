"""A dataset: two tensors and the facts about them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from emc.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Raw:
    """What a source has read: encoded inputs and classes, before duplicates are looked at.

    Attributes:
        name: what a user reads beside the number, such as "CIFAR-10".
        X: (rows, *shape) float32, encoded and standardised.
        y: (rows,) int64 in 0 .. len(classes) - 1.
        classes: the classes' names.
        missing_filled: values that were missing and were filled.
        constant_columns: names of columns dropped because they never vary.
        notes: anything else a reader of the number should know.
        standardised: for each channel of images, else each feature, whether the source standardised it; empty for none.
    """

    name: str
    X: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    missing_filled: int = 0
    constant_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    standardised: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What is known of a pool; see `Raw` for the fields not named here.

    Attributes:
        rows: rows of the pool, after duplicates were dropped or kept.
        repeats: rows whose inputs repeat an earlier row's.
        conflicts: repeats whose label differs from the first such row's.
        duplicates: "drop" or "keep".
        content_hash: SHA-256 of the pool's shape, inputs and labels.
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
    """Rows that are never trained on: X (rows, *shape) float32 and y (rows,) int64, the semantic classes."""

    X: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """A pool of samples.

    Attributes:
        X: (rows, *shape) float32.
        y: (rows,) int64, the semantic classes.
        group: (rows,) int64; rows with equal inputs share a number. 0 .. rows - 1 where duplicates were dropped.
        facts: see `Facts`.
        standardised: see `Raw`.
        test: rows held out of the pool; None where none were.
    """

    X: Tensor
    y: Tensor
    group: Tensor
    facts: Facts = field(repr=False)
    standardised: tuple[bool, ...] = ()
    test: HeldOut | None = None


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

    X = np.require(raw.X, np.float32, ["C", "W"])  # PyTorch warns of memory it may not write to
    y = np.require(raw.y, np.int64, ["C", "W"])
    _check(raw, X, y)
    first: dict[bytes, int] = {}
    group = np.array([first.setdefault(_row_hash(row), i) for i, row in enumerate(X)], dtype=np.int64)
    repeated = group != np.arange(len(X))
    conflicts = int((y[group] != y)[repeated].sum())
    if duplicates == "drop" and repeated.any():
        X, y = X[~repeated], y[~repeated]
        group = np.arange(len(X))
        _check(raw, X, y)
    facts = Facts(
        name=raw.name,
        rows=len(X),
        shape=tuple(X.shape[1:]),
        classes=raw.classes,
        repeats=int(repeated.sum()),
        conflicts=conflicts,
        duplicates=duplicates,
        missing_filled=raw.missing_filled,
        constant_columns=raw.constant_columns,
        notes=raw.notes,
        content_hash=content_hash(X, y, len(raw.classes)),
    )
    return Dataset(torch.from_numpy(X), torch.from_numpy(y), torch.from_numpy(group), facts, raw.standardised)


def _row_hash(row: npt.NDArray[np.float32]) -> bytes:
    positive_zero = row + row.dtype.type(0)  # -0.0 and 0.0 are one input
    return hashlib.blake2b(positive_zero.tobytes(), digest_size=16).digest()


def content_hash(X: npt.NDArray[np.float32], y: npt.NDArray[np.int64], num_classes: int) -> str:
    """SHA-256 of shape, inputs and labels, shortened."""
    content = hashlib.sha256(repr((X.shape, num_classes)).encode())
    content.update(X.data)
    content.update(y.data)
    return content.hexdigest()[:32]


def _check(raw: Raw, X: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> None:
    import numpy as np

    if X.ndim < 2 or len(X) != len(y) or X[:1].size == 0:
        raise DataError(
            f"data {raw.name} must give inputs (rows, features...) and one label a row, got {X.shape} and {y.shape}"
        )
    if len(X) < 2:
        raise DataError(f"data {raw.name} must have at least 2 rows, got {len(X)}")
    if len(np.unique(y)) < 2:
        raise DataError(f"data {raw.name} must have at least 2 classes, got {len(np.unique(y))}; check the target")
    if y.min() < 0 or y.max() >= len(raw.classes):
        raise DataError(f"labels of {raw.name} must lie in 0 .. {len(raw.classes) - 1}, got {y.min()} .. {y.max()}")
    bad = int((~np.isfinite(X)).sum())
    if bad:
        raise DataError(
            f"inputs of {raw.name} must be finite, got {bad} NaN or infinite values; fill or drop them first"
        )
