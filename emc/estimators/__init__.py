"""Estimators by name: from a measurement's settings to the searches that answer it and what they conclude to."""

from __future__ import annotations

from emc.estimators.base import Estimator
from emc.estimators.mean_error import MeanError
from emc.estimators.replicated import ReplicatedSearch
from emc.specs import Measurement


def make_estimator(measurement: Measurement) -> Estimator:
    """The estimator of a measurement whose sizes are resolved."""
    kind = MeanError if measurement.search.goal.kind == "error" else ReplicatedSearch
    return kind(measurement.search, measurement.replicates, measurement.confidence)
