"""Ask and tell over one replicate's search path."""

from __future__ import annotations

from collections import Counter

from emc.search.base import Ask
from emc.search.path import Bracket, Shown, search_path
from emc.specs import Search


class ReplicateSearch:
    """The search of one replicate as ask/tell.

    Verdicts may be told in any order and whether asked for or not: the search follows its sequential path as far as it
    was told, so verdicts off that path change nothing.

    Args:
        search: the rule.
        n_start: first size.
        n_max: largest size.

    >>> search = ReplicateSearch(Search(tolerance=0), n_start=4, n_max=100)
    >>> while search.bracket is None:
    ...     ask = search.ask()[0]
    ...     search.tell(ask, Shown.FITTED if ask.n <= 13 else Shown.NOT_FITTED)
    >>> search.bracket.lower, search.bracket.upper
    (13, 14)
    """

    def __init__(self, search: Search, n_start: int, n_max: int) -> None:
        self._rule, self._n_start, self._n_max = search, n_start, n_max
        self._told: dict[Ask, str] = {}
        self._path: list[Ask] = []
        self._bracket: Bracket | None = None
        self._live = search_path(search, n_start, n_max)
        self._pending = next(self._live)

    @property
    def bracket(self) -> Bracket | None:
        """The end of the path; None while verdicts are missing."""
        return self._bracket

    @property
    def path(self) -> tuple[Ask, ...]:
        """The probes on the sequential path whose verdicts were used, in order."""
        return tuple(self._path)

    def bounds(self) -> tuple[int, int | None]:
        """Smallest size on the path so far that failed at all its attempts, and the largest fitted one below it."""
        failures = Counter(ask.n for ask in self._path if self._told[ask] == Shown.NOT_FITTED)
        upper = min((n for n, count in failures.items() if count >= self._rule.attempts), default=None)
        fitted = [ask.n for ask in self._path if self._told[ask] == Shown.FITTED]
        return max((n for n in fitted if upper is None or n < upper), default=0), upper

    def tell(self, ask: Ask, shown: str) -> None:
        """Record a verdict, a value of `Shown`."""
        self._told[ask] = shown
        while self._bracket is None and self._pending in self._told:
            self._path.append(self._pending)
            try:
                self._pending = self._live.send(self._told[self._pending])
            except StopIteration as stop:
                self._bracket = stop.value

    def ask(self, most: int = 1) -> list[Ask]:
        """Up to `most` missing probes: the one the sequential search needs, then those it could need next.

        Guesses branch both ways from what is missing, nearest first, and a guessed fit before a guessed failure, so
        that every probe asked lies on a path the sequential search could take.
        """
        if self._bracket is not None:
            return []
        if most == 1:
            return [self._pending]
        wanted: dict[Ask, None] = {}
        frontier: list[dict[Ask, str]] = [{}]
        while frontier and len(wanted) < most:
            guesses = frontier.pop(0)
            missing = self._first_missing(guesses)
            if missing is None or missing in wanted:  # both outcomes of a `verify` probe lead to the same next one
                continue
            wanted[missing] = None
            frontier += [{**guesses, missing: shown} for shown in (Shown.FITTED, Shown.NOT_FITTED)]
        return list(wanted)

    def _first_missing(self, guesses: dict[Ask, str]) -> Ask | None:
        path = search_path(self._rule, self._n_start, self._n_max)
        try:
            ask = next(path)
            while True:
                shown = self._told.get(ask) or guesses.get(ask)
                if shown is None:
                    return ask
                ask = path.send(shown)
        except StopIteration:
            return None
