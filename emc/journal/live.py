"""What runs now: a small file for each process that works on a journal, and reading those of live ones."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emc.journal.lines import BLOCK, DamagedLineError, decode, open_file, verdict
from emc.journal.locks import Claims, is_claimed
from emc.results import ProbeResult

Status = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

#: Seconds between two times that a process says what it runs, at least.
SHOW_EVERY_S = 1.0

#: Bytes from a journal's end that are read at first for its last verdicts.
_TAIL_BYTES = 1 << 14


def side_folder(path: str | os.PathLike[str]) -> Path:
    """The folder beside a journal that holds its claims, what runs, and checkpoints; it may not be there."""
    return Path(f"{os.path.realpath(path)}.d")  # all who work on one file share one folder, whatever link they came by


@dataclass(frozen=True)
class Running:
    """A live process that works on a journal.

    Attributes:
        host, pid, command: which one.
        started, shown: when it began, and when it last said what it runs, in seconds since 1970.
        status: what it said (`Journal.show`).
    """

    host: str
    pid: int
    command: str
    started: float
    shown: float
    status: Mapping[str, Any]


class Sign:
    """The file by which this process says what it runs.

    A claim on its name says that the process lives: the kernel frees that when it dies, whatever becomes of the file.

    Args:
        folder: the journal's side folder.
        claims: of this journal object.
    """

    def __init__(self, folder: Path, claims: Claims) -> None:
        host = re.sub(r"[^\w.-]", "_", socket.gethostname())
        self._path = folder / "running" / f"{host}-{os.getpid()}.json"
        self._claims, self._due = claims, 0.0
        program = Path(sys.argv[0]).name
        command = shlex.join(["emc" if program == "__main__.py" else program, *sys.argv[1:]])
        self._facts = {"host": host, "pid": os.getpid(), "command": command, "started": time.time()}
        self._path.parent.mkdir(exist_ok=True)
        self._mine = False
        for other in self._path.parent.glob("*.json"):
            if other != self._path and not is_claimed(folder / "claims", _claim_of(other)):
                other.unlink(missing_ok=True)

    def show(self, status: Status) -> None:
        """Say it, at most once a second."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + SHOW_EVERY_S
        # Of several journal objects of one process the first says what runs, and the next one once that is closed.
        self._mine = self._mine or self._claims.take(_claim_of(self._path))
        if not self._mine:
            return
        said = {**self._facts, "shown": time.time(), "status": dict(status() if callable(status) else status)}
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(said), encoding="utf-8")
        os.replace(temporary, self._path)

    def close(self) -> None:
        """Say nothing any more."""
        if self._mine:
            self._path.unlink(missing_ok=True)


def running(path: str | os.PathLike[str]) -> list[Running]:
    """What the live processes on a journal last said, by host and process; files that dead ones left are ignored.

    Nothing is written, so it also works where nothing may be.
    """
    folder = side_folder(path)
    found = []
    for file in sorted((folder / "running").glob("*.json")):
        if is_claimed(folder / "claims", _claim_of(file)):
            said = _read(file)
            found += [] if said is None else [said]
    return found


def last_verdicts(path: str | os.PathLike[str], count: int) -> list[ProbeResult]:
    """The verdicts written last, the latest one last; lines that cannot be read are left out.

    Raises:
        JournalError: the journal cannot be read, or is of a newer schema.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        length, found = _TAIL_BYTES, list[ProbeResult]()
        while True:
            start = max(0, size - length)
            raws = os.pread(file.fileno(), size - start, start).split(b"\n")[start > 0 : -1]
            found = [result for raw in raws if (result := _verdict(raw, path)) is not None]
            if len(found) >= count or start == 0 or length >= BLOCK:
                return found[-count:]
            length *= 8


def _verdict(raw: bytes, path: object) -> ProbeResult | None:
    try:
        record = decode(raw, path)
        return verdict(record) if record["kind"] == "probe" else None
    except DamagedLineError:
        return None


def _read(file: Path) -> Running | None:
    """What a process said; None where the file is gone by now or is no such file."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        times = float(said["started"]), float(said["shown"])
        return Running(str(said["host"]), int(said["pid"]), str(said["command"]), *times, dict(said["status"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _claim_of(file: Path) -> str:
    return f"running/{file.name}"
