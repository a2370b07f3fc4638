"""Trainings that emc cannot look into: samples go in, a count of right answers comes out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emc.results import Evidence, ProbeResult, RunningProbe, Verdict
from emc.seeds import training_seed
from emc.specs import Probe
from emc.training.counting import CHUNK
from emc.training.evidence import conflict
from emc.training.failing import Outcome, raised
from emc.training.inputs import Gathered
from emc.training.setup import Setup, Setups, all_setups, setup_of
from emc.training.waiting import Waiting

#: Seconds between two looks at trainings that are processes of their own.
POLL_S = 0.01


@dataclass(frozen=True)
class Care:
    """How trainings are run.

    Attributes:
        threads: of each, as far as it heeds that.
        timeout_s: seconds after which one is broken off; None never is.
        keep: folder for what failed ones printed; None is a temporary one.
    """

    threads: int = 1
    timeout_s: float | None = None
    keep: Path | None = None


@dataclass(frozen=True, eq=False)
class Given:
    """What one training is given.

    Attributes:
        probe: which one it is.
        X: (n, *shape) float32.
        y: (n,) int64 class numbers from 0.
        num_classes: K.
        seed: of 31 bits.
        budget: steps that the procedure allows at n samples.
        test: held-out inputs and classes, likewise; None without any.
        care: how it is run.
    """

    probe: Probe
    X: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    num_classes: int
    seed: int
    budget: int
    test: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]] | None = None
    care: Care = field(default_factory=Care)


@dataclass(frozen=True)
class Answer:
    """What came of a training: right answers among its n samples, and anything else for the record."""

    correct: int
    detail: Mapping[str, Any] = field(default_factory=dict)


class Underway(Protocol):
    """One training that was started."""

    def poll(self) -> Answer | None:
        """What came of it, by now or at the end of this call; None while it goes on elsewhere.

        Raises:
            Exception: it failed, or took too long.
        """
        ...

    def stop(self) -> None:
        """End it at once, and leave nothing behind."""
        ...


class Opaque(Protocol):
    """A training that emc cannot look into.

    Attributes:
        apart: whether each is a process of its own, so that several may run at once.
    """

    @property
    def apart(self) -> bool:
        """See above."""
        ...

    def start(self, given: Given) -> Underway:
        """Start one."""
        ...


class OpaqueTrainer:
    """Runs the trainings it was given: one after the other, or several at once where they are processes of their own.

    Args:
        setups: what trains; probes of setups without such a training are for another trainer.
        workers: processes at once.
        care: how they are run.
    """

    name = "opaque"

    def __init__(self, setups: Setups, workers: int = 1, care: Care | None = None) -> None:
        self._setups, self._care = setups, Care() if care is None else care
        own = [setup.training for setup in all_setups(setups) if setup.training is not None]
        self._limit = workers if own and all(training.apart for training in own) else 1
        self._waiting = Waiting()
        self._underway: dict[Probe, tuple[Underway, float]] = {}

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; see `Executor.add`."""
        if probe not in self._underway:
            self._waiting.add(probe, ahead=ahead)

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; how long it ran, if it was under way."""
        self._waiting.remove(probe)
        if probe not in self._underway:
            return None
        found = self._status(probe)
        self._underway.pop(probe)[0].stop()
        return found

    def running(self) -> list[RunningProbe]:
        """The trainings under way, of which no more is known than how long they take."""
        return [self._status(probe) for probe in self._underway]

    def _status(self, probe: Probe) -> RunningProbe:
        seconds = time.perf_counter() - self._underway[probe][1]
        return RunningProbe(probe.n, probe.replicate, probe.attempt, 0, 0, 1, 0, seconds, probe.base)

    def room(self) -> int:
        """Trainings that could start."""
        return max(0, self._limit - len(self._underway) - len(self._waiting))

    def wants(self) -> int:
        """As many as can run may wait; see `Executor.wants`."""
        return max(0, 2 * self._limit - len(self._underway) - len(self._waiting))

    def save(self) -> None:
        """What goes on out of sight cannot be kept; see `Executor.save`."""

    def close(self) -> None:
        """End all trainings."""
        self._waiting.clear()
        while self._underway:
            self._underway.popitem()[1][0].stop()

    def advance(self) -> list[Outcome]:
        """Start what can be started, then look once at each; the verdicts and failures that came."""
        outcomes = self._start()
        outcomes += [each for probe in list(self._underway) if (each := self._look(probe)) is not None]
        if self._underway and not outcomes:
            time.sleep(POLL_S)
        return outcomes

    def _start(self) -> list[Outcome]:
        outcomes: list[Outcome] = []
        while self._waiting and len(self._underway) < self._limit:
            probe = self._waiting.take()
            setup = setup_of(self._setups, probe)
            try:
                known = conflict(setup, probe)
                if known is not None:
                    outcomes.append(known)
                    continue
                if setup.training is None:
                    raise RuntimeError("the setup is trained by emc itself")
                started = time.perf_counter()
                self._underway[probe] = setup.training.start(give(setup, probe, self._care)), started
            except Exception as error:  # such as a full disk
                outcomes.append(raised(probe, error))
        return outcomes

    def _look(self, probe: Probe) -> Outcome | None:
        underway, started = self._underway[probe]
        try:
            answer = underway.poll()
        except Exception as error:  # whatever a user's own training may raise
            del self._underway[probe]
            underway.stop()
            return raised(probe, error)
        if answer is None:
            return None
        del self._underway[probe]
        underway.stop()
        return _result(probe, answer, time.perf_counter() - started)


def give(setup: Setup, probe: Probe, care: Care) -> Given:
    """The samples of a probe as arrays of its own, which the training may change without harm."""
    samples = setup.samples(probe)
    X, y = samples.first(probe.n)
    test = samples.test
    held = None if test is None else (_floats(_all(test[0])), test[1].cpu().numpy().copy())
    return Given(
        probe,
        _floats(X),
        y.cpu().numpy().copy(),
        samples.num_classes,
        training_seed(setup.seed, probe.n, probe.replicate, probe.attempt),
        setup.allowance(probe.n),
        held,
        care,
    )


def _all(X: Tensor | Gathered) -> Tensor:
    return torch.cat(list(X.split(CHUNK)))


def _floats(X: Tensor) -> npt.NDArray[np.float32]:
    return X.cpu().numpy().astype(np.float32)


def _result(probe: Probe, answer: Answer, seconds: float) -> ProbeResult:
    fitted = answer.correct == probe.n
    return ProbeResult(
        key=probe.key,
        n=probe.n,
        replicate=probe.replicate,
        attempt=probe.attempt,
        verdict=Verdict.FITTED if fitted else Verdict.NOT_FITTED,
        evidence=None if fitted else Evidence.OWN_STOP,
        correct=answer.correct,
        steps=1,
        sample_steps=probe.n,
        seconds=seconds,
        detail={"stop": "own", **answer.detail},
    )
