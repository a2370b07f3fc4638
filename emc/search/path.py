"""The sequential search of one replicate, written as the coroutine it is.

`search_path` yields what it wants to know and is sent the verdict; it returns the bracket. Everything else (asking
ahead, resuming from a journal) replays this path, so neither can change the result.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import cache, lru_cache

from emc.registry import PluginSpec
from emc.results import Status
from emc.search.base import Ask
from emc.specs import GROWTHS, Search

#: EMCs tried by `paths_over_range`.
PATHS = 32


class Shown:
    """What a probe shows the search: that n was fitted, that it was not, or nothing (diverged)."""

    FITTED = "fitted"
    NOT_FITTED = "not_fitted"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Bracket:
    """Where a search ended.

    Attributes:
        lower: largest fitted n below the deciding failure; 0 if none was fitted.
        upper: the deciding failure's n; None where nothing failed or every seed diverged.
        status: BRACKETED, CENSORED_ABOVE, CENSORED_BELOW, DIVERGED or NON_MONOTONE; whether a failure is believed is
            the engine's to say.
        also_fitted: sizes above `upper` that a `verify` probe fitted.
    """

    lower: int
    upper: int | None
    status: Status
    also_fitted: tuple[int, ...] = ()


#: One size's outcome after its attempts: fitted, not fitted, or diverged on every fresh seed.
_Path = Generator[Ask, str, "Bracket"]
_Size = Generator[Ask, str, str]


def search_path(search: Search, n_start: int, n_max: int) -> _Path:
    """The search for one replicate.

    Args:
        search: the rule.
        n_start: first size, at most `n_max`.
        n_max: largest size.

    Yields:
        The probes in sequential order; send a value of `Shown` for each.

    Returns:
        The bracket, both of whose ends were verified by probes.
    """
    kind, amount = _growth(search.growth)
    grow = _next_linear if kind == "linear" else next_geometric
    lower, upper, n = 0, None, min(n_start, n_max)
    tried: set[int] = set()
    while upper is None:
        shown = yield from _try_size(search, n, tried)
        if shown == Shown.NOTHING:
            return Bracket(lower, None, Status.DIVERGED)
        if shown == Shown.FITTED:
            lower = n
            if n == n_max:
                return Bracket(lower, None, Status.CENSORED_ABOVE)
            n = min(grow(n, amount, up=True), n_max)
        else:
            upper = n
    while lower == 0:  # the first size failed: go down until one fits
        if upper == 1:
            return Bracket(0, 1, Status.CENSORED_BELOW)
        n = max(grow(upper, amount, up=False), 1)
        shown = yield from _try_size(search, n, tried)
        if shown == Shown.NOTHING:
            return Bracket(0, upper, Status.DIVERGED)
        if shown == Shown.FITTED:
            lower = n
        else:
            upper = n
    if kind == "geometric":
        bracket = yield from _bisect(search, lower, upper, tried)
        if bracket.status is Status.DIVERGED:
            return bracket
        assert bracket.upper is not None
        lower, upper = bracket.lower, bracket.upper
    return (yield from _verify(search, lower, upper, n_max, tried))


def asked_at(search: Search, n_start: int, n_max: int, k: int) -> list[int]:
    """The sizes asked, one a probe, where exactly the sizes up to k are fitted, and those by the last attempt only.

    >>> asked_at(Search(tolerance=0), 4, 100, 6)
    [4, 8, 6, 7]
    """
    path = search_path(search, n_start, n_max)
    asked: list[int] = []
    try:
        ask = next(path)
        while True:
            asked.append(ask.n)
            fits = ask.n <= k and ask.attempt == search.attempts - 1
            ask = path.send(Shown.FITTED if fits else Shown.NOT_FITTED)
    except StopIteration:
        return asked


def paths_over_range(search: Search) -> list[list[int]]:
    """The sizes asked, as in `asked_at`, for EMCs over the whole range of a search whose sizes are resolved."""
    n_start, n_max = search.sizes
    tried = {round(n_max ** (part / PATHS)) for part in range(PATHS)} | {0, n_max - 1, n_max}
    return [asked_at(search, n_start, n_max, k) for k in sorted(tried)]


def next_geometric(n: int, factor: float, up: bool) -> int:
    """The next size of a growth by a factor, or of its way down."""
    return max(n + 1, math.floor(n * factor)) if up else min(n - 1, math.floor(n / factor))


@cache
def _growth(growth: PluginSpec) -> tuple[str, float]:
    """The kind of a growth and its amount; a path is walked again for every guess."""
    return GROWTHS.build(growth)


def _next_linear(n: int, step: float, up: bool) -> int:
    return n + int(step) if up else n - int(step)


def _try_size(search: Search, n: int, tried: set[int]) -> _Size:
    """Ask for inits at n until one fits, `attempts` have failed, or more than `retries` have diverged."""
    tried.add(n)
    failures = divergences = attempt = 0
    while failures < search.attempts and divergences <= search.retries:
        shown = yield Ask(n, attempt)
        if shown == Shown.FITTED:
            return Shown.FITTED
        failures += shown == Shown.NOT_FITTED
        divergences += shown == Shown.NOTHING
        attempt += 1
    return Shown.NOT_FITTED if failures >= search.attempts else Shown.NOTHING


def _bisect(search: Search, lower: int, upper: int, tried: set[int]) -> _Path:
    """Cut the bracket into `sections` parts of equal ratio, until it is narrow enough; both ends stay verified."""
    while upper - lower > 1 and upper / lower - 1 > search.tolerance:
        for n in cut(lower, upper, search.sections):
            shown = yield from _try_size(search, n, tried)
            if shown == Shown.NOTHING:
                return Bracket(lower, upper, Status.DIVERGED)
            if shown == Shown.NOT_FITTED:
                upper = n
                break
            lower = n
    return Bracket(lower, upper, Status.BRACKETED)


@lru_cache(maxsize=10_000)
def cut(lower: int, upper: int, sections: int) -> tuple[int, ...]:
    """The sizes strictly between the ends that cut the bracket into parts of about equal ratio, ascending.

    >>> cut(100, 400, 2), cut(100, 800, 3), cut(7, 9, 4)
    ((200,), (200, 400), (8,))
    """
    ratio = upper / lower
    inner = {round(lower * ratio ** (part / sections)) for part in range(1, sections)}
    return tuple(sorted({min(max(n, lower + 1), upper - 1) for n in inner}))


def _verify(search: Search, lower: int, upper: int, n_max: int, tried: set[int]) -> _Path:
    """Probe `verify` sizes above the bracket not yet tried, each a step of the tolerance (at least 5 %) further."""
    also, n = [], upper
    for _ in range(search.verify):
        n = max(n + 1, math.ceil(n * (1 + max(search.tolerance, 0.05))))
        while n in tried:
            n += 1
        if n > n_max:
            break
        if (yield from _try_size(search, n, tried)) == Shown.FITTED:
            also.append(n)
    status = Status.NON_MONOTONE if also else Status.BRACKETED
    return Bracket(lower, upper, status, tuple(also))
