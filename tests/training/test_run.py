"""The rule that ends a probe."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from emc.api import Prepared
from emc.specs import Probe
from emc.training.run import Escape, ProbeRun, Stop, Trace

MakePrepared = Callable[..., Prepared]


def trace_of(*counts: tuple[int, float, int]) -> Trace:
    trace = Trace()
    for step, loss, correct in counts:
        trace.add(step, loss, correct)
    return trace


@pytest.mark.parametrize(
    ("counts", "gain", "risen"),
    [
        ([(100, 1.0, 3)], math.inf, 0),
        ([(100, 1.0, 3), (199, 0.5, 4)], math.inf, 0),
        ([(100, 1.0, 3), (200, 0.5, 4)], 0.5, 1),
        ([(100, 1.0, 3), (200, 0.5, 4), (300, 0.25, 4)], 0.75, 1),  # half of 300 is past 100, not 200
        ([(100, 1.0, 3), (200, 0.5, 4), (300, 0.4, 4), (400, 0.4, 5)], 0.2, 1),
        ([(100, 1.0, 5), (200, 2.0, 4)], 0.0, 0),  # the best counts, not the last
        ([(100, 0.0, 5), (200, 0.0, 5)], math.inf, 0),
    ],
)
def test_gain_of_doubling(counts: list[tuple[int, float, int]], gain: float, risen: int) -> None:
    assert trace_of(*counts).gain_of_doubling() == (pytest.approx(gain), risen)


@pytest.mark.parametrize(
    ("losses", "rise"),
    [
        ([1.0], 1),
        ([1.0, 0.5, 0.4, 0.1, 2.0, 2.0, 0.3, 2.0], 3),  # the least of the last quarter, 0.3, over the best
        ([1.0, 0.5, 0.4, 0.1, 2.0, 2.0, 2.0, 0.1], 1),  # it came back
        ([1.0, 0.5, 0.4, 0.3, 0.2, 0.1, 2.0, 2.0], 20),
        ([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], math.inf),
        ([0.0] * 8, 1),
    ],
)
def test_rise_of_the_late_losses_over_the_best(losses: list[float], rise: float) -> None:
    trace = trace_of(*((100 * (place + 1), loss, 0) for place, loss in enumerate(losses)))
    again = Trace()
    again.load_state(trace.state())
    assert trace.rise() == again.rise() == pytest.approx(rise)


def run_of(make_prepared: MakePrepared, n: int = 50, **settings: Any) -> ProbeRun:
    settings = {"min_steps": 1000, "check_steps": 100, "stall_share": 0.4, "schedule": "constant", **settings}
    return ProbeRun(make_prepared(**settings).setup, Probe("base", n, 0))


def feed(run: ProbeRun, counts: list[tuple[int, float]]) -> list[Stop | None]:
    """Why the run ended after each count, 100 steps apart."""
    stops = []
    for correct, loss in counts:
        run.did(100)
        assert run.due
        run.count(correct, loss)
        stops.append(run.stop)
    return stops


def test_ends_when_every_sample_is_right(make_prepared: MakePrepared) -> None:
    run = run_of(make_prepared)
    assert feed(run, [(49, 0.5), (50, 0.4)]) == [None, Stop.FITTED]
    assert (run.steps, run.sample_steps) == (200, 200 * 50)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_ends_when_the_loss_is_not_finite(make_prepared: MakePrepared, loss: float) -> None:
    assert feed(run_of(make_prepared), [(49, 0.5), (50, loss)]) == [None, Stop.DIVERGED]


def test_ends_at_its_budget_while_it_gains(make_prepared: MakePrepared) -> None:
    stops = feed(run_of(make_prepared), [(40, 0.9**i) for i in range(10)])
    assert stops == [None] * 9 + [Stop.BUDGET]


def test_stalls_from_the_share_of_its_budget_on(make_prepared: MakePrepared) -> None:
    assert feed(run_of(make_prepared), [(40, 0.5)] * 4) == [None, None, None, Stop.STALLED]
    assert feed(run_of(make_prepared, stall_share=0), [(40, 0.5)] * 2) == [None, Stop.STALLED]


def test_a_doubling_that_gained_loss_or_samples_is_no_stall(make_prepared: MakePrepared) -> None:
    tolerance = {"stall_tolerance": 0.1}
    stalled = feed(run_of(make_prepared, **tolerance), [(40, 0.5), (40, 0.5), (40, 0.5), (40, 0.46)])
    gained_loss = feed(run_of(make_prepared, **tolerance), [(40, 0.5), (40, 0.5), (40, 0.5), (40, 0.44)])
    gained_count = feed(run_of(make_prepared, **tolerance), [(40, 0.5), (40, 0.5), (40, 0.5), (41, 0.5)])
    assert [stops[-1] for stops in (stalled, gained_loss, gained_count)] == [Stop.STALLED, None, None]


def test_budget_and_cadence_follow_the_size(make_prepared: MakePrepared) -> None:
    """At n = 300 a pass has 300 / 10 = 30 steps: 90 of them exceed the budget in steps, 7 passes the cadence."""
    run = run_of(make_prepared, n=300, batch_size=10, min_steps=200, max_epochs=90, check_steps=50, check_epochs=7)
    assert (run.batch_size, run.budget, run.check_every) == (10, 2700, 400)  # 210 steps, up to 50 times a power of two
    small = run_of(make_prepared, n=4, batch_size=10, min_steps=200, max_epochs=90, check_steps=50, check_epochs=7)
    assert (small.batch_size, small.budget, small.check_every) == (4, 200, 50)


def test_full_batch_optimizers_take_all_samples(make_prepared: MakePrepared) -> None:
    assert run_of(make_prepared, n=300, optimizer="gd", batch_size=10).batch_size == 300


def test_the_schedule_sets_the_multiplier(make_prepared: MakePrepared) -> None:
    run = run_of(make_prepared, schedule="cosine")
    assert run.multiplier == 1
    feed(run, [(40, 0.5**i) for i in range(5)])
    assert run.multiplier == pytest.approx(0.5)


def test_status_for_a_live_view(make_prepared: MakePrepared) -> None:
    run = run_of(make_prepared)
    feed(run, [(40, 0.5)])
    status = run.status()
    assert (status.n, status.replicate, status.correct, status.steps, status.budget) == (50, 0, 40, 100, 1000)


def test_after_an_escape_a_stall_is_judged_anew(make_prepared: MakePrepared) -> None:
    """Four checks of the budget's ten, as from the start; the budget stays what it was."""
    run = run_of(make_prepared)
    assert feed(run, [(40, 0.5)] * 4)[-1] is Stop.STALLED
    run.go_on(Escape(run.steps, 0.1, 0.5, 0.6))
    assert feed(run, [(38, 0.6)] * 4) == [None, None, None, Stop.STALLED]
    run.go_on(Escape(run.steps, 0.1, 0.6, 0.5))
    assert feed(run, [(38, 0.5)] * 2) == [None, Stop.BUDGET]
    assert [escape.step for escape in run.escapes] == [400, 800]


def test_it_goes_on_from_its_state(make_prepared: MakePrepared) -> None:
    """And ends where the one before would have: schedule, stall, escapes and batches."""
    settings = {"n": 300, "batch_size": 7, "min_steps": 1000, "schedule": "reactive:patience=1", "optimizer": "sgd"}
    before, after = run_of(make_prepared, **settings), run_of(make_prepared, **settings)
    assert feed(before, [(40, 0.5)] * 4)[-1] is Stop.STALLED
    before.go_on(Escape(before.steps, 0.1, 0.5, 0.6))
    before.batches.take(11)
    before.seconds = 1.5
    after.load_state(before.state())
    assert (after.seconds, after.multiplier, after.escapes) == (1.5, before.multiplier, before.escapes)
    assert after.batches.take(5).equal(before.batches.take(5))
    counts = [(38, 0.6), (39, 0.55), (39, 0.55), (39, 0.55)]
    assert feed(after, counts) == feed(before, counts)
    assert after.state() | {"batches": None} == before.state() | {"batches": None}


def test_a_state_of_another_size_is_refused(make_prepared: MakePrepared) -> None:
    with pytest.raises(ValueError, match=r"^it is of another probe$"):
        run_of(make_prepared, n=60).load_state(run_of(make_prepared, n=50).state())
