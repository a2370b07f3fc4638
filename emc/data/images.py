"""Images: standardised by channel over the pool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Rows handled at once, so that temporary arrays stay small beside the pool.
_CHUNK = 512


def standardise_images(images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(x - mean) / std of each channel, statistics over all rows and pixels; a channel that never varies becomes 0.

    Args:
        images: (rows, channels, height, width), whole or floating-point numbers, finite.

    Returns:
        (rows, channels, height, width) float32.
    """
    import numpy as np

    standardise = _standardise_bytes if images.dtype == np.uint8 else _standardise_numbers
    standard = np.empty(images.shape, np.float32)
    for channel in range(images.shape[1]):
        standardise(images[:, channel], standard[:, channel])
    return standard


def _standardise_bytes(values: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]) -> None:
    """By a table of the 256 levels: exact statistics from their counts, and one look-up a pixel."""
    import numpy as np

    counts = np.zeros(256, dtype=np.int64)
    for rows in _chunks(len(values)):
        counts += np.bincount(values[rows].ravel(), minlength=256)
    table = level_table(counts)
    for rows in _chunks(len(values)):
        np.take(table, values[rows], out=out[rows], mode="clip")  # "clip" writes to out without a copy


def level_table(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(256,) standardised level of each byte, from how often each occurs in a channel."""
    import numpy as np

    levels = np.arange(256, dtype=np.float64)
    total = counts.sum()
    mean = counts @ levels / total
    std = np.sqrt(counts @ (levels - mean) ** 2 / total) or 1.0
    table: npt.NDArray[np.float32] = ((levels - mean) / std).astype(np.float32)
    return table


def _standardise_numbers(values: npt.NDArray[Any], out: npt.NDArray[np.float32]) -> None:
    """In float64, by chunks."""
    import numpy as np

    mean = sum(float(values[rows].sum(dtype=np.float64)) for rows in _chunks(len(values))) / values.size
    squares = sum(float(np.square(values[rows] - np.float64(mean)).sum()) for rows in _chunks(len(values)))
    std = np.sqrt(squares / values.size) or 1.0
    for rows in _chunks(len(values)):
        out[rows] = (values[rows] - np.float64(mean)) / std


def _chunks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _CHUNK):
        yield slice(start, start + _CHUNK)
