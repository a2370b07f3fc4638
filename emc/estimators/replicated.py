"""Independent replicates, each with its own search: their median and the interval of their brackets."""

from __future__ import annotations

from collections.abc import Sequence

from emc.estimators.base import Conclusion
from emc.results import Evidence, ProbeResult, Replicate, Status, Verdict
from emc.search.base import Ask
from emc.search.path import Bracket, Shown, paths_over_range
from emc.search.replicate import ReplicateSearch
from emc.specs import Search
from emc.stats.intervals import Median, far_below, interval, median

_SHOWN = {Verdict.FITTED: Shown.FITTED, Verdict.NOT_FITTED: Shown.NOT_FITTED, Verdict.DIVERGED: Shown.NOTHING}


class MeasuredReplicate:
    """One replicate's search with the results it was told.

    Args:
        search: the rule.
        n_start, n_max: first and largest size.
        number: of the replicate.
    """

    def __init__(self, search: Search, n_start: int, n_max: int, number: int) -> None:
        self._search = ReplicateSearch(search, n_start, n_max)
        self._number = number
        self._results: dict[Ask, ProbeResult] = {}

    def ask(self, most: int = 1) -> list[Ask]:
        """See `ReplicateSearch.ask`."""
        return [Ask(ask.n, ask.attempt, self._number) for ask in self._search.ask(most)]

    def tell(self, ask: Ask, result: ProbeResult) -> None:
        """Take in a result."""
        own = Ask(ask.n, ask.attempt)
        self._results[own] = result
        self._search.tell(own, _SHOWN[result.verdict])

    def bounds(self) -> tuple[int, int | None]:
        """See `ReplicateSearch.bounds`."""
        return self._search.bounds()

    def status(self) -> Status | None:
        """How it ended; None while it goes on."""
        return None if self._search.bracket is None else self.conclude().status

    def results(self) -> list[ProbeResult]:
        """The results the search used, by n and attempt."""
        return sorted((self._results[ask] for ask in self._search.path), key=lambda result: (result.n, result.attempt))

    def conclude(self) -> Replicate:
        """The replicate from its bracket and what its deciding failure is worth."""
        bracket = self._search.bracket
        if bracket is None:
            lower, upper = self._search.bounds()
            return Replicate(self._number, lower, upper, Status.INTERRUPTED)
        deciding = _deciding(bracket, self.results())
        status = bracket.status
        weak = deciding is not None and deciding.evidence is not None and deciding.evidence.undertrained
        if weak and status in (Status.BRACKETED, Status.CENSORED_BELOW):
            status = Status.UNDERTRAINED
        key = deciding.key if deciding else None
        return Replicate(self._number, bracket.lower, bracket.upper, status, key, bracket.also_fitted)


class ReplicatedSearch:
    """One search a replicate; the EMC is their median, its interval from their brackets.

    Args:
        search: the rule, its sizes resolved.
        replicates: how many.
        confidence: of the interval.
    """

    def __init__(self, search: Search, replicates: int, confidence: float) -> None:
        self.searches = [MeasuredReplicate(search, *search.sizes, number) for number in range(replicates)]
        self._search, self._confidence = search, confidence

    def conclude(self) -> Conclusion:
        """Median and interval of the replicates by now."""
        replicates = tuple(search.conclude() for search in self.searches)
        middle = median(replicates)
        ends = interval(replicates, self._confidence)
        return Conclusion(
            emc=middle.emc,
            censored=middle.censored,
            status=middle.status,
            lower=middle.emc,
            upper=middle.upper,
            interval=ends.ends,
            interval_method=ends.method,
            replicates=replicates,
            probes=tuple(result for search in self.searches for result in search.results()),
            warnings=_warnings(replicates, middle),
        )

    def worst_paths(self) -> list[list[int]]:
        """The sizes asked where every replicate has one EMC, for EMCs over the whole range, none diverged."""
        return [path * len(self.searches) for path in paths_over_range(self._search)]


def _warnings(replicates: Sequence[Replicate], middle: Median) -> tuple[str, ...]:
    found = []
    if middle.least < middle.emc:
        below = sum(each.status.right_censored and each.lower < middle.emc for each in replicates)
        found.append(
            f"{below} of {len(replicates)} replicates are lower bounds below the EMC, which is {middle.least:,} if "
            f"they are no larger and {middle.emc:,} if they are large; what their status advises closes that"
        )
    if low := far_below(replicates):
        found.append(
            f"{low} of {len(replicates)} replicates end far below the others, as inits that fit at no size would make "
            "them: the interval may miss n50; --search threshold reckons with such inits"
        )
    return tuple(found)


def _deciding(bracket: Bracket, path: list[ProbeResult]) -> ProbeResult | None:
    """The failure at the upper end; of several attempts the weakest, which says what the size's failure is worth."""
    failures = [r for r in path if r.n == bracket.upper and r.verdict is Verdict.NOT_FITTED]
    return min(failures, key=lambda r: _strength(r.evidence), default=None)


def _strength(evidence: Evidence | None) -> int:
    return 0 if evidence is None or evidence.undertrained else 1
