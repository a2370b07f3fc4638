"""Reading a whole journal to say what it holds and what is wrong with it."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np

from emc.journal.index import hash_of
from emc.journal.lines import decode, open_file, walk
from emc.results import ProbeResult

#: Line numbers and contradictions that are listed, at most; all are counted.
MOST = 100


@dataclass(frozen=True)
class Contradiction:
    """Lines that give one probe different verdicts, evidence, correct samples or steps."""

    key: str
    lines: tuple[int, ...]


@dataclass(frozen=True)
class Check:
    """What a journal holds, and what is wrong with it.

    Attributes:
        lines, bytes: of the file, damaged and torn ones included.
        kinds: whole lines of each kind.
        verdicts: verdicts of each sort.
        torn: bytes behind the last line break; never acknowledged, and cut off when the journal is next written to.
        damaged: lines that cannot be read, or lack what their kind must hold.
        damaged_lines: the first of their numbers, counted from 1.
        unknown: lines of kinds that this version does not know.
        unknown_lines: the first of their numbers.
        duplicates: verdicts beyond the first of each probe.
        contradictions: probes whose verdicts differ; the last one counts.
        contradictory: the first of those.
    """

    lines: int
    bytes: int
    kinds: Mapping[str, int]
    verdicts: Mapping[str, int]
    torn: int
    damaged: int
    damaged_lines: tuple[int, ...]
    unknown: int
    unknown_lines: tuple[int, ...]
    duplicates: int
    contradictions: int
    contradictory: tuple[Contradiction, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong; a torn end and duplicates are not."""
        return not (self.damaged or self.unknown or self.contradictions)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "sound": self.sound}


class _Table:
    """Sixteen bytes and two more words a verdict: enough to find those of one probe that differ."""

    def __init__(self) -> None:
        self._hashes, self._facts = array("Q"), array("q")
        self._places, self._numbers = array("q"), array("q")

    def add(self, probe: ProbeResult, place: int, number: int) -> None:
        self._hashes.append(hash_of(probe.key))
        self._facts.append(
            hash((probe.verdict.value, probe.evidence and probe.evidence.key, probe.correct, probe.steps))
        )
        self._places.append(place)
        self._numbers.append(number)

    def compare(self, file: BinaryIO) -> tuple[int, list[Contradiction]]:
        """How many verdicts repeat an earlier one's probe, and which probes have verdicts that differ."""
        hashes, facts = np.frombuffer(self._hashes, np.uint64), np.frombuffer(self._facts, np.int64)
        order = np.argsort(hashes, kind="stable")
        hashes, facts = hashes[order], facts[order]
        repeats = hashes[1:] == hashes[:-1]
        suspects = np.unique(hashes[1:][repeats & (facts[1:] != facts[:-1])])
        lines: dict[str, list[tuple[int, int]]] = {}
        for row in np.sort(order[np.isin(hashes, suspects)]).tolist():
            file.seek(self._places[row])
            key = decode(file.readline()[:-1], "to be checked")["key"]
            lines.setdefault(key, []).append((self._numbers[row], self._facts[row]))
        return int(repeats.sum()), [
            Contradiction(key, tuple(number for number, _ in found))
            for key, found in lines.items()
            if len({fact for _, fact in found}) > 1  # two keys may share a hash
        ]


def check(path: str | os.PathLike[str]) -> Check:
    """Read every line of a journal; nothing is written, so the file may be read-only and others may append to it.

    Raises:
        JournalError: it cannot be read, or is of a newer schema.
    """
    kinds: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    numbers: dict[str, list[int]] = {"damaged": [], "unknown kind": []}
    table, torn, place, number = _Table(), 0, 0, 0
    with open_file(path) as file:
        for line in walk(file, path=path):
            number, place = line.number, line.place + len(line.raw) + (line.problem != "torn")
            if line.problem == "torn":
                torn = len(line.raw)
            elif line.problem:
                problems[line.problem] += 1
                if problems[line.problem] <= MOST:
                    numbers[line.problem].append(line.number)
            elif line.record is not None:
                kinds[line.record["kind"]] += 1
            if line.probe is not None:
                verdicts[line.probe.verdict.value] += 1
                table.add(line.probe, line.place, line.number)
        duplicates, contradictory = table.compare(file)
    return Check(
        lines=number,
        bytes=place,
        kinds=dict(sorted(kinds.items())),
        verdicts=dict(sorted(verdicts.items())),
        torn=torn,
        damaged=problems["damaged"],
        damaged_lines=tuple(numbers["damaged"]),
        unknown=problems["unknown kind"],
        unknown_lines=tuple(numbers["unknown kind"]),
        duplicates=duplicates,
        contradictions=len(contradictory),
        contradictory=tuple(contradictory[:MOST]),
    )
