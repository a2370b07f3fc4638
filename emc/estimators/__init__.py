"""Estimators: from a measurement's settings to the searches that answer it and what they conclude to."""

from __future__ import annotations

from emc.estimators.base import Estimator
from emc.estimators.mean_error import MeanError
from emc.estimators.replicated import ReplicatedSearch
from emc.estimators.threshold import ThresholdSearch
from emc.search.rules import SEARCHES, ThresholdRule
from emc.specs import Measurement


def make_estimator(measurement: Measurement) -> Estimator:
    """The estimator of a measurement whose sizes are resolved."""
    search = measurement.search
    rule = SEARCHES.build(search.search)
    if isinstance(rule, ThresholdRule):
        return ThresholdSearch(rule, search, measurement.confidence)
    kind = MeanError if search.goal.kind == "error" else ReplicatedSearch
    return kind(search, measurement.replicates, measurement.confidence)
