"""What a journal holds of finished measurements and curves, whole: results with their probes, as they were returned."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from emc.curve_record import Curve
from emc.errors import JournalError
from emc.journal import read
from emc.journal.lines import Line, open_file, walk, warn_damaged
from emc.results import CURVE_KIND, FAILED_KIND, MEASUREMENT_KIND, EmcResult, ProbeResult

#: What fills a journal.
REMEDY = "run emc measure, emc curve or emc sweep with this journal"


@dataclass(frozen=True)
class Recorded:
    """Finished measurements and curves of a journal.

    Attributes:
        results: of measurements, the latest of each fingerprint, in the order they were finished.
        curves: likewise.
        cells: the settings of each as its user gave them last, by fingerprint.
        failed: sentences that say why other measurements could not be made, by fingerprint.
    """

    results: tuple[EmcResult, ...]
    curves: tuple[Curve, ...]
    cells: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, str]


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
    damaged: set[int] = set()
    for line in _lines(journal, damaged, MEASUREMENT_KIND, CURVE_KIND, FAILED_KIND):
        record = line.record or {}
        print_ = record["fingerprint"]
        if record["kind"] == FAILED_KIND:
            failed[print_] = record["error"]
            continue
        failed.pop(print_, None)
        latest.pop(print_, None)
        latest[print_] = record
    wanted = {key for record in latest.values() for key in record["probes"]}
    found = (line.probe for line in _lines(journal, damaged, "probe"))
    probes = {probe.key: probe for probe in found if probe is not None and probe.key in wanted}
    if damaged:
        warn_damaged(journal, len(damaged), stacklevel=2)
    whole = [_with_probes(record, probes, journal) for record in latest.values()]
    results = tuple(EmcResult.from_dict(record) for record in whole if record["kind"] == MEASUREMENT_KIND)
    curves = tuple(Curve.from_dict(record) for record in whole if record["kind"] == CURVE_KIND)
    cells = {name: dict(record.get("cell", {})) for name, record in latest.items()}
    return Recorded(results, curves, cells, failed)


def _with_probes(
    record: Mapping[str, Any], probes: Mapping[str, ProbeResult], journal: str | os.PathLike[str]
) -> dict[str, Any]:
    try:
        return {**record, "probes": [probes[key].to_dict() for key in record["probes"]]}
    except KeyError as error:
        raise JournalError(
            f"a journal must hold the probes that its records name, got none of key {error} in {journal}; "
            "emc journal check names damaged lines, and the same measurement, run again, mends it"
        ) from None


def _lines(journal: str | os.PathLike[str], damaged: set[int], *kinds: str) -> Iterator[Line]:
    """The lines of some kinds; numbers of damaged ones are added to `damaged`."""
    with open_file(journal) as file:
        for line in walk(file, frozenset(kinds), path=journal):
            if line.problem == "damaged":
                damaged.add(line.number)
            if line.record is not None:
                yield line


def require_finished(journal: str | os.PathLike[str], what: str) -> None:
    """Refuse a journal without a finished measurement or curve.

    Args:
        journal: its path.
        what: begins the sentence, as "a claim is tested on".

    Raises:
        JournalError: it holds none, or cannot be read.
    """
    if next(read(journal, MEASUREMENT_KIND, CURVE_KIND), None) is None:
        raise JournalError(f'{what} finished measurements and curves, got none in "{os.fspath(journal)}"; {REMEDY}')
