"""Ask and tell over one replicate's search path."""

from __future__ import annotations

from emc.search.path import Ask, Bracket, Shown, search_path
from emc.specs import Search


class ReplicateSearch:
    """The search of one replicate as ask/tell.

    Verdicts may be told in any order and whether asked for or not: the search replays its sequential path over all it
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
        self._replay()

    @property
    def bracket(self) -> Bracket | None:
        """The end of the path; None while verdicts are missing."""
        return self._bracket

    @property
    def path(self) -> tuple[Ask, ...]:
        """The probes on the sequential path whose verdicts were used, in order."""
        return tuple(self._path)

    def bounds(self) -> tuple[int, int | None]:
        """Largest fitted and smallest failed size on the path so far, for a live view."""
        fitted = [ask.n for ask in self._path if self._told[ask] == Shown.FITTED]
        failed = [ask.n for ask in self._path if self._told[ask] == Shown.NOT_FITTED]
        return max(fitted, default=0), min(failed, default=None)

    def tell(self, ask: Ask, shown: str) -> None:
        """Record a verdict, a value of `Shown`."""
        self._told[ask] = shown
        self._replay()

    def ask(self, most: int = 1) -> list[Ask]:
        """Up to `most` missing probes: the one the sequential search needs, then those it could need next.

        Guesses branch both ways from what is missing, nearest first, and a guessed fit before a guessed failure, so
        that every probe asked lies on a path the sequential search could take.
        """
        wanted: dict[Ask, None] = {}
        frontier: list[dict[Ask, str]] = [{}]
        while frontier and len(wanted) < most:
            guesses = frontier.pop(0)
            missing = self._first_missing(guesses)
            if missing is None:
                continue
            wanted.setdefault(missing)
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

    def _replay(self) -> None:
        path = search_path(self._rule, self._n_start, self._n_max)
        self._path, self._bracket = [], None
        try:
            ask = next(path)
            while ask in self._told:
                self._path.append(ask)
                ask = path.send(self._told[ask])
        except StopIteration as stop:
            self._bracket = stop.value
