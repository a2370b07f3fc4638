"""Ask and tell over sizes that were chosen beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from emc.results import ProbeResult, Status, Verdict
from emc.search.base import Ask
from emc.specs import Search

#: Draws tried at each size of a curve, unless more are asked for.
DRAWS = 20

#: Settings of a measurement that a curve does not have, and what stands in their place.
REPLACED = {item.name: "sizes" for item in fields(Search)} | {"replicates": "draws"}


class FixedSizes:
    """One draw tried at every size of a list, whatever it shows.

    Args:
        sizes: to be tried.
        replicate: the draw's number.
    """

    def __init__(self, sizes: Sequence[int], replicate: int) -> None:
        self._missing = [Ask(n, replicate=replicate) for n in sizes]
        self._results: list[ProbeResult] = []

    def ask(self, most: int = 1) -> list[Ask]:  # noqa: ARG002
        """Every size without a result: none of them is asked ahead of need."""
        return list(self._missing)

    def tell(self, ask: Ask, result: ProbeResult) -> None:
        """Take in a result."""
        self._missing.remove(ask)
        self._results.append(result)

    def bounds(self) -> tuple[int, int | None]:
        """Smallest failed size so far, and the largest fitted one below it."""
        upper = min((r.n for r in self._results if r.verdict is Verdict.NOT_FITTED), default=None)
        fitted = [r.n for r in self._results if r.verdict is Verdict.FITTED]
        return max((n for n in fitted if upper is None or n < upper), default=0), upper

    def status(self) -> Status | None:
        """What its sizes show, once all were tried."""
        if self._missing:
            return None
        lower, upper = self.bounds()
        if upper is None:
            return Status.CENSORED_ABOVE
        return Status.BRACKETED if lower > 0 else Status.CENSORED_BELOW

    def results(self) -> list[ProbeResult]:
        """The results so far, by n."""
        return sorted(self._results, key=lambda result: result.n)
