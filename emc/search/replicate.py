"""Ask and tell over one replicate's search path."""

from __future__ import annotations

from collections import Counter, deque

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
        self._failures: Counter[int] = Counter()
        self._fitted: list[int] = []
        self._lower = 0
        self._upper: int | None = None
        self._forget_guesses()

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
        return self._lower, self._upper

    def tell(self, ask: Ask, shown: str) -> None:
        """Record a verdict, a value of `Shown`."""
        self._told[ask] = shown
        self._forget_guesses()
        while self._bracket is None and self._pending in self._told:
            shown = self._told[self._pending]
            self._path.append(self._pending)
            self._narrow(self._pending.n, shown)
            try:
                self._pending = self._live.send(shown)
            except StopIteration as stop:
                self._bracket = stop.value

    def _narrow(self, n: int, shown: str) -> None:
        """Keep the bounds with what the next probe on the path showed."""
        if shown == Shown.FITTED:
            self._fitted.append(n)
            if self._upper is None or n < self._upper:
                self._lower = max(self._lower, n)
        elif shown == Shown.NOT_FITTED:
            self._failures[n] += 1
            if self._failures[n] >= self._rule.attempts and (self._upper is None or n < self._upper):
                self._upper = n
                self._lower = max((fitted for fitted in self._fitted if fitted < n), default=0)

    def ask(self, most: int = 1) -> list[Ask]:
        """Up to `most` missing probes: the one the sequential search needs, then those it could need next.

        Guesses branch both ways from what is missing, nearest first, and a guessed fit before a guessed failure, so
        that every probe asked lies on a path the sequential search could take.
        """
        if self._bracket is not None:
            return []
        if most == 1:
            return [self._pending]
        while self._frontier and len(self._wanted) < most:
            guesses = self._frontier.popleft()
            missing = self._first_missing(guesses)
            if missing is None or missing in self._wanted:
                continue  # both outcomes of a `verify` probe lead to the same next one
            self._wanted[missing] = None
            self._frontier += [{**guesses, missing: shown} for shown in (Shown.FITTED, Shown.NOT_FITTED)]
        return list(self._wanted)[:most]

    def _forget_guesses(self) -> None:
        """Begin anew with what was told: the guesses found so far, and those that lead to further ones."""
        self._wanted: dict[Ask, None] = {}
        self._frontier: deque[dict[Ask, str]] = deque([{}])

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
