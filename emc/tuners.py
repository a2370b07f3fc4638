"""Tuners by name: which learning rates and batch sizes are tried, and for how long, before one is measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from emc.errors import SpecError
from emc.registry import Registry

TUNERS: Registry[Halving] = Registry("tuner")


@dataclass(frozen=True)
class Candidate:
    """What tuning chooses.

    Attributes:
        lr: the optimizer's base learning rate.
        batch_size: of the procedure.
    """

    lr: float
    batch_size: int


@dataclass(frozen=True)
class Halving:
    """Successive halving: many candidates on a small budget, the better part of them on a larger one, and so on.

    Attributes:
        rates: learning rates tried, around the named one.
        factor: between neighbouring rates.
        batch_sizes: tried with each rate; empty for the named one.
        rungs: budgets tried; the last is the measurement's own, each earlier one the eta-th part of the next. Short
            budgets alone favour high rates.
        eta: of the candidates of a rung, one in so many enters the next, rounded up.
        replicates: independent draws each candidate is tried on.
        widen: rates added at most where the best of the first rung is at an end of their range.

    References:
        Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter optimization".
    """

    rates: int
    factor: float
    batch_sizes: tuple[int, ...]
    rungs: int
    eta: int
    replicates: int
    widen: int

    def candidates(self, lr: float, batch_size: int) -> list[Candidate]:
        """The candidates of the first rung, the rates around one and ascending."""
        places = range(-(self.rates // 2), self.rates - self.rates // 2)
        sizes = self.batch_sizes or (batch_size,)
        return [Candidate(_rounded(lr * self.factor**place), size) for size in sizes for place in places]

    def beyond(self, tried: list[Candidate], best: Candidate) -> Candidate | None:
        """The next candidate outwards where the best has an end of the rates tried with its batch size."""
        rates = sorted(other.lr for other in tried if other.batch_size == best.batch_size)
        if best.lr == rates[-1]:
            return Candidate(_rounded(best.lr * self.factor), best.batch_size)
        if best.lr == rates[0]:
            return Candidate(_rounded(best.lr / self.factor), best.batch_size)
        return None

    def divisors(self) -> Iterator[int]:
        """By what the measurement's budget is divided in each rung."""
        return (self.eta**rung for rung in reversed(range(self.rungs)))

    def survivors(self, number: int) -> int:
        """How many of a rung's candidates enter the next."""
        return math.ceil(number / self.eta)


def _rounded(lr: float) -> float:
    """Three digits, so that a rate can be named by hand."""
    return float(f"{lr:.3g}")


@TUNERS.register("halving")
def halving(
    *,
    rates: int = 5,
    factor: float = 3.1623,
    batch_sizes: tuple[str, ...] = (),
    rungs: int = 2,
    eta: int = 4,
    replicates: int = 3,
    widen: int = 2,
) -> Halving:
    """Successive halving around the optimizer's rate (lr=auto: its default), by the samples fitted in the budget.

    Raises:
        SpecError: an option out of range.
    """
    for name, value, low, high in (
        ("rates", rates, 1, 99),
        ("rungs", rungs, 1, 9),
        ("eta", eta, 2, 9),
        ("replicates", replicates, 1, 99),
        ("widen", widen, 0, 99),
    ):
        if not low <= value <= high:
            raise SpecError(f"tuner halving takes {name} from {low} to {high}, got {value}")
    if not 1 < factor <= 1000:
        raise SpecError(f"tuner halving takes factor above 1 and at most 1000, got {factor}")
    sizes = tuple(_batch_size(text) for text in batch_sizes)
    if rates * max(len(sizes), 1) < 2:
        raise SpecError("tuner halving takes two candidates or more, got one; raise rates or name batch_sizes")
    return Halving(rates, factor, tuple(dict.fromkeys(sizes)), rungs, eta, replicates, widen)


def _batch_size(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise SpecError(f'tuner halving takes batch_sizes as whole numbers of at least 2 separated by |, got "{text}"')
    return int(text)
