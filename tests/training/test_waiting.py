"""Whose turn it is: the needed before those asked ahead."""

from __future__ import annotations

from emc.specs import Probe
from emc.training.waiting import Waiting

PROBES = [Probe("base", n, 0) for n in range(6)]


def taken(waiting: Waiting) -> list[int]:
    return [waiting.take().n for _ in range(len(waiting))]


def test_needed_ones_go_first_and_each_kind_in_the_order_it_came() -> None:
    waiting = Waiting()
    for probe in PROBES:
        waiting.add(probe, ahead=probe.n % 2 == 0)
    assert len(waiting) == 6
    assert taken(waiting) == [1, 3, 5, 0, 2, 4]
    assert not waiting


def test_one_asked_ahead_that_comes_again_is_needed_and_waits_once() -> None:
    waiting = Waiting()
    for probe in PROBES[:3]:
        waiting.add(probe, ahead=True)
    waiting.add(PROBES[1])
    assert len(waiting) == 3
    assert taken(waiting) == [1, 0, 2]


def test_those_put_back_go_before_all_others() -> None:
    waiting = Waiting()
    waiting.add(PROBES[0])
    waiting.add(PROBES[1], ahead=True)
    waiting.put_back(PROBES[2:4])
    assert taken(waiting) == [2, 3, 0, 1]


def test_what_is_removed_has_no_turn() -> None:
    waiting = Waiting()
    waiting.add(PROBES[0])
    waiting.add(PROBES[1], ahead=True)
    waiting.add(PROBES[2])
    for probe in (PROBES[0], PROBES[1], PROBES[5]):
        waiting.remove(probe)
    assert taken(waiting) == [2]
    waiting.add(PROBES[3])
    waiting.clear()
    assert len(waiting) == 0
