"""One file of lines that several processes append to and that may be replaced by its compacted form at any time."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from emc.errors import JournalError
from emc.journal.index import Index, scan
from emc.journal.lines import (
    KINDS,
    DamagedLineError,
    blocks,
    decode,
    kind_at_sight,
    open_file,
    refuse_foreign,
    refuse_packed,
    require_file,
    verdict,
    warn_damaged,
    whole_end,
)
from emc.journal.locks import check_mount, lock, unlock
from emc.journal.records import is_record
from emc.results import ProbeResult

#: Of the time, syncing takes at most this share where a group may grow: a disk may take 0.2 ms or 20 for a sync.
SYNC_SHARE = 0.02

#: Bytes of a line that are read at first.
_LINE_BYTES = 2048


class SharedFile:
    """Lines on disk, with the places of the verdicts among them in memory.

    Args:
        path: made with its folder if it is not there.
        read_only: open what is there; nothing is made, written or locked.

    Attributes:
        index: where verdicts stand.
        bases: those described.
        synced: whether every line that this process knows survives the machine.

    Raises:
        JournalError: it is no file, of a newer schema, no journal where it is to be written, or cannot be locked.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path, self._name, self._read_only = path, os.fspath(path), read_only
        if not read_only:
            refuse_packed(path)
            check_mount(path)
            if path.exists():
                require_file(path)
                refuse_foreign(path)
            path.parent.mkdir(parents=True, exist_ok=True)
        self.synced, self._next_sync = True, 0.0
        self.index, self.bases = Index(), set[str]()
        self._latest: dict[bytes, int] = {}  # hashes of the latest records of measurements
        self._end = 0  # of the lines that are learned
        self._unseen: list[tuple[int, int]] = []  # parts that others wrote and `news` has not given
        self._kept: list[ProbeResult] = []  # the same of a file that is no more
        self._identity = (0, 0)
        self._descriptor = -1
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        self._unseen.clear()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def find(self, key: str) -> ProbeResult | None:
        """The latest verdict of a key that can be read."""
        for place in self.index.places(key):
            found = self._verdict(self._line_at(place))
            if found is not None and found.key == key:
                return found
        return None

    def append(self, lines: Sequence[bytes], keys: Sequence[str] = (), *, grow: bool = False) -> None:
        """Write lines, all or none, and sync them.

        Args:
            lines: each with its line break.
            keys: of the lines, where they are verdicts.
            grow: sync later where it would take more than its share of the time.
        """
        self._lock_whole()
        try:
            self._write(lines, grow)
            for number, line in enumerate(lines):
                if keys:
                    self.index.put(keys[number], self._end)
                self._end += len(line)
        finally:
            self._unlock()

    def note(self, line: bytes) -> None:
        """Write a record, unless it is the latest of its identity already; synced later.

        What a base stands for never changes, so that the first record of it is the latest.
        """
        raw = line.rstrip(b"\n")
        self._lock_whole()
        try:
            if not self._holds(raw):
                self._write([line], grow=True)
                self._learn_line(raw, self._end)
                self._end += len(line)
        finally:
            self._unlock()

    def _holds(self, raw: bytes) -> bool:
        record = decode(raw, self.path)
        if record["kind"] == "base":
            return record["base"] in self.bases
        return self._latest.get(_identity_of(raw)) == hash(raw)

    def sync(self) -> None:
        """Let all that is written survive the machine."""
        if self.synced:
            return
        started = time.monotonic()
        os.fsync(self._descriptor)
        now = time.monotonic()
        self.synced, self._next_sync = True, now + (now - started) * (1 / SYNC_SHARE - 1)

    def look(self) -> None:
        """Learn what others appended; cheap where that is nothing."""
        seen = self._stat()
        if (seen.st_dev, seen.st_ino, seen.st_size) != (*self._identity, self._end):
            self._catch_up()

    def _catch_up(self) -> None:
        size = self._lock(fcntl.LOCK_SH)
        try:
            # The whole lines that are there while nobody writes stay: a writer cuts off a torn end, and again only what
            # it wrote within its lock.
            end = whole_end(self._descriptor, size)
        finally:
            self._unlock()
        self._learn(end)

    def news(self) -> list[ProbeResult]:
        """The verdicts that others appended since this was last asked, or since the file was opened.

        Where the file was compacted meanwhile, those of probes that had a verdict before are left out.
        """
        parts, self._unseen = self._unseen, []
        found = []
        for start, end in parts:
            for _, data in blocks(self._descriptor, start, end):
                raws = (raw for raw in data.split(b"\n")[:-1] if kind_at_sight(raw) in (None, "probe"))
                found += [result for raw in raws if (result := self._verdict(raw)) is not None]
        found, self._kept = self._kept + found, []
        if found and not self._read_only:
            self.synced = False  # their writer may not have synced them yet; this one's sync will
        return found

    def _open(self) -> None:
        """Open the file that is at the path, and learn what it holds."""
        if self._read_only:
            with open_file(self.path) as file:
                descriptor = os.dup(file.fileno())
        else:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.close()
        self._descriptor = descriptor
        found = os.fstat(descriptor)
        self._identity = found.st_dev, found.st_ino
        self.index, self.bases, self._end = Index(), set(), 0
        self._latest.clear()
        self._unseen, self._kept = [], []
        self._catch_up()

    def _reopen(self) -> None:
        """Go over to the file that is at the path by now; what that holds and the one before did not is new."""
        kept, before = self.news(), self.index
        self._open()
        self._kept = kept
        self._unseen = [(place, place + len(self._line_at(place)) + 1) for place in self.index.places_beside(before)]

    def _lock_whole(self) -> None:
        """Lock the file for writing, with all its lines learned and none torn."""
        size = self._lock(fcntl.LOCK_EX)
        if size == self._end:
            return
        try:
            self._learn(size)
            if size > self._end:
                os.ftruncate(self._descriptor, self._end)
        except BaseException:
            self._unlock()
            raise

    def _write(self, lines: Sequence[bytes], grow: bool) -> None:
        try:
            _write_all(self._descriptor, b"".join(lines))
            self.synced = False
            if not grow or time.monotonic() >= self._next_sync:
                self.sync()
        except OSError:
            os.ftruncate(self._descriptor, self._end)
            raise

    def _lock(self, how: int) -> int:
        """Lock the file that is at the path now; its size."""
        while True:
            if not self._read_only:
                lock(self._descriptor, how, self.path)
            try:
                size = self._current_size()
            except BaseException:
                self._unlock()
                raise
            if size is not None:
                return size
            self._unlock()
            self._reopen()

    def _unlock(self) -> None:
        if not self._read_only:
            unlock(self._descriptor)

    def _current_size(self) -> int | None:
        """The size of the locked file; None where another is at the path by now, or where it was cut."""
        own, there = os.fstat(self._descriptor), self._stat()
        # Over NFS the path may be remembered for a while, but the links of a locked file are asked for anew.
        current = own.st_nlink > 0 and own.st_size >= self._end and (there.st_dev, there.st_ino) == self._identity
        return own.st_size if current else None

    def _stat(self) -> os.stat_result:
        try:
            return os.stat(self._name)
        except FileNotFoundError as error:
            raise JournalError(
                f"the journal must stay where it is while emc works with it, got no file {self.path} any more; "
                "put it back and run the same command again"
            ) from error

    def _learn(self, end: int) -> None:
        """Take in the whole lines up to a place."""
        start, damaged = self._end, 0
        for at, data in blocks(self._descriptor, start, end):
            scanned = scan(data)
            self.index.extend(scanned.hashes, scanned.starts + at)
            damaged += sum(not self._learn_line(data[first:last], at + first) for first, last in scanned.others)
            self._end = at + len(data)
        if self._end > start:
            self._unseen.append((start, self._end))
        if damaged:
            warn_damaged(self.path, damaged, stacklevel=2)

    def _learn_line(self, raw: bytes, place: int) -> bool:
        """Take in a line that is no verdict at sight; whether it is whole."""
        if KINDS.get(kind_at_sight(raw) or "") == "fingerprint":
            self._latest[_identity_of(raw)] = hash(raw)
            return True
        try:
            record = decode(raw, self.path)
            if record["kind"] == "probe":
                self.index.put(verdict(record).key, place)
            elif not is_record(record):
                return False
            elif record["kind"] == "base":
                self.bases.add(record["base"])
        except DamagedLineError:
            return False
        return True

    def _line_at(self, place: int) -> bytes:
        """The line that starts at a place, without its line break; empty where there is none."""
        size = _LINE_BYTES
        while True:
            data = os.pread(self._descriptor, size, place)
            end = data.find(b"\n")
            if end >= 0 or len(data) < size:
                return data[: max(end, 0)]
            size *= 8

    def _verdict(self, raw: bytes) -> ProbeResult | None:
        try:
            record = decode(raw, self.path)
            return verdict(record) if record["kind"] == "probe" else None
        except DamagedLineError:
            warn_damaged(self.path, 1, stacklevel=2)
            return None


def _identity_of(raw: bytes) -> bytes:
    """What identifies a record of a measurement: no text in it can hold these bytes, for its quotes are escaped."""
    found = re.search(rb'"fingerprint":"([^"]*)"', raw)
    return found[1] if found else b""


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
