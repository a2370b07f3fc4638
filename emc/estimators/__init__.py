"""Estimators by name: from a measurement's settings to the searches that answer it and what they conclude to."""

from __future__ import annotations

from emc.estimators.base import SEARCHES, Estimator
from emc.specs import Measurement


def make_estimator(measurement: Measurement) -> Estimator:
    """The estimator of a measurement whose sizes are resolved."""
    return SEARCHES.build(measurement.search.search).make(measurement)
