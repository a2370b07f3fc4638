"""Learning-rate schedules by name: small state machines asked at each exact count, one a probe.

They work the same for one model and for a member of a stack, since they see only that probe's own loss. Between two
counts the rate stays: a schedule is followed in stairs, however steep it is.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from emc.errors import SpecError
from emc.registry import PluginSpec, Registry

#: Share of the budget over which `warmup` rises where it is not told.
DEFAULT_SHARE = 0.05


class Schedule(Protocol):
    """Multiplies the optimizer's base learning rate."""

    def next(self, step: int, budget: int, loss: float, *, full_batch: bool) -> float:
        """The multiplier after an exact count.

        Args:
            step: optimizer steps done; 0 with an infinite loss before the first.
            budget: steps after which the probe ends.
            loss: mean training loss over all n samples.
            full_batch: whether every batch is the whole of the samples.
        """
        ...


#: A factory returns a fresh schedule for one probe.
SCHEDULES: Registry[Schedule] = Registry("schedule", None, "emc.schedules")


def own_state(schedule: Schedule) -> dict[str, Any]:
    """What a schedule remembers, where that is numbers and texts in its attributes and nothing else.

    Raises:
        ValueError: it holds something else.
    """
    held: dict[str, Any] = getattr(schedule, "__dict__", {})
    whole = tuple(schedule.__reduce_ex__(2)[2:]) == (held or None, None, None)  # no slots, no items
    if not whole or not _is_plain(held):
        raise ValueError(f"the schedule {type(schedule).__name__} must hold numbers and texts as attributes only")
    return held


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str | int) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


class Reactive:
    """Follows the loss: a lower rate where it no longer falls, and a higher one where it falls at every full batch.

    When the rate has become small it starts over at the base rate, so that it never starves. Without noise of batches
    the tail of a separable problem is long and smooth, and a rate that grows shortens it; with noise, growth wrecks
    ReLU nets (measured: benchmarks/README.md, "Defaults"), so there the base rate is the largest.
    """

    def __init__(self, factor: float, patience: int, floor: float, gain: float, ceiling: float) -> None:
        self._factor, self._patience, self._floor, self._gain = factor, patience, floor, gain
        self._ceiling = ceiling
        self._multiplier, self._best, self._waited = 1.0, math.inf, 0
        self._last, self._falls = math.inf, 0

    def next(self, step: int, budget: int, loss: float, *, full_batch: bool) -> float:  # noqa: ARG002 - no horizon, by design
        """See `Schedule.next`."""
        fell = loss < self._last
        self._falls = self._falls + 1 if fell else 0
        self._last = loss
        if loss < self._best * (1 - self._gain):
            self._best, self._waited = loss, 0
        elif not (full_batch and fell):
            self._waited += 1
        if self._waited >= self._patience:
            self._lower()
        elif full_batch and self._falls >= 2 * self._patience:
            self._falls = 0
            self._multiplier = min(self._multiplier / self._factor, self._ceiling)
        return self._multiplier

    def _lower(self) -> None:
        self._waited = 0
        self._multiplier *= self._factor
        if self._multiplier < self._floor:
            self._multiplier, self._best = 1.0, math.inf


@SCHEDULES.register("reactive")
def reactive(
    *, factor: float = 0.5, patience: int = 5, floor: float = 0.01, gain: float = 0.01, ceiling: float = 4.0
) -> Schedule:
    """Multiply the rate by `factor` after `patience` counts that gained nothing; below `floor` start over at 1.

    Where every batch is the whole set, divide by `factor` after twice as many counts that all fell, up to `ceiling`.
    """
    if not (0 < factor < 1 and patience >= 1 and 0 < floor < 1 and 0 <= gain < 1 and ceiling >= 1):
        raise SpecError(
            "schedule reactive takes factor, floor and gain between 0 and 1, patience and ceiling of at least 1, "
            f"got factor={factor}, patience={patience}, floor={floor}, gain={gain}, ceiling={ceiling}"
        )
    return Reactive(factor, patience, floor, gain, ceiling)


class Constant:
    """The base rate throughout."""

    def next(self, step: int, budget: int, loss: float, *, full_batch: bool) -> float:  # noqa: ARG002
        """See `Schedule.next`."""
        return 1.0


@SCHEDULES.register("constant")
def constant() -> Schedule:
    """The base rate throughout."""
    return Constant()


class Cosine:
    """Half a cosine from the base rate to zero over the budget."""

    def next(self, step: int, budget: int, loss: float, *, full_batch: bool) -> float:  # noqa: ARG002
        """See `Schedule.next`."""
        return 0.5 * (1 + math.cos(math.pi * min(step / budget, 1.0)))


@SCHEDULES.register("cosine")
def cosine() -> Schedule:
    """Half a cosine from the base rate to zero at the budget's end, in stairs of one exact count: a fixed horizon."""
    return Cosine()


class InverseSqrt:
    """The base rate over sqrt(1 + floor(t / every)) at step t."""

    def __init__(self, every: int) -> None:
        self._every = every

    def next(self, step: int, budget: int, loss: float, *, full_batch: bool) -> float:  # noqa: ARG002
        """See `Schedule.next`."""
        return 1 / math.sqrt(1 + step // self._every)


@SCHEDULES.register("inverse_sqrt")
def inverse_sqrt(*, every: int = 512) -> Schedule:
    """The base rate over sqrt(1 + floor(t / every)) at step t: Nakkiran et al. 2020, in stairs of one exact count."""
    if every < 1:
        raise SpecError(f"schedule inverse_sqrt takes every of at least 1, got {every}")
    return InverseSqrt(every)


class Warmup:
    """The share (t + 1) / steps of the base rate at step t, then another schedule from its own start.

    The other schedule is made anew at each count and given what it remembered, so that all this one holds are numbers
    and texts.
    """

    def __init__(self, steps: int | None, share: float, then: str) -> None:
        self._steps, self._share, self._then = steps, share, then
        self._remembered: dict[str, Any] = {}

    def next(self, step: int, budget: int, loss: float, *, full_batch: bool) -> float:
        """See `Schedule.next`."""
        steps = math.ceil(self._share * budget) if self._steps is None else self._steps
        if step < steps:
            return (step + 1) / steps
        schedule = SCHEDULES.build(self._then)
        vars(schedule).update(self._remembered)
        multiplier = schedule.next(step - steps, max(1, budget - steps), loss, full_batch=full_batch)
        self._remembered = own_state(schedule)
        return multiplier


@SCHEDULES.register("warmup", nests=("then",))
def warmup(*, steps: int | None = None, share: float | None = None, then: tuple[str, ...] = ("reactive",)) -> Schedule:
    """A linear rise over steps, or over a share of the budget (0.05), then a schedule such as then=cosine.

    It rises in stairs of one exact count, so that one shorter than that is a single stair at 1 / steps.
    """
    if steps is not None and share is not None:
        raise SpecError(f"schedule warmup takes steps or share, got steps={steps} and share={share}; leave one out")
    if (steps is not None and steps < 1) or (share is not None and not 0 < share < 1):
        raise SpecError(
            f"schedule warmup takes steps of at least 1 or share between 0 and 1, got steps={steps}, share={share}"
        )
    spec = PluginSpec.of_parts(then)
    if spec.name == "warmup":
        raise SpecError("schedule warmup is followed by another schedule, got then=warmup; use then=reactive")
    SCHEDULES.build(spec)  # wrong names and options are told at once
    return Warmup(steps, DEFAULT_SHARE if share is None else share, str(spec))
