"""What an estimator is: searches for the engine to drive, and a conclusion from what they were told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from emc.results import ProbeResult, Replicate, Status
from emc.search.base import AskTell


@dataclass(frozen=True)
class Conclusion:
    """The EMC from what was seen.

    Attributes:
        emc, censored, status, lower, upper, interval, interval_method, replicates: as in `EmcResult`.
        probes: results that were used.
        detail: further numbers of this estimator, for the record.
        warnings: sentences a reader of the number should see.
    """

    emc: int
    censored: bool
    status: Status
    lower: int
    upper: int | None
    interval: tuple[float, float] | None
    interval_method: str
    replicates: tuple[Replicate, ...]
    probes: tuple[ProbeResult, ...]
    detail: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Estimator(Protocol):
    """Answers a measurement by one search or several."""

    @property
    def searches(self) -> Sequence[AskTell]:
        """What the engine drives."""
        ...

    def conclude(self) -> Conclusion:
        """The EMC from what the searches know by now, interrupted or not."""
        ...

    def worst_paths(self) -> Sequence[Sequence[int]]:
        """Sizes of all its probes, for each of some runs among which are the dearest it could take."""
        ...
