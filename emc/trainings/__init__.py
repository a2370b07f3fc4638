"""Whole trainings by name, of which emc sees samples go in and answers come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from emc.registry import Registry

#: Class numbers (n,) or scores (n, K) of inputs (n, *shape).
Predict = Callable[[Any], Any]

#: (X, y, seed, budget) -> predict; X: (n, *shape) float32, y: (n,) int64 class numbers from 0, a seed of 31 bits, and
#: the steps that the procedure allows at n samples, which it may heed.
TrainFunction = Callable[[Any, Any, int, int], Predict]


@dataclass(frozen=True, eq=False)
class NamedTraining:
    """A training that was found by its name.

    Attributes:
        fit: trains.
        made_with: what its numbers depend on beside its options, such as "scikit-learn 1.5.2"; part of its identity.
    """

    fit: TrainFunction
    made_with: str = ""


#: A factory takes its options and returns a `NamedTraining`. Fact: `budget=True` where it heeds the budget.
TRAININGS: Registry[NamedTraining] = Registry("training", "emc.trainings", "emc.trainings")
