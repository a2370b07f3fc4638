"""Journals written by hand for pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emc.curve_record import Curve
from emc.errors import TrainingError
from emc.journal import Journal
from emc.results import EmcResult, failed_record, measurement_record


def write_journal(path: Path, results: Sequence[EmcResult], curves: Sequence[Curve] = (), failed: str = "") -> Path:
    """Measurements and curves as a journal keeps them."""
    with Journal(path) as journal:
        for result in results:
            journal.note(measurement_record(result, {}))
            journal.append(result.probes)
        for curve in curves:
            journal.note(curve.record({}))
            journal.append(curve.probes)
        if failed:
            journal.note(failed_record("gone", {"model": "mlp"}, TrainingError(failed)))
    return path
