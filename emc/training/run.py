"""One probe under way: its steps, counts and the rule that ends it, the same in every trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from emc.results import RunningProbe
from emc.seeds import batch_seed
from emc.specs import Probe
from emc.training.samples import Batches
from emc.training.schedules import own_state
from emc.training.setup import Setup


class Stop(Enum):
    """Why a training ended."""

    FITTED = "the criterion is met: every sample right, or the loss low enough"
    DIVERGED = "the loss is no longer finite"
    STALLED = "a doubling of the steps gained nothing"
    BUDGET = "the budget ended while the training still gained"


@dataclass(frozen=True)
class Escape:
    """How a training left a saddle.

    Attributes:
        step: optimizer steps done by then.
        length: of the perturbation along the negative curvature, as a share of the norm of the trainable parameters;
            its sign is the direction's.
        loss_before, loss_after: mean training loss over the n samples, before it and after it.
    """

    step: int
    length: float
    loss_before: float
    loss_after: float


class Trace:
    """Best loss and best count by step, to tell whether a doubling of the steps gained anything."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._seen: list[float] = []
        self._losses: list[float] = []
        self._counts: list[int] = []

    def add(self, step: int, loss: float, correct: int) -> None:
        """Record an exact count."""
        best = min(loss, self._losses[-1]) if self._losses else loss
        most = max(correct, self._counts[-1]) if self._counts else correct
        self._steps.append(step)
        self._seen.append(loss)
        self._losses.append(best)
        self._counts.append(most)

    def state(self) -> dict[str, Any]:
        """What `load_state` takes."""
        return {"steps": self._steps, "seen": self._seen, "losses": self._losses, "counts": self._counts}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where another trace was."""
        names = ("steps", "seen", "losses", "counts")
        self._steps, self._seen, self._losses, self._counts = (list(state[name]) for name in names)

    def gain_of_doubling(self) -> tuple[float, int]:
        """Share by which the best loss fell since half the steps, and by how much the best count rose.

        Infinite before there was a count at half the steps.
        """
        step = self._steps[-1]
        half = max((i for i, at in enumerate(self._steps) if 2 * at <= step), default=None)
        if half is None or self._losses[half] == 0:
            return math.inf, 0
        return 1 - self._losses[-1] / self._losses[half], self._counts[-1] - self._counts[half]

    def rise(self) -> float:
        """The least loss of the last quarter of the steps over the best one: 1 where the best is among them.

        A training that fluctuates about its noise floor comes near its best in so many counts; one that a large rate
        has thrown out does not.
        """
        late = min(loss for at, loss in zip(self._steps, self._seen, strict=True) if 4 * at > 3 * self._steps[-1])
        best = self._losses[-1]
        return late / best if best else (1.0 if late == best else math.inf)


#: What a saved state must have in common with the probe that goes on from it, and what it brings.
_CONSTANT = ("n", "batch_size", "budget", "check_every")
_CHANGING = ("steps", "sample_steps", "correct", "loss", "multiplier", "seconds")


class ProbeRun:
    """A probe under way.

    Attributes:
        setup: what it is trained with.
        n, batch_size, budget, check_every: of the probe.
        steps: optimizer steps done.
        correct, loss: at the last exact count.
        multiplier: the schedule's, of the base learning rate.
        trace: best loss and count since the start or the last escape, by the steps since then.
        escapes: saddles left so far.
        stop: why it ended; None while it runs.
        seconds: wall time charged.
    """

    def __init__(self, setup: Setup, probe: Probe) -> None:
        self.setup = setup
        self.probe = probe
        self._samples = setup.samples(probe)  # held as long as the probe is under way
        self.n = probe.n
        self.batch_size = setup.batch_size(self.n)
        self.budget = setup.budget(self.n)
        self.check_every = setup.check_every(self.n)
        self.steps = 0
        self.sample_steps = 0
        self.correct = 0
        self.loss = math.inf
        self.trace = Trace()
        self.escapes: list[Escape] = []
        self.stop: Stop | None = None
        self.seconds = 0.0
        self._schedule = setup.make_schedule()
        self.multiplier = self._next_multiplier()
        seed = batch_seed(setup.seed, self.n, probe.replicate, probe.attempt)
        self.batches = Batches(self.n, self.batch_size, seed)

    @property
    def due(self) -> bool:
        """Whether the exact count is due."""
        return self.due_after(0)

    def due_after(self, steps: int) -> bool:
        """Whether the exact count is due after some more steps."""
        after = self.steps + steps
        return after % self.check_every == 0 or after >= self.budget

    def did(self, steps: int) -> None:
        """Record optimizer steps."""
        self.steps += steps
        self.sample_steps += steps * self.batch_size

    def count(self, correct: int, loss: float) -> None:
        """Take in an exact count: decide whether the probe ends, and the next learning rate."""
        self.correct, self.loss = correct, loss
        if not math.isfinite(loss):
            self.stop = Stop.DIVERGED
            return
        goal = self.setup.loss_goal
        if correct == self.n if goal is None else loss <= goal:
            self.stop = Stop.FITTED
            return
        self.trace.add(self._steps_since_escape, loss, correct)
        self.multiplier = self._next_multiplier()
        if self._stalled():
            self.stop = Stop.STALLED
        elif self.steps >= self.budget:
            self.stop = Stop.BUDGET

    def state(self) -> dict[str, Any]:
        """All that `load_state` needs for the probe to go on to the bit, its model and optimizer apart.

        Raises:
            ValueError: a user's own schedule does not tell all that it knows.
        """
        return {
            **{name: getattr(self, name) for name in (*_CONSTANT, *_CHANGING)},
            "trace": self.trace.state(),
            "escapes": [asdict(escape) for escape in self.escapes],
            "schedule": own_state(self._schedule),
            "batches": self.batches.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where this probe was in another process.

        Raises:
            ValueError: the state is of another probe.
        """
        if any(state[name] != getattr(self, name) for name in _CONSTANT):
            raise ValueError("it is of another probe")
        for name in _CHANGING:
            setattr(self, name, state[name])
        self.trace.load_state(state["trace"])
        self.escapes = [Escape(**escape) for escape in state["escapes"]]
        if state["schedule"]:
            vars(self._schedule).update(state["schedule"])
        self.batches.load_state(state["batches"])

    def go_on(self, escape: Escape) -> None:
        """Take in that the training left the saddle it stalled at: whether it stalls again is judged anew."""
        self.escapes.append(escape)
        self.trace = Trace()
        self.stop = None

    @property
    def _steps_since_escape(self) -> int:
        return self.steps - (self.escapes[-1].step if self.escapes else 0)

    def _next_multiplier(self) -> float:
        full_batch = self.batch_size == self.n
        return self._schedule.next(self.steps, self.budget, self.loss, full_batch=full_batch)

    def _stalled(self) -> bool:
        procedure = self.setup.procedure
        if self._steps_since_escape < procedure.stall_share * self.budget:
            return False
        gain, risen = self.trace.gain_of_doubling()
        return gain < procedure.stall_tolerance and risen <= 0

    def status(self) -> RunningProbe:
        """What a live view shows."""
        probe, done = self.probe, (self.correct, self.steps, self.budget, self.sample_steps, self.seconds)
        return RunningProbe(self.n, probe.replicate, probe.attempt, *done, probe.base)
