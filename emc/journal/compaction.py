"""A journal without what later lines superseded, written anew beside it and put in its place."""

from __future__ import annotations

import fcntl
import glob
import os
from array import array
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from emc.errors import JournalError
from emc.journal.index import Places, hash_of
from emc.journal.lines import (
    SCHEMA,
    blocks,
    cannot,
    decode,
    encode,
    refuse_foreign,
    refuse_packed,
    require_file,
    walk,
    whole_end,
)
from emc.journal.live import side_folder
from emc.journal.locks import Claims, check_mount, lock

#: Claimed while a journal is compacted, so that two processes do not do it at once.
_CLAIM = "compaction"

#: How a line of the present schema begins as emc writes it.
_PRESENT = f'{{"schema":{SCHEMA},'.encode()


@dataclass(frozen=True)
class Compaction:
    """What compacting did.

    Attributes:
        lines, bytes: of the journal before.
        kept, bytes_kept: of the journal after.
        superseded: lines that a later one of the same identity replaces.
        damaged: lines that could not be read, left out.
        migrated: lines of an older schema, written in the present one.
    """

    lines: int
    bytes: int
    kept: int
    bytes_kept: int
    superseded: int
    damaged: int
    migrated: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def compact(path: str | os.PathLike[str]) -> Compaction:
    """Keep the last whole line of each verdict, measurement and base, all in the present schema.

    Others may write at the same time: they wait only while what they appended meanwhile is copied, and go on in the
    new file. Lines of a kind that this version does not know are kept. A process that dies, or a disk that is full,
    leaves the journal as it was.

    Raises:
        JournalError: it cannot be read, written or locked, is of a newer schema, or is being compacted by another
            process.
    """
    target = Path(os.path.realpath(path))
    refuse_packed(path)
    try:
        require_file(path)
        refuse_foreign(path)
        check_mount(path)
        with _alone(path, target), _temporary(target) as temporary:
            return _compact(path, target, temporary)
    except FileNotFoundError as error:
        raise JournalError(f"a journal must be there to be compacted, got no file {path}; name one that is") from error
    except OSError as error:
        raise cannot(path, "be compacted", error) from error


@contextmanager
def _alone(path: str | os.PathLike[str], target: Path) -> Iterator[None]:
    """Be the only one who compacts it, and remove what one who died at it left."""
    folder = side_folder(path)
    folder.mkdir(exist_ok=True)
    with closing(Claims(folder / "claims")) as claims:
        if not claims.take(_CLAIM):
            raise JournalError(f"a journal is compacted by one process at a time, got {path}; wait for the other one")
        for left in target.parent.glob(f".{glob.escape(target.name)}.*.compacted"):
            left.unlink()
        yield


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A new file beside the journal, with its mode; removed unless it took the journal's place."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.compacted")
    like = target.stat()
    temporary.touch(mode=0o600, exist_ok=False)
    try:
        os.chmod(temporary, like.st_mode & 0o7777)
        if os.geteuid() == 0:  # nobody else may give files away
            os.chown(temporary, like.st_uid, like.st_gid)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _compact(path: str | os.PathLike[str], target: Path, temporary: Path) -> Compaction:
    with open(path, "r+b") as source, temporary.open("wb") as copy:
        lock(source.fileno(), fcntl.LOCK_SH, path)
        # A torn end may be cut off and written over as soon as the lock is gone.
        start = whole_end(source.fileno(), os.fstat(source.fileno()).st_size)
        lock(source.fileno(), fcntl.LOCK_UN, path)
        lines, damaged, kept = _choose(source, start)
        migrated = _copy(source, start, kept, copy)
        _flush(copy)  # all but the last moment's without anybody waiting
        lock(source.fileno(), fcntl.LOCK_EX, path)
        size = os.fstat(source.fileno()).st_size
        end = whole_end(source.fileno(), size)
        if end < start or not os.path.samestat(os.fstat(source.fileno()), target.stat()):
            raise JournalError(f"a journal must stay in its place while it is compacted, got another {path}; try again")
        later = _copy_tail(source, start, end, copy)
        _flush(copy)
        os.replace(temporary, target)
        _sync_folder(target.parent)
        superseded = lines - damaged - len(kept)
        return Compaction(
            lines + later, size, len(kept) + later, copy.tell(), superseded, damaged, migrated
        )  # closing the source lets its waiting writers go on: they see that it was replaced


def _choose(source: BinaryIO, end: int) -> tuple[int, int, Places]:
    """How many lines there are, how many of them are damaged, and where those to keep start."""
    hashes, places = array("Q"), array("q")
    latest: dict[tuple[str, str], int] = {}
    unknown: list[int] = []
    number = damaged = 0
    for line in walk(source, end=end):
        number = line.number
        damaged += line.problem == "damaged"
        if line.problem == "unknown kind":
            unknown.append(line.place)
        elif line.probe is not None:
            hashes.append(hash_of(line.probe.key))
            places.append(line.place)
        elif line.record is not None:
            _supersede(latest, line.record, line.place)
    verdicts = _latest(source, np.frombuffer(hashes, np.uint64), np.frombuffer(places, np.int64))
    others = np.array([*latest.values(), *unknown], np.int64)
    return number, damaged, np.sort(np.concatenate([verdicts, others]))


def _supersede(latest: dict[tuple[str, str], int], record: dict[str, Any], place: int) -> None:
    """Let a record take the place of earlier ones: a measurement also that of a failure to make it."""
    kind = record["kind"]
    identity = record["base"] if kind == "base" else record["fingerprint"]
    latest[kind, identity] = place
    if kind == "measurement":
        latest.pop(("failed", identity), None)


def _latest(source: BinaryIO, hashes: np.ndarray[Any, np.dtype[np.uint64]], places: Places) -> Places:
    """The last place of each key; where several lines share a hash, their keys are read."""
    order = np.argsort(hashes, kind="stable")
    hashes, places = hashes[order], places[order]
    repeated = np.zeros(len(hashes), bool)
    repeated[1:] = hashes[1:] == hashes[:-1]
    repeated[:-1] |= repeated[1:].copy()
    last: dict[str, int] = {}
    for place in np.sort(places[repeated]).tolist():
        last[_key_at(source, place)] = place
    return np.concatenate([places[~repeated], np.array(list(last.values()), np.int64)])


def _key_at(source: BinaryIO, place: int) -> str:
    source.seek(place)
    key: str = decode(source.readline()[:-1], source.name)["key"]
    return key


def _copy(source: BinaryIO, end: int, kept: Places, copy: BinaryIO) -> int:
    """Copy the lines that start at these places; how many of them were of an older schema."""
    wanted = iter(kept.tolist())
    following, migrated = next(wanted, None), 0
    for start, data in blocks(source.fileno(), 0, end):
        lines = []
        while following is not None and following < start + len(data):
            at = following - start
            raw = data[at : data.index(b"\n", at)]
            lines.append(_in_present_schema(raw, source.name))
            migrated += lines[-1][:-1] != raw
            following = next(wanted, None)
        copy.write(b"".join(lines))
    return migrated


def _copy_tail(source: BinaryIO, start: int, end: int, copy: BinaryIO) -> int:
    """Copy the whole lines that were appended meanwhile; how many there were."""
    number = 0
    for _, data in blocks(source.fileno(), start, end):
        copy.write(data)
        number += data.count(b"\n")
    return number


def _in_present_schema(raw: bytes, path: object) -> bytes:
    if raw.startswith(_PRESENT):
        return raw + b"\n"
    record = decode(raw, path)
    return encode(record) if record["kind"] == "probe" else raw + b"\n"


def _flush(copy: BinaryIO) -> None:
    copy.flush()
    os.fsync(copy.fileno())


def _sync_folder(folder: Path) -> None:
    """Let the new name survive the machine."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
