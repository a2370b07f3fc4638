"""Image files of a folder, read when they are needed."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from emc.data.cache import cache_root, one_line
from emc.data.encoded import DIGEST_BYTES, LARGEST, Encoded, digest
from emc.data.folders import ImageFolder
from emc.errors import DataError, OutputError
from emc.files import replacing

if TYPE_CHECKING:
    from emc.data.encoded import Bytes
    from emc.data.rows import Ints

logger = logging.getLogger("emc")


class FolderFiles(Encoded):
    """Images in files; names lie side by side in one array, since a million texts take ten times as much.

    Args:
        root: the folder.
        names: of the files below it.
        sizes, modified_ns: (rows,) of each, as they were listed.
    """

    def __init__(self, root: Path, names: list[bytes], sizes: Ints, modified_ns: Ints) -> None:
        import numpy as np

        self._root = root
        self._names = np.frombuffer(b"".join(names), np.uint8)
        self._ends = np.cumsum([len(name) for name in names])
        self.sizes, self._modified_ns = sizes, modified_ns
        self.digests: Bytes | None = None

    @classmethod
    def of(cls, folder: ImageFolder, hashed: bool) -> tuple[FolderFiles, Ints]:
        """The files of a folder and their classes.

        Args:
            folder: as it was listed.
            hashed: whether to hash every file's bytes; hashes are kept in the cache, under the listing.

        Raises:
            DataError: a file cannot be read.
        """
        import numpy as np

        names = [os.fsencode(file.path) for file in folder.files]
        sizes, times, y = (
            np.array([getattr(file, name) for file in folder.files], np.int64)
            for name in ("size", "modified_ns", "label")
        )
        files = cls(folder.root.absolute(), names, sizes, times)
        if hashed:
            files.digests = files._hashed()
        return files, y

    def read(self, row: int) -> bytes:
        """See `Encoded.read`."""
        path, size = self._path(row), int(self.sizes[row])
        if not 0 < size <= LARGEST:
            raise DataError(f'every image must have 1 to {LARGEST:,} bytes, got {size:,} for "{path}"; replace it')
        try:
            with path.open("rb", buffering=0) as file:
                content = file.read(size)
                facts = os.fstat(file.fileno())
        except OSError as error:
            raise DataError(
                f'every image must be readable, got "{path}" ({one_line(error)}); remove or replace that file'
            ) from error
        if (facts.st_size, facts.st_mtime_ns) != (size, int(self._modified_ns[row])):
            raise DataError(
                f'images must stay as they are while they are measured, got another "{path}" than was listed; '
                "run the same command again"
            )
        return content

    def name(self, row: int) -> str:
        """See `Encoded.name`."""
        return str(self._path(row))

    def _path(self, row: int) -> Path:
        start = int(self._ends[row - 1]) if row else 0
        return self._root / os.fsdecode(self._names[start : int(self._ends[row])].tobytes())

    def places(self, rows: Ints) -> Ints:
        """See `Encoded.places`."""
        return rows

    def listing(self) -> bytes:
        """See `Encoded.listing`."""
        known = hashlib.sha256()
        for array in (self._names, self._ends, self.sizes, self._modified_ns):
            known.update(array.data)
        return known.digest()

    def whereabouts(self) -> bytes:
        """See `Encoded.whereabouts`."""
        return os.fsencode(self._root.resolve())

    def _hashed(self) -> Bytes:
        """(rows, DIGEST_BYTES) of every file, from the cache where it holds them."""
        import numpy as np

        known = hashlib.sha256(repr((self.whereabouts(), DIGEST_BYTES)).encode() + self.listing())
        path = cache_root() / "indexes" / f"{known.hexdigest()[:32]}.npy"
        try:
            kept: Bytes = np.load(path, allow_pickle=False)
            if kept.shape == (len(self.sizes), DIGEST_BYTES) and kept.dtype == np.uint8:
                return kept
        except (OSError, ValueError, EOFError):
            pass  # not there, or damaged: read them again
        content = b"".join(digest(self.read(row)) for row in range(len(self.sizes)))
        made = np.frombuffer(content, np.uint8).reshape(-1, DIGEST_BYTES)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, made, allow_pickle=False)
        except (OSError, OutputError) as error:
            logger.warning("hashes are not kept in %s: %s", path, one_line(error))
        return made
