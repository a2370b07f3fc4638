"""What a journal holds of finished measurements and curves, whole: results with their probes, as they were returned."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from emc.curve_record import Curve
from emc.errors import JournalError
from emc.journal import read
from emc.journal.lines import verdict
from emc.results import CURVE_KIND, MEASUREMENT_KIND, EmcResult, ProbeResult


@dataclass(frozen=True)
class Recorded:
    """Finished measurements and curves of a journal.

    Attributes:
        results: of measurements, the latest of each fingerprint, in the order they were finished.
        curves: likewise.
        cells: the settings of each as its user gave them last, by fingerprint.
        spellings: all settings that asked for it, which may say the same in other words, by fingerprint.
        failed: sentences that say why other measurements could not be made, by fingerprint.
    """

    results: tuple[EmcResult, ...]
    curves: tuple[Curve, ...]
    cells: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, str]
    spellings: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)


def read_recorded(journal: str | os.PathLike[str]) -> Recorded:
    """Read a journal's finished measurements and curves with all their probes.

    The file is read twice, line by line: first for the records, then for the probes that they name. It may be packed
    (`.jsonl.gz`).

    Args:
        journal: its path.

    Raises:
        JournalError: it cannot be read, is of a newer schema, or lacks probes that a record names.
    """
    latest: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    spellings: dict[str, list[dict[str, Any]]] = {}
    for record in read(journal, MEASUREMENT_KIND, CURVE_KIND, "failed"):
        print_ = record["fingerprint"]
        if record["kind"] == "failed":
            failed[print_] = record["error"]
            continue
        failed.pop(print_, None)
        latest.pop(print_, None)
        latest[print_] = record
        said, cell = spellings.setdefault(print_, []), dict(record.get("cell", {}))
        said += [] if cell in said else [cell]
    probes = _probes(journal, {key for record in latest.values() for key in record["probes"]})
    results, curves = [], []
    for record in latest.values():
        try:
            whole = record | {"probes": [probes[key].to_dict() for key in record["probes"]]}
        except KeyError as error:
            raise JournalError(
                f"a journal must hold the probes that its records name, got none of key {error} in {journal}; run the "
                "measurement again with this journal"
            ) from None
        if record["kind"] == CURVE_KIND:
            curves.append(Curve.from_dict(whole))
        else:
            results.append(EmcResult.from_dict(whole))
    cells = {name: dict(record.get("cell", {})) for name, record in latest.items()}
    known = {name: tuple(said) for name, said in spellings.items()}
    return Recorded(tuple(results), tuple(curves), cells, failed, known)


def _probes(journal: str | os.PathLike[str], wanted: set[str]) -> dict[str, ProbeResult]:
    return {found.key: found for found in _verdicts(journal) if found.key in wanted}


def _verdicts(journal: str | os.PathLike[str]) -> Iterator[ProbeResult]:
    for record in read(journal, "probe"):
        yield verdict(record)
