from __future__ import annotations

import pytest

from emc.results import Evidence, ProbeResult, Status, Verdict
from emc.search.base import Ask
from emc.search.climb import Climb

BUDGET = 1_000


def _climb(n_start: int = 16, n_max: int = 1_000) -> Climb:
    return Climb(n_start, n_max, 3, factor=1.4, share=0.1, budget=lambda _: BUDGET)


def _tell(climb: Climb, verdict: Verdict, steps: int) -> int:
    (ask,) = climb.ask(5)
    evidence = Evidence.BUDGET if verdict is Verdict.NOT_FITTED else None
    climb.tell(ask, ProbeResult(f"{ask}", ask.n, ask.replicate, ask.attempt, verdict, evidence, steps=steps))
    return ask.n


def test_grows_by_the_factor_until_a_fit_takes_more_than_the_share() -> None:
    climb = _climb()
    assert climb.ask(5) == [Ask(16, 0, 3)]
    assert [_tell(climb, Verdict.FITTED, steps) for steps in (10, 99, 100, 101)] == [16, 22, 30, 42]
    assert (climb.ask(1), climb.bounds(), climb.status()) == ([], (42, None), Status.CENSORED_ABOVE)
    assert climb.end == "near its limit"
    assert [result.n for result in climb.results] == [16, 22, 30, 42]


@pytest.mark.parametrize(
    ("verdict", "status", "bounds", "end"),
    [
        (Verdict.NOT_FITTED, Status.BRACKETED, (16, 22), "ended at a probe that failed"),
        (Verdict.DIVERGED, Status.DIVERGED, (16, None), "ended at a probe that diverged"),
    ],
)
def test_a_probe_that_is_not_fitted_ends_it(
    verdict: Verdict, status: Status, bounds: tuple[int, int | None], end: str
) -> None:
    climb = _climb()
    _tell(climb, Verdict.FITTED, 10)
    assert (climb.status(), climb.end) == (None, "interrupted")
    _tell(climb, verdict, 10)
    assert (climb.ask(1), climb.status(), climb.bounds(), climb.end) == ([], status, bounds, end)


def test_the_largest_size_is_the_last() -> None:
    climb = _climb(16, 20)
    assert [_tell(climb, Verdict.FITTED, 1) for _ in range(2)] == [16, 20]
    assert (climb.ask(1), climb.end) == ([], "fitted all there is")


def test_grows_by_one_where_the_factor_gives_nothing() -> None:
    climb = _climb(1, 5)
    assert [_tell(climb, Verdict.FITTED, 1) for _ in range(5)] == [1, 2, 3, 4, 5]
