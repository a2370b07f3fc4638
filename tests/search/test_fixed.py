from __future__ import annotations

from oracles import OracleExecutor, memoriser

from emc.engine import Engine
from emc.journal import Journal
from emc.results import Status
from emc.search.base import Ask
from emc.search.fixed import FixedSizes
from emc.sought import Sought


def run(sizes: list[int], k: int, order: int | None = None) -> tuple[FixedSizes, OracleExecutor]:
    executor = OracleExecutor(memoriser(k), order=order)
    search = FixedSizes(sizes, 3)
    assert not Engine(executor, Journal(None)).run([Sought("base", search)])
    return search, executor


def test_every_size_is_tried_once_whatever_it_shows() -> None:
    for order in (None, 0, 1):
        search, executor = run([30, 10, 20], 15, order)
        assert sorted((p.n, p.replicate, p.attempt) for p in executor.added) == [(10, 3, 0), (20, 3, 0), (30, 3, 0)]
        assert [(r.n, r.verdict.value) for r in search.results()] == [
            (10, "fitted"), (20, "not_fitted"), (30, "not_fitted"),
        ]  # fmt: skip
        assert search.ask() == []


def test_bounds_and_status() -> None:
    cases = {15: (10, 20, Status.BRACKETED), 5: (0, 10, Status.CENSORED_BELOW), 99: (30, None, Status.CENSORED_ABOVE)}
    for k, (lower, upper, status) in cases.items():
        search, _ = run([10, 20, 30], k)
        assert (*search.bounds(), search.status()) == (lower, upper, status)


def test_all_sizes_are_asked_at_once() -> None:
    search = FixedSizes([10, 20], 0)
    assert search.ask(1) == [Ask(10), Ask(20)]
    assert search.status() is None
