"""The EMC of Nakkiran et al.: the largest n whose mean training error over fresh trainings is at most a bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from emc.estimators.base import Conclusion
from emc.results import ProbeResult, Status, Verdict
from emc.search.base import Ask
from emc.search.path import Bracket, Shown, paths_over_range
from emc.search.replicate import ReplicateSearch
from emc.specs import Search
from emc.stats.crossing import crossing_interval
from emc.stats.intervals import Interval


class MeanErrorSearch:
    """One search over sizes; a size is fitted if the mean error of its R probes is at most the bound.

    A diverged training is no evidence, and tried again with fresh seeds. Where all of them diverged, a replicate's
    error may be anything from 0 to 1: the size is decided where that cannot matter, else it ends the search.

    Args:
        search: the rule, its sizes resolved, its criterion an error.
        replicates: R, the probes a size.
    """

    def __init__(self, search: Search, replicates: int) -> None:
        self.rule, self.replicates = search, replicates
        self._search = ReplicateSearch(replace(search, retries=0), *search.sizes)
        self._results: dict[Ask, ProbeResult] = {}

    @property
    def bracket(self) -> Bracket | None:
        """The end of the search; None while it goes on."""
        return self._search.bracket

    @property
    def sizes(self) -> list[int]:
        """The sizes decided on the search's path, ascending."""
        return sorted({ask.n for ask in self._search.path})

    def ask(self, most: int = 1) -> list[Ask]:
        """Every probe that a wanted size still lacks; `most` bounds the sizes."""
        sizes = [ask.n for ask in self._search.ask(most)]
        asks = [self._next(n, replicate) for n in sizes for replicate in range(self.replicates)]
        return [ask for ask in asks if ask is not None]

    def tell(self, ask: Ask, result: ProbeResult) -> None:
        """Take in a result; the search hears of a size once all its probes are in."""
        self._results[ask] = result
        if all(self._next(ask.n, replicate) is None for replicate in range(self.replicates)):
            self._search.tell(Ask(ask.n), self._shown(ask.n))

    def bounds(self) -> tuple[int, int | None]:
        """See `ReplicateSearch.bounds`."""
        return self._search.bounds()

    def status(self) -> Status | None:
        """How it ended; None while it goes on."""
        return None if self.bracket is None else self.bracket.status

    def results(self) -> list[ProbeResult]:
        """The results of the decided sizes, by replicate, n and attempt."""
        decided = set(self.sizes)
        used = [result for ask, result in self._results.items() if ask.n in decided]
        return sorted(used, key=lambda result: (result.replicate, result.n, result.attempt))

    def at(self, n: int) -> list[ProbeResult | None]:
        """Each replicate's result at a size; None where every seed diverged."""
        return [self._found(n, replicate) for replicate in range(self.replicates)]

    def errors(self, n: int) -> list[float | None]:
        """Each replicate's training error at a size; None where every seed diverged."""
        return [None if result is None else (n - result.correct) / n for result in self.at(n)]

    def mean_error(self, n: int) -> float | None:
        """The mean of `errors`; None where one is."""
        return None if None in self.at(n) else self._mean(n)

    def may_pass(self, n: int) -> bool:
        """Whether more training, or a training that does not diverge, could bring a size's mean to the bound."""
        return self._mean(n, forgiven=True) <= self.rule.goal.bound

    def _mean(self, n: int, diverged: int = 0, forgiven: bool = False) -> float:
        """The mean error, the error of a diverged replicate given, that of one that may still gain 0 where forgiven."""
        wrong = 0
        for result in self.at(n):
            if result is None:
                wrong += diverged * n
            elif not (forgiven and _may_gain(result)):
                wrong += n - result.correct
        return wrong / (n * self.replicates)  # of whole numbers, so that a mean on the bound is not lost to rounding

    def _shown(self, n: int) -> str:
        bound = self.rule.goal.bound
        if self._mean(n, diverged=1) <= bound:
            return Shown.FITTED
        return Shown.NOT_FITTED if self._mean(n) > bound else Shown.NOTHING

    def _next(self, n: int, replicate: int) -> Ask | None:
        """The attempt a replicate still lacks at a size."""
        for attempt in range(self.rule.retries + 1):
            ask = Ask(n, attempt, replicate)
            if ask not in self._results:
                return ask
            if self._results[ask].verdict is not Verdict.DIVERGED:
                return None
        return None

    def _found(self, n: int, replicate: int) -> ProbeResult | None:
        attempts = (self._results.get(Ask(n, attempt, replicate)) for attempt in range(self.rule.retries + 1))
        return next((result for result in attempts if result and result.verdict is not Verdict.DIVERGED), None)


def _may_gain(result: ProbeResult) -> bool:
    """Whether a training may have ended too early for its error to be the procedure's own."""
    weak = result.evidence is not None and result.evidence.undertrained
    return result.verdict is Verdict.NOT_FITTED and (weak or result.detail.get("stop") == "budget")


class MeanError:
    """The EMC by mean error, its interval by bootstrap over the replicates.

    Args:
        search: the rule, its sizes resolved, its criterion an error.
        replicates: probes a size.
        confidence: of the interval.
    """

    def __init__(self, search: Search, replicates: int, confidence: float) -> None:
        self._search = MeanErrorSearch(search, replicates)
        self.searches = [self._search]
        self._bound, self._confidence = search.goal.bound, confidence

    def conclude(self) -> Conclusion:
        """The bracket by now, its status by what the failing size is worth, and the mean error at every size."""
        search, status = self._search, self._status()
        lower, upper = search.bounds()
        ends = self._interval(status)
        return Conclusion(
            emc=lower,
            censored=status.right_censored,
            status=status,
            lower=lower,
            upper=None if status.right_censored else upper,
            interval=ends.ends,
            interval_method=ends.method,
            replicates=(),
            probes=tuple(search.results()),
            detail=self._detail(upper),
        )

    def worst_paths(self) -> list[list[int]]:
        """The sizes asked, each by every replicate, for EMCs over the whole range, none diverged."""
        return [path * self._search.replicates for path in paths_over_range(self._search.rule)]

    def _status(self) -> Status:
        bracket = self._search.bracket
        if bracket is None:
            return Status.INTERRUPTED
        decided = bracket.status in (Status.BRACKETED, Status.CENSORED_BELOW)
        if decided and bracket.upper is not None and self._search.may_pass(bracket.upper):
            return Status.UNDERTRAINED
        return bracket.status

    def _interval(self, status: Status) -> Interval:
        bracket = self._search.bracket
        if bracket is None or bracket.upper is None or bracket.lower < 1 or status.right_censored:
            return Interval(None, "a censored value leaves an end open")
        sizes = self._search.sizes
        errors = [self._search.errors(n) for n in sizes]
        if any(error is None for row in errors for error in row):
            return Interval(None, "diverged trainings leave the mean curve open")
        values = np.array(errors, dtype=float).T
        return crossing_interval(sizes, values, self._bound, (bracket.lower, bracket.upper), self._confidence)

    def _detail(self, upper: int | None) -> Mapping[str, Any]:
        search = self._search
        curve = [{"n": n, "mean_error": search.mean_error(n), "errors": search.errors(n)} for n in search.sizes]
        deciding = [] if upper is None else [result.key for result in search.at(upper) if result]
        shown = ", ".join(f"{_text(search.mean_error(n))} at {n}" for n in search.sizes)
        return {"curve": curve, "deciding": deciding, "table": {"mean error": shown or "of no size yet"}}


def _text(error: float | None) -> str:
    return "unknown" if error is None else f"{error:.4g}"
