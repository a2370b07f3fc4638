"""Decoded images in one file: a row is read from it once it is marked as there, which follows its bytes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emc.data.cache import one_line

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Bytes = npt.NDArray[np.uint8]

logger = logging.getLogger("emc")

#: The marks are followed by the images at the next multiple of this.
_PAGE = 4096

#: Bytes of images that are made, written and marked together, and rows of them, at most.
_WRITTEN_AT_ONCE, _ROWS_AT_ONCE = 16 << 20, 4096


class PixelCache:
    """Rows of bytes in a sparse, memory-mapped file, made when they are first read.

    The file holds one mark a row, then the rows. Rows are written first, forced to disk, and only then marked, so that
    a process killed at any moment, or a machine that fails, leaves no row that is marked and not there. Processes that
    fill it at the same time write equal bytes. A file of another size is damaged and begun anew. Where nothing can be
    written, such as on a full disk, rows are made at each reading, with a warning.

    Args:
        path: of the file; whatever makes its rows must be part of the name.
        rows: how many.
        row_bytes: bytes of a row.
    """

    def __init__(self, path: Path, rows: int, row_bytes: int) -> None:
        self._path, self._rows, self._row_bytes = path, rows, row_bytes
        self._start = -(-rows // _PAGE) * _PAGE
        self._file: int | None = None
        self._opened = False

    def __getstate__(self) -> dict[str, Any]:
        """All but the open file: another process opens its own, and maps the same memory."""
        return {"path": self._path, "rows": self._rows, "row_bytes": self._row_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            os.close(self._file)  # type: ignore[arg-type]

    def read(self, index: Ints, make: Callable[[Ints], Bytes]) -> Bytes:
        """Some rows.

        Args:
            index: (k,) which.
            make: rows that are not there yet, by their numbers in rising order: (m, row_bytes).

        Returns:
            (k, row_bytes) uint8, a copy.
        """
        import numpy as np

        self._open()
        if self._file is None:
            return np.concatenate([make(part) for part in self._parts(index)])
        missing = np.unique(index[self._marks[index] == 0])
        lost: list[tuple[Ints, Bytes]] = []
        for part in self._parts(missing):
            made = make(part)
            if not self._keep(part, made):
                lost.append((part, made))
        found: Bytes = self._data[index]
        for part, made in lost:
            place = np.searchsorted(part, index).clip(max=len(part) - 1)
            hit = part[place] == index
            found[hit] = made[place[hit]]
        return found

    def _parts(self, index: Ints) -> list[Ints]:
        size = min(_ROWS_AT_ONCE, max(1, _WRITTEN_AT_ONCE // self._row_bytes))
        return [index[start : start + size] for start in range(0, len(index), size)]

    def _open(self) -> None:
        """Open the file, or make it; without one, `_file` stays None."""
        if self._opened:
            return
        self._opened = True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._made()
        except OSError as error:
            self._warn(error)
            return
        self._map()

    def _made(self) -> int:
        size = self._start + self._rows * self._row_bytes
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if os.fstat(file).st_size not in (0, size):
                os.close(file)
                self._path.unlink(missing_ok=True)
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.ftruncate(file, size)  # from nothing: no mark is set
        except OSError:
            os.close(file)
            raise
        return file

    def _map(self) -> None:
        import mmap

        import numpy as np

        whole = np.frombuffer(mmap.mmap(self._file or 0, 0, prot=mmap.PROT_READ), np.uint8)
        self._marks = whole[: self._rows]
        self._data = whole[self._start :].reshape(self._rows, self._row_bytes)

    def _keep(self, rows: Ints, made: Bytes) -> bool:
        """Write rows and then mark them; whether that went well."""
        import numpy as np

        if self._file is None:
            return False
        at = np.flatnonzero(np.diff(rows, prepend=-2) != 1).tolist()  # where runs of consecutive rows begin
        runs = [(int(rows[start]), start, stop) for start, stop in zip(at, [*at[1:], len(rows)], strict=True)]
        try:
            for first, start, stop in runs:
                _write(self._file, made[start:stop].data.cast("B"), self._start + first * self._row_bytes)
            os.fdatasync(self._file)
            for first, start, stop in runs:
                _write(self._file, b"\x01" * (stop - start), first)
        except OSError as error:
            self._warn(error)
            return False
        return True

    def _warn(self, error: OSError) -> None:
        logger.warning("decoded images are not kept in %s: %s", self._path, one_line(error))


def _write(file: int, content: bytes | memoryview, place: int) -> None:
    while len(content):
        written = os.pwrite(file, content, place)
        content, place = content[written:], place + written
