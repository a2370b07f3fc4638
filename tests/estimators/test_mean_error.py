"""The largest n of mean error below a bound, on errors that are known."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emc.engine import Engine
from emc.estimators import make_estimator
from emc.estimators.base import Conclusion
from emc.estimators.mean_error import MeanError
from emc.estimators.replicated import ReplicatedSearch
from emc.journal import Journal
from emc.results import Evidence, ProbeResult, RunningProbe, Status, Verdict
from emc.search.path import asked_at
from emc.sought import Sought
from emc.specs import Measurement, Probe, Search

#: (n, replicate, attempt) -> wrong answers, or None where the training diverges.
Wrong = Callable[[int, int, int], int | None]


class ErrorExecutor:
    """'Trains' by looking the number of wrong answers up; ends probes in random order."""

    name = "errors"

    def __init__(self, wrong: Wrong, evidence: Evidence = Evidence.NOISE_FLOOR, stop: str = "stalled") -> None:
        self._wrong, self._evidence, self._stop = wrong, evidence, stop
        self._waiting: list[Probe] = []
        self._random = random.Random(0)
        self.trained: list[Probe] = []

    def add(self, probe: Probe, *, ahead: bool = False) -> None:  # noqa: ARG002
        if probe not in self._waiting:
            self._waiting.append(probe)

    def room(self) -> int:
        return max(0, 10 - len(self._waiting))

    def wants(self) -> int:
        return 1000

    def save(self) -> None:
        pass

    def close(self) -> None:
        pass

    def drop(self, probe: Probe) -> None:
        self._waiting.remove(probe)

    def running(self) -> list[RunningProbe]:
        return []

    def advance(self) -> list[ProbeResult]:
        probe = self._waiting.pop(self._random.randrange(len(self._waiting)))
        self.trained.append(probe)
        where = (probe.n, probe.replicate, probe.attempt)
        wrong = self._wrong(*where)
        if wrong is None:
            return [ProbeResult(probe.key, *where, Verdict.DIVERGED)]
        verdict = Verdict.FITTED if wrong == 0 else Verdict.NOT_FITTED
        evidence = self._evidence if wrong else None
        return [ProbeResult(probe.key, *where, verdict, evidence, probe.n - wrong, detail={"stop": self._stop})]


def concluded(executor: ErrorExecutor, replicates: int = 4, speculation: int | None = 1, **rule: object) -> Conclusion:
    search = Search(**{"n_start": 16, "n_max": 500, "tolerance": 0, "criterion": "error<=0.1"} | rule)  # type: ignore[arg-type]
    estimator = MeanError(search, replicates, 0.95)
    Engine(executor, Journal(None), speculation=speculation).run([Sought("base", one) for one in estimator.searches])
    return estimator.conclude()


def beyond(k: int) -> Wrong:
    """Exactly k samples are right."""
    return lambda n, _replicate, _attempt: max(0, n - k)


@settings(deadline=None, max_examples=20)
@given(k=st.integers(1, 400), speculation=st.none() | st.integers(1, 4))
def test_exactly_the_size_whose_mean_is_on_the_bound(k: int, speculation: int | None) -> None:
    """(n - k) / n <= 1/10 means n <= 10 k / 9; every probe is a size of the plain search, asked of each replicate."""
    found = concluded(ErrorExecutor(beyond(k)), speculation=speculation)
    expected = 10 * k // 9
    assert (found.emc, found.upper, found.status) == (expected, expected + 1, Status.BRACKETED)
    sizes = sorted(asked_at(Search(tolerance=0), 16, 500, expected))
    assert [(r.replicate, r.n) for r in found.probes] == [(r, n) for r in range(4) for n in sizes]


def test_it_is_the_mean_that_counts() -> None:
    """Replicates of error 0 and 2 (1 - 90 / n), mean 1 - 90 / n."""
    found = concluded(ErrorExecutor(lambda n, replicate, _: 2 * max(0, n - 90) * (replicate % 2)))
    assert (found.emc, found.upper) == (100, 101)
    assert found.replicates == ()
    at = next(point for point in found.detail["curve"] if point["n"] == 100)
    assert at == {"n": 100, "mean_error": 0.1, "errors": [0.0, 0.2, 0.0, 0.2]}
    assert "0.1 at 100, 0.1089 at 101" in found.detail["table"]["mean error"]
    assert len(found.detail["deciding"]) == 4


def test_the_interval_holds_the_crossing() -> None:
    found = concluded(ErrorExecutor(lambda n, replicate, _: max(0, n - 90 - 4 * replicate)), replicates=6)
    assert found.interval is not None
    assert found.interval[0] < 100 / 0.9 < found.interval[1] < 130
    assert "bootstrap of 6 replicates" in found.interval_method
    assert concluded(ErrorExecutor(beyond(90)), replicates=1).interval is None


@pytest.mark.parametrize(
    ("evidence", "stop", "status"),
    [
        (Evidence.NOISE_FLOOR, "stalled", Status.BRACKETED),
        (Evidence.BUDGET, "budget", Status.UNDERTRAINED),
        (Evidence.SADDLE, "stalled", Status.UNDERTRAINED),
        # no fit is possible, but fewer mistakes may be
        (Evidence.INFEASIBLE, "budget", Status.UNDERTRAINED),
        (Evidence.INFEASIBLE, "stalled", Status.BRACKETED),
    ],
)
def test_trainings_that_could_gain_make_it_a_lower_bound(evidence: Evidence, stop: str, status: Status) -> None:
    found = concluded(ErrorExecutor(beyond(90), evidence, stop))
    assert (found.emc, found.status, found.censored) == (100, status, status is Status.UNDERTRAINED)
    assert found.upper == (None if found.censored else 101)


def test_what_some_could_gain_may_not_matter() -> None:
    """One of four replicates may gain at best 1/4 of the mean: the other three decide."""

    class OneWeak(ErrorExecutor):
        def advance(self) -> list[ProbeResult]:
            (result,) = super().advance()
            weak = result.evidence and result.replicate == 0
            changed = {"evidence": "budget"} if weak else {}
            return [ProbeResult.from_dict(result.to_dict() | changed)]

    jump: Wrong = lambda n, _replicate, _attempt: n // 2 if n > 100 else 0  # noqa: E731
    assert concluded(OneWeak(jump)).status is Status.BRACKETED
    assert concluded(OneWeak(beyond(90))).status is Status.UNDERTRAINED


def test_diverged_trainings_are_tried_with_fresh_seeds() -> None:
    def wrong(n: int, replicate: int, attempt: int) -> int | None:
        return None if replicate == 1 and attempt < 2 else max(0, n - 90)

    executor = ErrorExecutor(wrong)
    found = concluded(executor)
    assert (found.emc, found.status) == (100, Status.BRACKETED)
    assert {probe.attempt for probe in executor.trained if probe.replicate == 1} == {0, 1, 2}
    assert {probe.attempt for probe in executor.trained if probe.replicate != 1} == {0}


def test_a_replicate_that_only_diverges_decides_nothing() -> None:
    """Of 20 it cannot lift a mean of 0 above 0.1; between, it could be either; above, it changes nothing."""

    def wrong(n: int, replicate: int, _attempt: int) -> int | None:
        return None if replicate == 0 and n > 20 else max(0, n - 90)

    found = concluded(ErrorExecutor(wrong), replicates=20)
    assert found.status is Status.DIVERGED
    assert 90 <= found.emc < 100
    assert found.interval is None
    found = concluded(ErrorExecutor(wrong), replicates=4)  # a quarter of the mean at 32 is unknown
    assert (found.emc, found.status) == (16, Status.DIVERGED)


def test_ends_of_the_pool() -> None:
    whole = concluded(ErrorExecutor(beyond(1000)))
    assert (whole.emc, whole.status, whole.upper) == (500, Status.CENSORED_ABOVE, None)
    none = concluded(ErrorExecutor(lambda n, _replicate, _attempt: n))
    assert (none.emc, none.status, none.upper) == (0, Status.CENSORED_BELOW, 1)


def test_before_the_end_it_is_interrupted() -> None:
    found = MeanError(Search(n_start=16, n_max=500, criterion="error<=0.1"), 3, 0.95).conclude()
    assert (found.emc, found.status, found.censored, found.probes) == (0, Status.INTERRUPTED, True, ())


def test_the_criterion_chooses_the_estimator() -> None:
    by_error = Measurement(search=Search(n_start=16, n_max=50, criterion="error<=0.1"))
    by_loss = Measurement(search=Search(n_start=16, n_max=50, criterion="loss<=0.1"))
    assert isinstance(make_estimator(by_error), MeanError)
    assert isinstance(make_estimator(by_loss), ReplicatedSearch)
