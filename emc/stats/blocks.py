"""Several results put together replicate by replicate: a weighted sum of log EMCs in each, averaged over strata.

A ratio of two EMCs is the sum with the weights 1 and -1, an interaction that with 1, -1, -1 and 1, an exponent that
with the weights of a least-squares slope. All are monotone in each EMC, so that two completions of the censored
replicates bound them, as `emc.stats.compare` says of the ratio.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from emc.results import Replicate, Status
from emc.stats.compare import Array, Differences, LogSizes, log_sizes

K = TypeVar("K", bound=Hashable)

#: Of one replicate: low, high, bottom, top (`Differences`).
Ends = tuple[float, float, float, float]


def sizes_at_budget(replicates: Sequence[Replicate], bound: float) -> LogSizes:
    """Natural logarithms of the EMCs where the budget belongs to the procedure: what was fitted in it is the value.

    A pool that was fitted whole says no more than without a budget: such a replicate stays open up to the bound.

    References:
        Nakkiran et al. 2019, "Deep double descent", definition 1: the training procedure includes its length.
    """
    ended = [replace(r, status=Status.BRACKETED) if r.status is Status.UNDERTRAINED else r for r in replicates]
    return log_sizes(ended, bound)


def weighted(terms: Sequence[tuple[float, LogSizes]], offset: float = 0.0) -> Differences:
    """The offset plus the sum of weight times log EMC, in each replicate.

    Args:
        terms: weight, not 0, and log EMCs (R,) of the same replicates.
        offset: added to all.
    """
    low, high, bottom, top = (np.full(len(terms[0][1].low), offset) for _ in range(4))
    for weight, sizes in terms:
        small, large = (sizes.low, sizes.high) if weight > 0 else (sizes.high, sizes.low)
        under, over = (sizes.low, sizes.upper) if weight > 0 else (sizes.upper, sizes.low)
        for total, part in ((low, small), (high, large), (bottom, under), (top, over)):
            total += weight * part
    return Differences(low, high, bottom, top)


def ends(given: Differences, keys: Sequence[K]) -> dict[K, Ends]:
    """What is known of each replicate, by its key."""
    columns = zip(given.low, given.high, given.bottom, given.top, strict=True)
    return {key: (float(a), float(b), float(c), float(d)) for key, (a, b, c, d) in zip(keys, columns, strict=True)}


def averaged(strata: Sequence[Mapping[K, Ends]]) -> Differences:
    """The mean over strata in each replicate, over those strata that have it.

    Replicates come in the order in which they are first met.
    """
    keys = list(dict.fromkeys(key for stratum in strata for key in stratum))
    rows = [np.mean([stratum[key] for stratum in strata if key in stratum], axis=0) for key in keys]
    table: Array = np.array(rows, dtype=np.float64).reshape(len(keys), 4)
    return Differences(table[:, 0], table[:, 1], table[:, 2], table[:, 3])
