"""The trainer of what emc cannot look into."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from emc.api import prepare
from emc.results import ProbeResult
from emc.specs import Measurement, Probe
from emc.training.opaque import Answer, Given, OpaqueTrainer
from emc.training.setup import Setup


@dataclass
class Slow:
    """Answers at the third look; remembers how many were under way at once."""

    apart: bool = True
    under_way: set[int] = field(default_factory=set)
    most: int = 0

    def start(self, given: Given) -> SlowRun:
        self.under_way.add(given.probe.n)
        self.most = max(self.most, len(self.under_way))
        return SlowRun(self, given)


@dataclass
class SlowRun:
    owner: Slow
    given: Given
    looks: int = 0

    def poll(self) -> Answer | None:
        self.looks += 1
        return Answer(self.given.probe.n) if self.looks == 3 else None

    def stop(self) -> None:
        self.owner.under_way.discard(self.given.probe.n)


def setup_of(training: Any) -> Setup:
    measurement = Measurement.from_flat({"train": "sklearn:estimator=GaussianNB", "labels": "random"})
    return replace(prepare(measurement).setup, training=training)


def finish(trainer: OpaqueTrainer, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        found += [result.n for result in trainer.advance() if isinstance(result, ProbeResult)]
    return found


def test_programs_run_side_by_side_up_to_the_workers() -> None:
    slow = Slow()
    trainer = OpaqueTrainer(setup_of(slow), workers=3)
    assert (trainer.room(), trainer.wants()) == (3, 6)
    for n in range(10, 15):
        trainer.add(Probe("base", n, 0))
    trainer.advance()
    assert (slow.most, trainer.room(), trainer.wants(), len(trainer.running())) == (3, 0, 1, 3)
    assert sorted(finish(trainer, 5)) == list(range(10, 15))
    assert (slow.most, slow.under_way) == (3, set())


def test_others_run_one_after_the_other() -> None:
    slow = Slow(apart=False)
    trainer = OpaqueTrainer(setup_of(slow), workers=3)
    for n in (10, 11):
        trainer.add(Probe("base", n, 0))
    assert finish(trainer, 2) == [10, 11]
    assert slow.most == 1


def test_dropped_and_closed_ones_are_stopped() -> None:
    slow = Slow()
    trainer = OpaqueTrainer(setup_of(slow), workers=2)
    probes = [Probe("base", n, 0) for n in (10, 11, 12)]
    for probe in probes:
        trainer.add(probe)
    trainer.advance()
    status = trainer.drop(probes[0])
    assert status is not None
    assert (status.n, status.steps, status.budget) == (10, 0, 1)
    assert trainer.drop(probes[2]) is None
    assert slow.under_way == {11}
    trainer.close()
    assert slow.under_way == set()
    assert trainer.advance() == []
