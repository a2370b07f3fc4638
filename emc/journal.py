"""The journal: one line of JSON a verdict, appended under a lock and synced before it counts.

Verdicts are committed in groups: a line is written as soon as there is a verdict, so that it outlives the process, and
one sync, after which it outlives the machine too, is for all lines since the last. A line that a dying process tore is
cut off when the journal is next opened for writing: it was never acknowledged.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from emc.errors import JournalError
from emc.results import ProbeResult

#: Version of a line's form.
SCHEMA = 1

#: Of the time, syncing takes at most this share where a group may grow: a disk may take 0.2 ms or 20 for a sync.
SYNC_SHARE = 0.02


class Journal:
    """Verdicts on disk, by probe key.

    Args:
        path: the file; made with its folder if it is not there. None keeps verdicts in memory only.

    Raises:
        JournalError: it cannot be read or written, or holds a newer schema.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._file: IO[bytes] | None = None
        self._results: dict[str, ProbeResult] = {}
        self._synced, self._next_sync = True, 0.0
        self.path = None if path is None else Path(path)
        if self.path is None:
            return
        try:
            if self.path.exists() and not self.path.is_file():  # reading a device may never end
                raise JournalError(f"the journal must be a file, got {self.path}; choose another with --journal")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
            self._read()
        except OSError as error:
            self.close()
            raise self._cannot("be opened", error) from error
        except JournalError:
            self.close()
            raise

    def get(self, key: str) -> ProbeResult | None:
        """The verdict of a probe, the latest where there are several."""
        return self._results.get(key)

    def __len__(self) -> int:
        return len(self._results)

    @property
    def synced(self) -> bool:
        """Whether every verdict survives the machine."""
        return self._synced

    def claim(self, key: str) -> bool:  # noqa: ARG002
        """Whether this process may train a probe."""
        return True

    def release(self, key: str) -> None:
        """Let others train a probe."""

    def refresh(self) -> list[ProbeResult]:
        """Verdicts of others."""
        return []

    def note(self, record: Mapping[str, Any]) -> None:
        """Write another record."""

    def show(self, status: Mapping[str, Any]) -> None:
        """State what runs."""

    def append(
        self,
        results: Iterable[ProbeResult],
        *,
        bases: Mapping[str, str] | None = None,  # noqa: ARG002
        grow: bool = False,
    ) -> None:
        """Write verdicts and sync them; when this returns they survive the machine.

        Args:
            results: the verdicts.
            grow: leave the sync to a later call, so that its group grows, where it would take more than its share of
                the time. Until `sync` nobody outside may be told of them.

        Raises:
            JournalError: they could not be written; nothing of them stays in the file.
        """
        results = list(results)
        if self._file is not None and results:
            lines = b"".join(_line(result) for result in results)
            try:
                self._write(lines, sync=not grow or time.monotonic() >= self._next_sync)
            except OSError as error:
                raise self._cannot("be written", error) from error
        self._results.update((result.key, result) for result in results)

    def sync(self) -> None:
        """Sync what was written; when this returns every verdict survives the machine.

        Raises:
            JournalError: it could not be synced.
        """
        if self._file is None or self._synced:
            return
        try:
            self._sync(self._file.fileno())
        except OSError as error:
            raise self._cannot("be written", error) from error

    def close(self) -> None:
        """Sync and close the file.

        Raises:
            JournalError: it could not be synced.
        """
        if self._file is None:
            return
        try:
            self.sync()
        finally:
            self._file.close()
            self._file = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _write(self, lines: bytes, sync: bool) -> None:
        assert self._file is not None
        descriptor = self._file.fileno()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            _cut_torn_line(descriptor)
            end = os.lseek(descriptor, 0, os.SEEK_END)
            try:
                _write_all(descriptor, lines)
                self._synced = False
                if sync:
                    self._sync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _sync(self, descriptor: int) -> None:
        started = time.monotonic()
        os.fsync(descriptor)
        now = time.monotonic()
        self._synced, self._next_sync = True, now + (now - started) * (1 / SYNC_SHARE - 1)

    def _read(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        damaged = 0
        for raw in self._file:
            if not raw.endswith(b"\n"):
                break
            try:
                entry = json.loads(raw)
                schema = entry.pop("schema")
                if schema > SCHEMA:
                    raise JournalError(
                        f"journal {self.path} must have schema {SCHEMA} or older, got {schema}; update emc to read it"
                    )
                result = ProbeResult.from_dict(entry)
                self._results[result.key] = result
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                damaged += 1
        if damaged:
            warnings.warn(f"journal {self.path}: damaged lines skipped: {damaged}", stacklevel=4)

    def _cannot(self, what: str, error: OSError) -> JournalError:
        return JournalError(
            f"the journal {self.path} cannot {what}: {error.strerror}; free the way or choose another with --journal"
        )


#: One for all lines: `json.dumps` makes a new one for each.
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def _line(result: ProbeResult) -> bytes:
    return _ENCODER.encode({"schema": SCHEMA, **result.to_dict()}).encode() + b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _cut_torn_line(descriptor: int) -> None:
    """Cut what follows the last line break."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    at, step = end, 4096
    while at > 0:
        start = max(0, at - step)
        block = os.pread(descriptor, at - start, start)
        newline = block.rfind(b"\n")
        if newline >= 0:
            at = start + newline + 1
            break
        at = start
    if at < end:
        os.ftruncate(descriptor, at)
