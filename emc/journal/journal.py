"""Verdicts and other records on disk: appended under a lock by any number of processes, found by key.

Verdicts are committed in groups: a line is written as soon as there is a verdict, so that it outlives the process, and
one sync, after which it outlives the machine too, is for all lines since the last. A line that a dying process tore is
cut off when the journal is next written to: it was never acknowledged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emc.errors import JournalError
from emc.journal.lines import cannot, encode, encode_probe
from emc.journal.live import Sign, side_folder
from emc.journal.locks import Claims
from emc.journal.shared_file import SharedFile
from emc.results import ProbeResult


class Journal:
    """Verdicts on disk, by probe key.

    Any number of processes may have one file open and append to it. No verdict is kept in memory: `get` reads its line.

    Args:
        path: the file; made with its folder if it is not there. None keeps verdicts in memory only.
        read_only: read what is there, without a lock and also where nothing may be written.

    Raises:
        JournalError: it cannot be read or written, holds a newer schema, or its file system has no locks that all see.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, read_only: bool = False) -> None:
        self.path = None if path is None else Path(path)
        self._read_only = read_only
        self._memory: dict[str, ProbeResult] = {}
        self._claims: Claims | None = None
        self._sign: Sign | None = None
        self._file: SharedFile | None = None
        if self.path is not None:
            with self._telling("be opened"):
                self._file = SharedFile(self.path, read_only)

    def get(self, key: str) -> ProbeResult | None:
        """The verdict of a probe, the latest where there are several.

        Raises:
            JournalError: the file cannot be read any more.
        """
        if self._file is None:
            return self._memory.get(key)
        try:
            return self._file.find(key)
        except OSError as error:
            raise cannot(self.path, "be read", error) from error

    def __len__(self) -> int:
        return len(self._memory) if self._file is None else len(self._file.index)

    @property
    def synced(self) -> bool:
        """Whether every verdict survives the machine."""
        return self._file is None or self._file.synced

    @property
    def folder(self) -> Path | None:
        """The folder beside the file for what belongs to it, made when it is first asked for; None in memory.

        Raises:
            JournalError: it cannot be made.
        """
        if self.path is None:
            return None
        folder = side_folder(self.path)
        if not self._read_only:
            with self._telling(f"have its folder {folder}"):
                folder.mkdir(exist_ok=True)
        return folder

    def append(
        self, results: Iterable[ProbeResult], *, bases: Mapping[str, str] | None = None, grow: bool = False
    ) -> None:
        """Write verdicts and sync them; when this returns they survive the machine.

        Args:
            results: the verdicts.
            bases: what their probes share (`Probe.base`), by key, where that is known.
            grow: leave the sync to a later call, so that its group grows, where it would take more than its share of
                the time. Until `sync` nobody outside may be told of them.

        Raises:
            JournalError: they could not be written; nothing of them stays in the file.
        """
        results, bases = list(results), bases or {}
        if self._file is None:
            self._memory.update((result.key, result) for result in results)
        elif results:
            lines = [encode_probe(result, bases.get(result.key)) for result in results]
            keys = [result.key for result in results]
            self._require_writable()
            try:
                self._file.append(lines, keys, grow=grow)
            except OSError as error:
                raise cannot(self.path, "be written", error) from error

    def note(self, record: Mapping[str, Any]) -> None:
        """Write a record that is no verdict; it survives the machine once `sync` returns.

        Args:
            record: JSON values with `kind`: "measurement", "failed" or "curve" with `fingerprint`, "base" with `base`.
                The latest one of an identity counts; a base is written once a file, and no record anew that is the
                latest.

        Raises:
            ValueError: it has no such kind.
            JournalError: it could not be written; nothing of it stays in the file.
        """
        line = encode(record)
        if record["kind"] == "probe":
            raise ValueError("a record noted must be no verdict, got kind probe; append it")
        if self._file is None:
            return
        self._require_writable()
        with self._telling("be written"):
            if record["kind"] != "base" or record["base"] not in self._file.bases:
                self._file.note(line)

    def refresh(self) -> list[ProbeResult]:
        """The verdicts that other processes appended since this was last asked, or since the file was opened.

        They may not be synced yet: `sync` before anybody outside is told. Cheap where there are none.

        Raises:
            JournalError: the file cannot be read any more.
        """
        if self._file is None:
            return []
        with self._telling("be read"):
            self._file.look()
            return self._file.news()

    def claim(self, key: str) -> bool:
        """Say that this process trains a probe.

        Returns:
            Whether it may: False where another live process, or another journal of this one, does. The kernel frees
            what a dying process held. Where it may, `get` knows what was written before: it may have the verdict.

        Raises:
            JournalError: the claims cannot be written.
        """
        claims = self._own_claims()
        if claims is None or self._file is None:
            return True
        taken = claims.take(key)
        if taken:
            with self._telling("be read"):
                self._file.look()
        return taken

    def release(self, key: str) -> None:
        """Say that this process does not train a probe any more."""
        if self._claims is not None:
            self._claims.free(key)

    def show(self, status: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Tell `emc watch` what this process runs; does nothing more than once a second.

        Args:
            status: JSON values, or what makes them, called only when it is time. `emc watch` knows `running` (a list
                of the fields of `RunningProbe`, for each training), `cells` (how many there are by state), `probes`,
                `steps`, `seconds`; all may be left out.

        Raises:
            JournalError: it cannot be written.
        """
        claims, folder = self._own_claims(), self.folder
        if claims is not None and folder is not None:
            with self._telling(f"be watched through its folder {folder}"):
                self._sign = self._sign or Sign(folder, claims)
                self._sign.show(status)

    def sync(self) -> None:
        """Sync what was written; when this returns every verdict survives the machine.

        Raises:
            JournalError: it could not be synced.
        """
        if self._file is not None:
            with self._telling("be written"):
                self._file.sync()

    def close(self) -> None:
        """Sync and close the file; let go of all claims.

        Raises:
            JournalError: it could not be synced.
        """
        try:
            self.sync()
        finally:
            for each in (self._sign, self._claims, self._file):
                if each is not None:
                    each.close()
            self._sign = self._claims = self._file = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _own_claims(self) -> Claims | None:
        if self._claims is None and self.folder is not None:
            self._require_writable()
            with self._telling(f"have claims in its folder {self.folder}"):
                self._claims = Claims(self.folder / "claims")
        return self._claims

    def _require_writable(self) -> None:
        if self._read_only:
            raise JournalError(f"a journal opened to be read cannot be written, got {self.path}; open it to be written")

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Turn what the system says into one sentence."""
        try:
            yield
        except OSError as error:
            raise cannot(self.path, what, error) from error
