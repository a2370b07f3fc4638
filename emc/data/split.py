"""A test split: rows held out before anything is measured, the same for every procedure and seed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from emc.data.dataset import Dataset, HeldOut
from emc.errors import SpecError
from emc.seeds import derive

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def hold_out(dataset: Dataset, share: float) -> Dataset:
    """Take a share of the rows out of a pool, drawn by the pool's content alone.

    Rows with equal inputs (`duplicates=keep`) are held out together or not at all.

    What the source standardised is standardised anew by the rows that stay (by `Rows.sample` of them, where they are
    not in memory), so that no statistic has seen the test rows. (Which columns a table has, and the medians that fill
    its gaps, are the whole table's.)

    Args:
        dataset: the pool, its duplicates already dropped or kept.
        share: of the rows, between 0 and 1; rounded, at least one row.

    Raises:
        SpecError: fewer than 2 rows or 2 classes would stay.
    """
    import numpy as np
    import torch

    rows = dataset.facts.rows
    number = max(1, round(share * rows))
    test, stay = _drawn(dataset.group.numpy(), number, derive("test split", dataset.facts.content_hash))
    number = len(test)
    y = dataset.y.numpy()
    if len(stay) < 2 or len(np.unique(y[stay])) < 2:
        raise SpecError(f"--test-split must leave at least 2 rows of 2 classes, got {share:g} of {rows} rows; lower it")
    pool, held_out = dataset.rows.divide(stay, test, dataset.standardised)
    content = pool.content_hash(y[stay], len(dataset.facts.classes))
    facts = replace(dataset.facts, rows=len(stay), test_rows=number, content_hash=content)
    kept, held = torch.from_numpy(stay), torch.from_numpy(test)
    out = HeldOut(held_out, dataset.y[held])
    return Dataset(pool, dataset.y[kept], dataset.group[kept], facts, dataset.standardised, out)


def _drawn(group: npt.NDArray[np.int64], number: int, seed: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Rows held out and rows that stay; rows with equal inputs go the same way, so a few more may be held out."""
    import numpy as np

    generator = np.random.Generator(np.random.Philox(seed))
    if (np.diff(group) > 0).all():  # no repeats: every row is a group, which saves sorting millions of them
        out = np.zeros(len(group), dtype=bool)
        out[generator.permutation(len(group))[:number]] = True
        return np.flatnonzero(out), np.flatnonzero(~out)
    _, index, sizes = np.unique(group, return_inverse=True, return_counts=True)
    order = generator.permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    out = np.zeros(len(sizes), dtype=bool)
    out[order[before < number]] = True
    return np.flatnonzero(out[index]), np.flatnonzero(~out[index])
