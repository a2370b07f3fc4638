"""Every registered schedule, and the default one's moves."""

from __future__ import annotations

import math
from typing import Any

import pytest

from emc.errors import EmcError, SpecError
from emc.training.schedules import SCHEDULES, Schedule, own_state


def follow(schedule: Schedule, losses: list[float], *, full_batch: bool = False) -> list[float]:
    """The multipliers after an infinite loss at step 0 and these losses."""
    return [
        schedule.next(100 * i, 100 * len(losses), loss, full_batch=full_batch)
        for i, loss in enumerate([math.inf, *losses])
    ]


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_starts_at_the_base_rate_and_stays_in_range(name: str) -> None:
    losses = [1 / (1 + i % 7) for i in range(200)]
    multipliers = follow(SCHEDULES.build(name), losses)
    assert multipliers[0] == 1 or name == "warmup"
    assert multipliers[0] > 0
    assert all(0 <= multiplier <= 32 for multiplier in multipliers)
    assert multipliers == follow(SCHEDULES.build(name), losses)


def test_constant() -> None:
    assert set(follow(SCHEDULES.build("constant"), [5.0, 4.0, 9.0])) == {1.0}


def test_cosine_falls_to_zero_at_the_budget_and_stays() -> None:
    schedule = SCHEDULES.build("cosine")
    found = [schedule.next(step, 400, 1.0, full_batch=False) for step in (0, 100, 200, 400, 500)]
    assert found == pytest.approx([1, 0.5 + math.sqrt(0.125), 0.5, 0, 0], abs=1e-15)


def test_inverse_sqrt_is_nakkirans() -> None:
    schedule = SCHEDULES.build("inverse_sqrt")
    found = [schedule.next(step, 4000, 1.0, full_batch=False) for step in (0, 511, 512, 1536)]
    assert found == pytest.approx([1, 1, math.sqrt(0.5), 0.5])
    assert SCHEDULES.build("inverse_sqrt:every=1").next(3, 10, 1.0, full_batch=False) == 0.5


@pytest.mark.parametrize(
    ("name", "rise"), [("warmup:steps=400,then=constant", 400), ("warmup:share=0.25,then=constant", 500)]
)
def test_warmup_rises_in_a_line_and_then_stays(name: str, rise: int) -> None:
    schedule = SCHEDULES.build(name)
    found = [schedule.next(step, 2000, 1.0, full_batch=False) for step in range(0, 2000, 100)]
    expected = [min(1.0, (step + 1) / rise) if step < rise else 1.0 for step in range(0, 2000, 100)]
    assert found == pytest.approx(expected)


def test_what_follows_a_warmup_begins_where_that_ends() -> None:
    schedule = SCHEDULES.build("warmup:steps=200,then=cosine")
    found = [schedule.next(step, 600, 1.0, full_batch=False) for step in (0, 200, 400, 600)]
    assert found == pytest.approx([1 / 200, 1, 0.5, 0], abs=1e-15)
    schedule = SCHEDULES.build("warmup:steps=100,then=reactive|patience=3|floor=0.2")
    multipliers = follow(schedule, [1.0] * 16)
    alone = SCHEDULES.build("reactive:patience=3,floor=0.2")
    assert multipliers == [0.01, *(alone.next(100 * i, 1500, 1.0, full_batch=False) for i in range(16))]
    assert set(multipliers) == {0.01, 1, 0.5, 0.25}


def test_a_warmup_of_the_whole_budget_and_more() -> None:
    schedule = SCHEDULES.build("warmup:steps=1000,then=cosine")
    assert [schedule.next(step, 200, 1.0, full_batch=False) for step in (0, 100, 200)] == [0.001, 0.101, 0.201]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("inverse_sqrt:every=0", "schedule inverse_sqrt takes every of at least 1, got 0"),
        ("warmup:steps=0", "takes steps of at least 1 or share between 0 and 1, got steps=0"),
        ("warmup:share=1", "takes steps of at least 1 or share between 0 and 1, got .* share=1"),
        ("warmup:steps=5,share=0.1", "takes steps or share, got steps=5 and share=0.1; leave one out"),
        ("warmup:then=warmup", "is followed by another schedule, got then=warmup; use then=reactive"),
        ("warmup:then=cosin", 'there is no schedule "cosin"; did you mean "cosine"?'),
        ("warmup:then=reactive|patienc=3", 'schedule reactive has no option "patienc"; did you mean "patience"?'),
    ],
)
def test_mistakes_are_told(name: str, message: str) -> None:
    with pytest.raises(EmcError, match=message.replace("?", r"\?")):
        SCHEDULES.build(name)


def test_reactive_keeps_the_rate_while_the_loss_falls() -> None:
    assert set(follow(SCHEDULES.build("reactive"), [0.9**i for i in range(100)])) == {1.0}


def test_reactive_lowers_after_patience_and_starts_over_below_the_floor() -> None:
    schedule = SCHEDULES.build("reactive:patience=3,factor=0.5,floor=0.2")
    multipliers = follow(schedule, [1.0] * 16)
    assert multipliers[:4] == [1, 1, 1, 1]  # the first count is a gain over none
    assert multipliers[4:7] == [0.5] * 3
    assert multipliers[7:10] == [0.25] * 3
    assert multipliers[10:13] == [1] * 3  # 0.125 would starve
    assert set(multipliers) == {1, 0.5, 0.25}


def test_reactive_takes_a_small_gain_for_none() -> None:
    losses = [1.0, *(1 - 0.001 * i for i in range(1, 6))]
    assert follow(SCHEDULES.build("reactive:patience=5,gain=0.01"), losses)[-1] == 0.5
    assert follow(SCHEDULES.build("reactive:patience=5,gain=0.0001"), losses)[-1] == 1


def test_reactive_grows_in_full_batches_only_and_to_its_ceiling() -> None:
    losses = [0.9**i for i in range(100)]
    full = follow(SCHEDULES.build("reactive:patience=2,ceiling=4"), losses, full_batch=True)
    assert full == sorted(full)
    assert set(full) == {1, 2, 4}
    assert set(follow(SCHEDULES.build("reactive:patience=2,ceiling=4"), losses)) == {1}


def test_reactive_does_not_grow_where_the_loss_rises_now_and_then() -> None:
    losses = [0.9**i * (1.2 if i % 3 == 2 else 1) for i in range(100)]
    assert max(follow(SCHEDULES.build("reactive:patience=2"), losses, full_batch=True)) == 1


@pytest.mark.parametrize(
    "option", ["factor=0", "factor=1", "patience=0", "floor=0", "floor=1", "gain=1", "ceiling=0.5"]
)
def test_options_out_of_range_are_refused(option: str) -> None:
    name, value = option.split("=")
    with pytest.raises(SpecError, match=f"schedule reactive takes factor, floor and gain .* got .*{name}={value}"):
        SCHEDULES.build(f"reactive:{option}")


@pytest.mark.parametrize("name", SCHEDULES.names())
def test_a_schedule_goes_on_from_what_it_remembers(name: str) -> None:
    losses = [1 / (1 + i % 7) for i in range(60)]
    whole = follow(SCHEDULES.build(name), losses)
    before, after = SCHEDULES.build(name), SCHEDULES.build(name)
    for i, loss in enumerate([math.inf, *losses[:30]]):
        before.next(100 * i, 6000, loss, full_batch=False)
    state = dict(own_state(before))
    if state:
        vars(after).update(state)
    rest = [after.next(100 * i, 6000, losses[i - 1], full_batch=False) for i in range(31, 61)]
    assert rest == whole[31:]


class Slotted:
    """Remembers where no attribute shows it."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = 1.0


class Listing(list[float]):
    """Remembers what it was told as its own items."""


class Calling:
    """Remembers in a function."""

    def __init__(self) -> None:
        self.told = lambda: 1.0


@pytest.mark.parametrize("schedule", [Slotted(), Listing([1.0]), Calling()])
def test_a_schedule_that_does_not_show_what_it_remembers_is_refused(schedule: Any) -> None:
    name = type(schedule).__name__
    with pytest.raises(ValueError, match=f"^the schedule {name} must hold numbers and texts as attributes only$"):
        own_state(schedule)
