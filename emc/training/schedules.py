"""Learning-rate schedules by name: small state machines asked at each exact count, one a probe.

They work the same for one model and for a member of a stack, since they see only that probe's own loss.
"""

from __future__ import annotations

import math
from typing import Protocol

from emc.errors import SpecError
from emc.registry import Registry


class Schedule(Protocol):
    """Multiplies the optimizer's base learning rate."""

    def next(self, step: int, budget: int, loss: float) -> float:
        """The multiplier after an exact count.

        Args:
            step: optimizer steps done; 0 with an infinite loss before the first.
            budget: steps after which the probe ends.
            loss: mean training loss over all n samples.
        """
        ...


#: A factory returns a fresh schedule for one probe.
SCHEDULES: Registry[Schedule] = Registry("schedule", None, "emc.schedules")


class Reactive:
    """Lowers the rate where the loss no longer falls, and starts over at the base rate when it has become small."""

    def __init__(self, factor: float, patience: int, floor: float, gain: float) -> None:
        self._factor, self._patience, self._floor, self._gain = factor, patience, floor, gain
        self._multiplier, self._best, self._waited = 1.0, math.inf, 0

    def next(self, step: int, budget: int, loss: float) -> float:  # noqa: ARG002 - no horizon, by design
        """See `Schedule.next`."""
        if loss < self._best * (1 - self._gain):
            self._best, self._waited = loss, 0
            return self._multiplier
        self._waited += 1
        if self._waited >= self._patience:
            self._waited = 0
            self._multiplier *= self._factor
            if self._multiplier < self._floor:
                self._multiplier, self._best = 1.0, math.inf
        return self._multiplier


@SCHEDULES.register("reactive")
def reactive(*, factor: float = 0.5, patience: int = 5, floor: float = 0.01, gain: float = 0.01) -> Schedule:
    """Multiply the rate by `factor` after `patience` counts that gained nothing; below `floor` start over at 1."""
    if not (0 < factor < 1 and patience >= 1 and 0 < floor < 1 and 0 <= gain < 1):
        raise SpecError(
            "schedule reactive takes factor, floor and gain between 0 and 1 and patience of at least 1, "
            f"got factor={factor}, patience={patience}, floor={floor}, gain={gain}"
        )
    return Reactive(factor, patience, floor, gain)


class Constant:
    """The base rate throughout."""

    def next(self, step: int, budget: int, loss: float) -> float:  # noqa: ARG002
        """See `Schedule.next`."""
        return 1.0


@SCHEDULES.register("constant")
def constant() -> Schedule:
    """The base rate throughout."""
    return Constant()


class Cosine:
    """Half a cosine from the base rate to zero over the budget."""

    def next(self, step: int, budget: int, loss: float) -> float:  # noqa: ARG002
        """See `Schedule.next`."""
        return 0.5 * (1 + math.cos(math.pi * min(step / budget, 1.0)))


@SCHEDULES.register("cosine")
def cosine() -> Schedule:
    """Half a cosine from the base rate to zero at the budget's end, in stairs of one exact count: a fixed horizon."""
    return Cosine()
