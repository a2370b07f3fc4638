"""Many measurements in one loop: who is handed out first, whose end is told, and what a failing training stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import Noisy, OracleExecutor, memoriser, oracles, undisturbed

from emc import engine as engine_module
from emc.engine import Engine
from emc.errors import EmcError, TrainingError
from emc.estimators.replicated import MeasuredReplicate, ReplicatedSearch
from emc.journal import Journal
from emc.results import ProbeFailure, ProbeResult, Progress, Status
from emc.search.base import Ask
from emc.search.fixed import FixedSizes
from emc.sought import Sought
from emc.specs import Probe, Search

RULE = Search(tolerance=0, n_start=16, n_max=100)


def cells(count: int, replicates: int = 2) -> tuple[list[ReplicatedSearch], list[Sought]]:
    """Measurements whose probes have nothing in common, and their searches."""
    estimators = [ReplicatedSearch(RULE, replicates, 0.95) for _ in range(count)]
    sought = [Sought(f"cell {i}", search, i) for i, found in enumerate(estimators) for search in found.searches]
    return estimators, sought


def ends(estimator: ReplicatedSearch) -> list[Any]:
    """Its replicates without the keys of probes."""
    return [replace(replicate, deciding=None) for replicate in estimator.conclude().replicates]


def truth(oracle: Any) -> list[Any]:
    """The ends of a measurement that nothing disturbs."""
    return [replace(each, deciding=None) for each in undisturbed(oracle, RULE, 16, 100, replicates=2).replicates]


def test_no_more_is_handed_out_than_is_wanted_and_earlier_measurements_come_first() -> None:
    executor = OracleExecutor(memoriser(50), wanted=3)
    _, sought = cells(20)
    running: list[int] = []
    Engine(executor, Journal(None), speculation=1).run(sought, lambda progress: running.append(len(progress.running)))
    assert max(running) <= 3
    bases = [probe.base for probe in executor.added]
    lasts = [max(i for i, base in enumerate(bases) if base == f"cell {number}") for number in range(20)]
    assert lasts == sorted(lasts)
    assert len(set(bases[:10])) < 5


def test_each_end_is_told_once_and_after_its_verdicts_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emc.journal.shared_file.SYNC_SHARE", 1e-9)
    executor = OracleExecutor(memoriser(50), slots=3, wanted=5)
    _, sought = cells(4)
    told: list[int] = []
    with Journal(tmp_path / "journal.jsonl") as journal:

        def ended(number: int, error: EmcError | None) -> None:
            assert journal.synced
            assert error is None
            assert sought[number].search.status() is Status.BRACKETED
            told.append(number)

        assert not Engine(executor, journal).run(sought, ended=ended)
    assert sorted(told) == list(range(8))


def test_what_the_end_gives_back_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[Mapping[str, Any]] = []
    monkeypatch.setattr(Journal, "note", lambda self, record: noted.append(record))  # noqa: ARG005
    _, sought = cells(3, replicates=1)
    Engine(OracleExecutor(memoriser(50)), Journal(None)).run(
        sought, ended=lambda number, _: {"cell": number} if number != 1 else None
    )
    assert noted == [{"cell": 0}, {"cell": 2}]


@given(oracles(100), st.integers(0, 99), st.integers(1, 9), st.integers(0, 3))
def test_a_training_that_raises_ends_its_own_measurement_and_no_other(
    oracle: Noisy, order: int, slots: int, bad: int
) -> None:
    executor = OracleExecutor(
        oracle, order=order, slots=slots, wanted=slots, raises=lambda p: p.base == f"cell {bad}" and p.n >= 16
    )
    estimators, sought = cells(4)
    engine = Engine(executor, Journal(None), lenient=True)
    told: dict[int, EmcError | None] = {}
    assert not engine.run(sought, ended=lambda number, error: told.update({number: error}))
    assert {sought[number].cell for number in engine.failures} == {bad}
    assert sorted(engine.failures) == [2 * bad, 2 * bad + 1]
    assert sorted(told) == list(range(8))
    assert {number for number, error in told.items() if error is not None} == set(engine.failures)
    assert not executor.waiting
    for number, estimator in enumerate(estimators):
        if number != bad:
            assert ends(estimator) == truth(oracle)


def test_a_failed_search_is_shown_as_failed() -> None:
    seen: list[Progress] = []
    _, sought = cells(2, replicates=1)
    executor = OracleExecutor(memoriser(50), raises=lambda probe: probe.base == "cell 0" and probe.n > 16)
    Engine(executor, Journal(None), lenient=True).run(sought, seen.append)
    assert [status for _, _, status in seen[-1].brackets] == [Status.FAILED, Status.BRACKETED]


@pytest.mark.parametrize("lenient", [False, True])
def test_a_guess_that_raises_disturbs_nobody_who_does_not_need_it(lenient: bool) -> None:
    executor = OracleExecutor(memoriser(20), slots=10, order=0, raises=lambda probe: probe.n > 32)
    estimators, sought = cells(1, replicates=1)
    engine = Engine(executor, Journal(None), lenient=lenient)
    assert not engine.run(sought)
    assert engine.failures == {}
    assert {probe.n for probe in executor.added} & set(range(33, 101)), "sizes above were asked ahead"
    assert estimators[0].conclude().emc == 20


def test_a_guess_that_raised_fails_the_search_that_comes_to_need_it() -> None:
    executor = OracleExecutor(memoriser(50), slots=10, raises=lambda probe: probe.n == 32)
    with pytest.raises(TrainingError, match="n=32"):
        Engine(executor, Journal(None)).run(cells(1, replicates=1)[1])


def test_without_leniency_a_training_that_raises_ends_the_run() -> None:
    executor = OracleExecutor(memoriser(50), raises=lambda probe: probe.n > 16)
    with pytest.raises(TrainingError, match="n=32"):
        Engine(executor, Journal(None)).run(cells(2)[1])


def test_a_run_that_is_asked_to_stop_drops_what_runs_and_keeps_what_is_known() -> None:
    executor = OracleExecutor(memoriser(50))
    estimators, sought = cells(3)
    engine = Engine(executor, Journal(None))
    assert engine.run(sought, stopping=lambda: len(executor.results) == 5)
    assert len(executor.results) == len(engine.trained) == 5
    assert engine.unfinished == executor.running()
    assert estimators[0].conclude().status is Status.INTERRUPTED


class Shared(Journal):
    """A journal on which another process has claimed some probes.

    Args:
        claimed: whether it has claimed a probe.
        patience: refused claims after which it ends the probe or dies.
        dies: whether it dies instead.
    """

    def __init__(self, claimed: Any, patience: int, dies: bool, executor: OracleExecutor) -> None:
        super().__init__(None)
        self._claimed, self._patience, self._dies, self._executor = claimed, patience, dies, executor
        self.refused: dict[str, int] = {}
        self.held: set[str] = set()
        self._probes: dict[str, Probe] = {}
        self._news: list[ProbeResult] = []

    def know(self, probes: list[Probe]) -> None:
        self._probes |= {probe.key: probe for probe in probes}

    def claim(self, key: str) -> bool:
        probe = self._probes.get(key)
        if probe is not None and self._claimed(probe) and self.get(key) is None:
            self.refused[key] = self.refused.get(key, 0) + 1
            if self.refused[key] <= self._patience:
                return False
            if not self._dies:
                self._news.append(self._executor._judge(probe))
        assert key not in self.held
        self.held.add(key)
        return True

    def release(self, key: str) -> None:
        self.held.discard(key)

    def refresh(self) -> list[ProbeResult]:
        news, self._news = self._news, []
        self.append(news)
        return news


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("share", [1, 2, 3])
@pytest.mark.parametrize("slots", [1, 6])
def test_what_another_process_trains_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, dies: bool, share: int, slots: int
) -> None:
    monkeypatch.setattr(engine_module, "LOOK_EVERY_S", 0)
    monkeypatch.setattr(engine_module, "IDLE_S", 0)
    executor = OracleExecutor(memoriser(50), slots=slots)
    journal = Shared(lambda probe: probe.n % share == 0, 3, dies, executor)
    journal.know([Probe("cell 0", n, replicate) for n in range(1, 101) for replicate in range(2)])
    estimators, sought = cells(1)
    assert not Engine(executor, journal).run(sought)
    assert ends(estimators[0]) == truth(memoriser(50))
    assert journal.refused
    assert not journal.held, "no claim is kept"
    if not dies:
        assert not {probe.key for probe in executor.added} & journal.refused.keys(), "nothing is trained twice"


def test_replicates_whose_first_probe_is_known_end_without_an_executor() -> None:
    journal = Journal(None)
    executor = OracleExecutor(memoriser(50))
    Engine(executor, journal).run(cells(2)[1])
    again, told = OracleExecutor(memoriser(50)), []
    assert not Engine(again, journal).run(cells(2)[1], ended=lambda number, _: told.append(number))
    assert (again.added, sorted(told)) == ([], [0, 1, 2, 3])


def test_an_ended_search_is_not_asked_again() -> None:
    class Counting(MeasuredReplicate):
        asked_after_end = 0

        def ask(self, most: int = 1) -> list[Any]:
            self.asked_after_end += self.status() is not None and most == 1
            return super().ask(most)

    search = Counting(RULE, 16, 100, 0)
    other = MeasuredReplicate(RULE, 16, 100, 1)
    Engine(OracleExecutor(memoriser(50), order=3), Journal(None)).run([Sought("a", search), Sought("b", other)])
    assert search.asked_after_end <= 1


def test_a_verdict_of_another_process_is_told_once_though_it_is_read_before_it_is_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any verdict of ours makes the journal look at what others wrote; who asks ahead then finds it there."""
    monkeypatch.setattr(engine_module, "LOOK_EVERY_S", 1e9)
    probe = Probe("shared", 10, 0)

    class Told(FixedSizes):
        def __init__(self, sizes: list[int], replicate: int) -> None:
            super().__init__(sizes, replicate)
            self.told: list[int] = []

        def tell(self, ask: Ask, result: ProbeResult) -> None:
            self.told.append(ask.n)
            super().tell(ask, result)

    class Beside(OracleExecutor):
        calls = 0

        def advance(self) -> list[ProbeResult | ProbeFailure]:
            self.calls += 1
            if self.calls == 1:
                other.append([self._judge(probe)])
                other.release(probe.key)
            if not self.waiting:
                monkeypatch.setattr(engine_module, "LOOK_EVERY_S", 0)
            return super().advance() if self.waiting else []

        def room(self) -> int:
            return 0 if self.calls == 0 else 2

    executor = Beside(memoriser(50), slots=9)
    searches = [Told([10], 0), Told([10, 20, 30], 1)]
    with Journal(tmp_path / "journal.jsonl") as journal, Journal(tmp_path / "journal.jsonl") as other:
        assert other.claim(probe.key)
        sought = [Sought("shared", searches[0]), Sought("own", searches[1])]
        assert not Engine(executor, journal).run(sought)
    assert [sorted(search.told) for search in searches] == [[10], [10, 20, 30]]
    assert probe not in executor.added
