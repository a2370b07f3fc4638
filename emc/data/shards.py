"""WebDataset shards: tar files of `key.jpg` and `key.cls`, indexed once, then read in place; nothing is unpacked."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emc.data.cache import cache_root, existing_file, one_line
from emc.data.decoding import EXTENSIONS
from emc.data.encoded import DIGEST_BYTES, LARGEST, Encoded, digest
from emc.data.targets import MAX_CLASSES, class_name, sort_classes
from emc.errors import DataError, OutputError
from emc.files import replacing

if TYPE_CHECKING:
    from emc.data.encoded import Bytes
    from emc.data.rows import Ints

logger = logging.getLogger("emc")

#: Shards that a pattern may name.
MAX_SHARDS = 100_000

#: Bytes of a class in a `.cls` member, and of what a tar header may bring along (long names).
_LARGEST_CLASS, _LARGEST_HEADER = 256, 1 << 20

#: Raise it when the same shard comes to be indexed otherwise.
_INDEX_VERSION = 1

_CLASS = "cls"


@dataclass(frozen=True, eq=False)
class _Index:
    """What lies in a shard: one row an image.

    Attributes:
        offsets, sizes: (rows,) where its bytes are.
        labels: (rows,) its class's place in `classes`.
        classes: as the members name them.
        digests: (rows, DIGEST_BYTES) uint8; no rows where they were not made.
        names: hash of all names, sizes and classes.
    """

    offsets: Ints
    sizes: Ints
    labels: Ints
    classes: tuple[str, ...]
    digests: Bytes
    names: bytes


class Shards(Encoded):
    """Images in tar files.

    Args:
        paths: of the shards.
        states: size and time of change in ns of each, as they were indexed.
        indexes: of the shards.
        hashed: whether the indexes hold digests.
    """

    def __init__(
        self, paths: tuple[Path, ...], states: tuple[tuple[int, int], ...], indexes: list[_Index], hashed: bool
    ) -> None:
        import numpy as np

        self._paths, self._states = paths, states
        rows = [len(index.offsets) for index in indexes]
        self._shards = np.repeat(np.arange(len(paths), dtype=np.int32), rows)
        self._offsets = np.concatenate([index.offsets for index in indexes])
        self.sizes = np.concatenate([index.sizes for index in indexes])
        self.digests = np.concatenate([index.digests for index in indexes]) if hashed else None
        self._names = hashlib.sha256(b"".join(index.names for index in indexes)).digest()

    def read(self, row: int) -> bytes:
        """See `Encoded.read`."""
        shard = int(self._shards[row])
        path, size = self._paths[shard], int(self.sizes[row])
        try:
            with path.open("rb", buffering=0) as file:
                content = os.pread(file.fileno(), size, int(self._offsets[row]))
                state = _state(os.fstat(file.fileno()))
        except OSError as error:
            raise DataError(f"every shard must be readable, got {path} ({one_line(error)}); put it back") from error
        if state != self._states[shard] or len(content) < size:
            raise DataError(
                f"shards must stay as they are while they are measured, got another {path} than was indexed; "
                "run the same command again"
            )
        return content

    def name(self, row: int) -> str:
        """See `Encoded.name`; looked up in the shard, since millions of names are not kept."""
        path, offset = self._paths[int(self._shards[row])], int(self._offsets[row])
        try:
            found = next((member.name for member in _members(path) if member.offset_data == offset), "?")
        except (DataError, OSError):
            found = f"the image at byte {offset}"
        return f"{path}: {found}"

    def places(self, rows: Ints) -> Ints:
        """See `Encoded.places`."""
        import numpy as np

        ranks = np.empty(len(rows), np.int64)
        ranks[np.lexsort((self._offsets[rows], self._shards[rows]))] = np.arange(len(rows))
        return ranks

    def listing(self) -> bytes:
        """See `Encoded.listing`."""
        return hashlib.sha256(self._names + repr(self._states).encode()).digest()

    def whereabouts(self) -> bytes:
        """See `Encoded.whereabouts`."""
        return b"\0".join(os.fsencode(path.resolve()) for path in self._paths)


def read_shards(paths: list[Path], owner: str, hashed: bool) -> tuple[Shards, Ints, tuple[str, ...]]:
    """The images of some shards, their classes, and the classes' names.

    Each shard's index is kept in the cache under its path, size and time of change.

    Args:
        paths: of the shards.
        owner: the dataset, for messages.
        hashed: whether to hash every image's bytes, for which every byte is read.

    Raises:
        DataError: a shard that is no sound tar file, or holds something else than images and their classes.
    """
    import numpy as np

    states = tuple(_state(path.stat()) for path in paths)
    indexes = []
    for number, (path, state) in enumerate(zip(paths, states, strict=True)):
        indexes.append(_indexed(path, state, hashed))
        if number % 100 == 99:
            logger.info("indexed %s of %s shards", f"{number + 1:,}", f"{len(paths):,}")
    classes = sort_classes({name for index in indexes for name in index.classes})
    if len(classes) > MAX_CLASSES:
        raise DataError(f"{owner} takes at most {MAX_CLASSES} classes, got {len(classes)}; check the .cls members")
    place = {name: number for number, name in enumerate(classes)}
    y = [np.array([place[name] for name in index.classes], np.int64)[index.labels] for index in indexes]
    return Shards(tuple(paths), states, indexes, hashed), np.concatenate(y), classes


def expand(pattern: str, owner: str) -> list[Path]:
    """The files that a brace pattern such as `{000..999}.tar` names.

    Raises:
        DataError: it is no pattern, names too many files or one that is not there.
    """
    from itertools import islice

    import braceexpand

    for first, last in re.findall(r"\{(-?\d+)\.\.(-?\d+)", pattern):
        if abs(int(last) - int(first)) >= MAX_SHARDS:
            raise DataError(f"{owner} takes at most {MAX_SHARDS:,} shards, got {pattern}; correct path")
    try:
        names = list(islice(braceexpand.braceexpand(pattern), MAX_SHARDS + 1))
    except ValueError as error:
        raise DataError(f"{owner} needs a path with balanced braces, got {pattern} ({error}); correct path") from error
    if len(names) > MAX_SHARDS:
        raise DataError(f"{owner} takes at most {MAX_SHARDS:,} shards, got more by {pattern}; correct path")
    return [existing_file(name, owner).absolute() for name in names]


def _state(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_size, facts.st_mtime_ns


def _indexed(path: Path, state: tuple[int, int], hashed: bool) -> _Index:
    key = hashlib.sha256(repr((_INDEX_VERSION, str(path.resolve()), state, hashed)).encode()).hexdigest()[:32]
    kept = cache_root() / "indexes" / f"{key}.npz"
    found = _load(kept)
    if found is None:
        found = _index(path, hashed)
        _keep(found, kept)
    return found


def _load(path: Path) -> _Index | None:
    """An index from the cache; None where there is none, or it is damaged."""
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as kept:
            classes, names = tuple(str(name) for name in kept["classes"]), kept["names"].tobytes()
            return _Index(kept["offsets"], kept["sizes"], kept["labels"], classes, kept["digests"], names)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _keep(index: _Index, path: Path) -> None:
    import numpy as np

    arrays: dict[str, Any] = {
        **vars(index),
        "classes": np.array(index.classes),
        "names": np.frombuffer(index.names, np.uint8),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
    except (OSError, OutputError) as error:
        logger.warning("an index is not kept in %s: %s", path, one_line(error))


def _index(path: Path, hashed: bool) -> _Index:
    import numpy as np

    offsets, sizes, labels, digests = [], [], [], []
    codes: dict[str, int] = {}
    names = hashlib.sha256()
    with path.open("rb") as file:
        for key, image, label in _samples(path):
            content = os.pread(file.fileno(), label.size, label.offset_data)
            name = class_name(_text(content, path, label.name))
            names.update(repr((key, image.name, image.size, name)).encode())
            offsets.append(image.offset_data)
            sizes.append(image.size)
            labels.append(codes.setdefault(name, len(codes)))
            if hashed:
                digests.append(digest(os.pread(file.fileno(), image.size, image.offset_data)))
    if not offsets:
        raise DataError(f"every shard must hold images with classes, got none in {path}; remove it")
    made = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)
    at, long, label_codes = (np.array(values, np.int64) for values in (offsets, sizes, labels))
    return _Index(at, long, label_codes, tuple(codes), made, names.digest())


def _text(content: bytes, path: Path, name: str) -> str:
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise DataError(f"a .cls member holds a class as a number or text, got {content[:40]!r} of {name} in {path}")
    return text


def _samples(path: Path) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarInfo]]:
    """Key, image and class of each sample: members side by side whose names are equal up to the first dot."""
    held: dict[str, tarfile.TarInfo] = {}
    current = None
    for member in _members(path):
        key, suffix = _split(member.name)
        if key != current and current is not None and held:
            yield current, *_pair(current, held, path)
            held = {}
        current = key
        kind = "image" if f".{suffix}" in EXTENSIONS else suffix
        if kind in ("image", _CLASS):
            if kind in held:
                raise DataError(f'every sample needs one image and one class, got two of "{key}" in {path}; remove one')
            _check_size(member, _LARGEST_CLASS if kind == _CLASS else LARGEST, path)
            held[kind] = member
    if current is not None and held:
        yield current, *_pair(current, held, path)


def _split(name: str) -> tuple[str, str]:
    """Key and suffix, by WebDataset's rule: at the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    key, _, suffix = file.partition(".")
    return folder + slash + key, suffix.lower()


def _pair(key: str, held: dict[str, tarfile.TarInfo], path: Path) -> tuple[tarfile.TarInfo, tarfile.TarInfo]:
    if len(held) < 2:
        missing = "class (.cls)" if "image" in held else "image (.jpg, .png, ...)"
        raise DataError(f'every sample needs an image and a class, got "{key}" in {path} without {missing}; mend it')
    return held["image"], held[_CLASS]


def _check_size(member: tarfile.TarInfo, largest: int, path: Path) -> None:
    if not 0 < member.size <= largest:
        raise DataError(
            f"a member of a shard must have 1 to {largest:,} bytes, got {member.size:,} for {member.name} in {path}; "
            "mend it"
        )


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    """The files of a tar, in order.

    Raises:
        DataError: it is no sound tar file, or holds a link, a device or a sparse file.
    """
    try:
        with path.open("rb") as file, tarfile.open(fileobj=_Bounded(file), mode="r:") as tar:  # type: ignore[call-overload]
            for member in tar:
                tar.members = []  # else it keeps them all
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise DataError(
                        f"shards hold plain files, got {member.name} in {path}, which is a link, a device or sparse; "
                        "remove it"
                    )
                yield member
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes damage for the end
                raise DataError(
                    f"every shard must be a whole tar file, got {path}, which ends or breaks at byte "
                    f"{tar.offset:,}; make it anew"
                )
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        hint = "; unpack it" if path.suffix.lower() in (".gz", ".tgz", ".bz2", ".xz", ".zst") else "; make it anew"
        raise DataError(f"every shard must be a plain tar file, got {path} ({one_line(error)}){hint}") from error


class _Bounded:
    """A file of which `tarfile` may read no more at once than any header takes."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.tell, self.seek, self.name = file.tell, file.seek, file.name

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        content: bytes = self._file.read(size)
        return content
