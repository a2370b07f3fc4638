"""Growth over fitted sizes that ends near the first failing one: what an extrapolation of the EMC feeds on."""

from __future__ import annotations

from collections.abc import Callable

from emc.results import ProbeResult, Status, Verdict
from emc.search.base import Ask
from emc.search.path import next_geometric


class Climb:
    """Grows n until a fitted probe took more than a share of its budget.

    A probe that is not fitted, or diverges, ends it too.

    Args:
        n_start: first size.
        n_max: largest size.
        replicate: whose samples.
        factor: growth from one size to the next.
        share: of the budget; a fitted probe that took more is the last one.
        budget: steps after which a probe of n samples ends.

    >>> climb = Climb(16, 1_000, 0, factor=1.4, share=0.1, budget=lambda n: 5_000)
    >>> climb.ask(1)
    [Ask(n=16, attempt=0, replicate=0)]
    """

    def __init__(
        self, n_start: int, n_max: int, replicate: int, *, factor: float, share: float, budget: Callable[[int], int]
    ) -> None:
        self._n_max, self._replicate = n_max, replicate
        self._factor, self._share, self._budget = factor, share, budget
        self._next: int | None = min(n_start, n_max)
        self._results: list[ProbeResult] = []

    @property
    def results(self) -> tuple[ProbeResult, ...]:
        """What it was told, by n."""
        return tuple(self._results)

    def ask(self, most: int) -> list[Ask]:  # noqa: ARG002
        """The next size; never one ahead of need, since that is the one that may fail."""
        return [] if self._next is None else [Ask(self._next, 0, self._replicate)]

    def tell(self, ask: Ask, result: ProbeResult) -> None:
        """Take in the result of the size asked for."""
        self._results.append(result)
        grown = min(next_geometric(ask.n, self._factor, up=True), self._n_max)
        goes_on = result.verdict is Verdict.FITTED and not self._is_slow(result) and grown > ask.n
        self._next = grown if goes_on else None

    @property
    def end(self) -> str:
        """Why it grew no further, as a user reads it."""
        if self._next is not None:
            return "interrupted"
        last = self._results[-1]
        if last.verdict is not Verdict.FITTED:
            return f"ended at a probe that {'diverged' if last.verdict is Verdict.DIVERGED else 'failed'}"
        return "near its limit" if self._is_slow(last) else "fitted all there is"

    def _is_slow(self, result: ProbeResult) -> bool:
        return result.steps > self._share * self._budget(result.n)

    def bounds(self) -> tuple[int, int | None]:
        """Largest fitted size, and the size that was not."""
        fitted = [result.n for result in self._results if result.verdict is Verdict.FITTED]
        failed = [result.n for result in self._results if result.verdict is Verdict.NOT_FITTED]
        return max(fitted, default=0), min(failed, default=None)

    def status(self) -> Status | None:
        """How it ended; None while it goes on."""
        if self._next is not None:
            return None
        ends = {Verdict.FITTED: Status.CENSORED_ABOVE, Verdict.NOT_FITTED: Status.BRACKETED}
        return ends.get(self._results[-1].verdict, Status.DIVERGED)
