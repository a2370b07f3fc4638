"""The form of a journal's lines, and reading them one after the other without keeping any."""

from __future__ import annotations

import gzip
import json
import os
import stat
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from emc.errors import JournalError
from emc.journal.records import is_number, is_record, is_text, is_whole
from emc.results import ProbeResult

#: Version of a line's form. Schema 1 had verdicts only, and no `kind`.
SCHEMA = 2

#: What a line can be, and the field that identifies it among its kind: a verdict; what the digest `base` of probes
#: stands for; a finished measurement; a measurement that could not be made; a finished curve.
KINDS = {
    "probe": "key",
    "base": "base",
    "measurement": "fingerprint",
    "failed": "fingerprint",
    "curve": "fingerprint",
}

#: What a packed journal's name ends in; it can only be read.
PACKED = ".gz"

#: Bytes that a packed journal may unpack to.
MOST_UNPACKED = 1 << 33

#: Bytes read at once, and the longest line there can be.
BLOCK, LONGEST = 1 << 22, 1 << 26

#: Bytes from the end in which the last line break is sought at first.
FIRST_BLOCK = 1 << 12

#: One for all lines: `json.dumps` makes a new one for each.
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def _refuse(constant: str) -> None:
    raise ValueError(f"a number must be finite, got {constant}; JSON has no other")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


class DamagedLineError(ValueError):
    """Text that is no line of a journal."""


@dataclass(frozen=True)
class Line:
    """One line as it stands in the file.

    Attributes:
        number: counted from 1.
        place: where in the file it starts.
        raw: its bytes without the line break.
        problem: "damaged", "torn" (the last one, without a line break) or "unknown kind"; empty where there is none.
        record: its values without the schema, `kind` included; None where it has a problem or was not asked for.
        probe: its verdict, where it is one.
    """

    number: int
    place: int
    raw: bytes
    problem: str = ""
    record: dict[str, Any] | None = None
    probe: ProbeResult | None = None


def encode(record: Mapping[str, Any]) -> bytes:
    """The line of a record.

    Raises:
        ValueError: its kind is none of `KINDS`, it lacks what identifies it, has a schema of its own, or holds NaN or
            infinity.
    """
    kind = record.get("kind")
    identity = KINDS.get(kind) if isinstance(kind, str) else None
    if identity is None or not isinstance(record.get(identity), str) or "schema" in record:
        raise ValueError(f"a record has a kind of {KINDS} with its text and no schema, got {kind!r}; mend the caller")
    return _ENCODER.encode({"schema": SCHEMA, "kind": kind, **record}).encode() + b"\n"


def encode_probe(result: ProbeResult, base: str | None) -> bytes:
    """The line of a verdict, with what its probe shares with others of its measurement where that is known."""
    values: dict[str, Any] = {"schema": SCHEMA, "kind": "probe", "key": result.key}
    if base is not None:
        values["base"] = base
    values.update(result.to_dict())
    return _ENCODER.encode(values).encode() + b"\n"


def decode(raw: bytes, path: object) -> dict[str, Any]:
    """A line's values without the schema, `kind` included.

    Raises:
        DamagedLineError: it is no line of a journal.
        JournalError: it is of a newer schema.
    """
    try:
        record = _DECODER.decode(raw.decode())
        schema = record.pop("schema")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedLineError("no line") from error
    if isinstance(schema, int | float) and schema > SCHEMA:
        raise JournalError(f"journal {path} must have schema {SCHEMA} or older, got {schema}; update emc to read it")
    kind = record.setdefault("kind", "probe") if schema == 1 else record.get("kind")
    if type(schema) is not int or schema not in (1, 2) or not isinstance(kind, str):
        raise DamagedLineError("no schema")
    if kind in KINDS and not isinstance(record.get(KINDS[kind]), str):
        raise DamagedLineError("no identity")
    return record  # type: ignore[no-any-return]


def verdict(record: Mapping[str, Any]) -> ProbeResult:
    """The verdict in a record of kind `probe`.

    Raises:
        DamagedLineError: it holds none.
    """
    try:
        found = ProbeResult.from_dict({key: value for key, value in record.items() if key not in ("kind", "base")})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedLineError("no verdict") from error
    counts = (found.n, found.replicate, found.attempt, found.correct, found.steps, found.sample_steps)
    sizes = (size for size in (found.loss, found.gradient_norm) if size is not None)
    whole = all(map(is_whole, counts)) and found.n > 0 and all(map(is_number, (found.seconds, *sizes)))
    texts = is_text(found.key) and (record.get("base") is None or is_text(record["base"]))
    if not whole or not texts or type(found.detail) is not dict:
        raise DamagedLineError("no verdict")
    return found


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a journal for reading only; one packed with gzip is unpacked into a file without a name.

    Raises:
        JournalError: it is not there, is no file, or cannot be read.
    """
    try:
        require_file(path)
        return _unpacked(path) if os.fspath(path).endswith(PACKED) else open(path, "rb")
    except FileNotFoundError as error:
        raise JournalError(f"a journal must be there to be read, got no file {path}; name one that is") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise JournalError(
            f"a journal named {PACKED} must be packed with gzip and whole, got {path}: {error}"
        ) from error
    except OSError as error:
        raise cannot(path, "be opened", error) from error


def _unpacked(path: str | os.PathLike[str]) -> BinaryIO:
    whole = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with gzip.open(path) as packed:
            while block := packed.read(BLOCK):
                whole.write(block)
                if whole.tell() > MOST_UNPACKED:
                    most = f"{MOST_UNPACKED >> 30} GiB"
                    raise JournalError(f"a packed journal holds at most {most}, got more in {path}; unpack it yourself")
        whole.flush()
        whole.seek(0)
    except BaseException:
        whole.close()
        raise
    return cast("BinaryIO", whole)


def refuse_packed(path: str | os.PathLike[str]) -> None:
    """Refuse a packed journal where lines are to be written.

    Raises:
        JournalError: it is one.
    """
    if os.fspath(path).endswith(PACKED):
        raise JournalError(f"a packed journal can only be read, got {path}; unpack it with gunzip or name another")


def refuse_foreign(path: str | os.PathLike[str]) -> None:
    """Refuse a file that holds something, but nothing of a journal, where lines are to be written.

    Raises:
        JournalError: it does, or is of a newer schema.
        OSError: it cannot be read.
    """
    holds_text = False
    with open(path, "rb") as file:
        for line in walk(file, frozenset(), path=path):
            if line.problem in ("", "unknown kind") or (line.problem == "torn" and _is_start(line.raw)):
                return
            holds_text = holds_text or line.raw.strip() != b""
    if holds_text:
        raise JournalError(
            f"lines are added only to a journal or an empty file, got {path}, which holds no line of a journal; "
            "choose another with --journal"
        )


def _is_start(raw: bytes) -> bool:
    """Whether bytes are, as far as they go, what emc begins a line with."""
    start = b'{"schema":'
    return raw[: len(start)] == start[: len(raw)]


def require_file(path: str | os.PathLike[str]) -> None:
    """Refuse what is no file: reading a device may never end.

    Raises:
        JournalError: it is something else.
        OSError: there is nothing, or it cannot be told.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise JournalError(f"the journal must be a file, got {path}; choose another with --journal")


def cannot(path: object, what: str, error: OSError) -> JournalError:
    """The sentence about a file that does not obey."""
    return JournalError(
        f"the journal {path} cannot {what}: {error.strerror}; free the way or choose another with --journal"
    )


def blocks(descriptor: int, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines between two places of a file, some megabytes at once, each with its place.

    What follows the last line break is left out. A line that is too long to be one comes as an empty line.
    """
    size = BLOCK
    while at < end:
        data = os.pread(descriptor, min(size, end - at), at)
        whole = data.rfind(b"\n") + 1
        if whole:
            yield at, data[:whole]
            at, size = at + whole, BLOCK
        elif at + len(data) >= end or not data:
            return
        elif size < LONGEST:
            size *= 2
        else:
            after = _after_line_break(descriptor, at, end)
            if after is None:
                return
            yield after - 1, b"\n"
            at, size = after, BLOCK


def whole_end(descriptor: int, end: int) -> int:
    """Behind the last line break before a place, where the whole lines end.

    Only this much of a file stays where it is: whoever writes next cuts off what follows.
    """
    size = FIRST_BLOCK
    while end > 0:
        start = max(0, end - size)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end, size = start, BLOCK
    return 0


def _after_line_break(descriptor: int, at: int, end: int) -> int | None:
    while at < end:
        data = os.pread(descriptor, min(BLOCK, end - at), at)
        found = data.find(b"\n")
        if found >= 0 or not data:
            return at + found + 1 if data else None
        at += len(data)
    return None


def walk(
    file: BinaryIO,
    kinds: frozenset[str] | None = None,
    end: int | None = None,
    path: str | os.PathLike[str] | None = None,
) -> Iterator[Line]:
    """Every line of a journal as it is now, from the first to the last.

    Args:
        file: opened for reading.
        kinds: of the records that are asked for; None asks for all.
        end: up to where to read; None for all that is there.
        path: to name in messages; None takes the file's own name, which an unpacked one lacks.

    Raises:
        JournalError: it holds a newer schema, or cannot be read.
    """
    descriptor, number, place = file.fileno(), 0, 0
    name = file.name if path is None else path
    try:
        size = os.fstat(descriptor).st_size if end is None else end
        for start, data in blocks(descriptor, 0, size):
            place = start
            for raw in data.split(b"\n")[:-1]:
                number += 1
                yield _read_line(number, place, raw, name, kinds)
                place += len(raw) + 1
        if place < size:
            yield Line(number + 1, place, os.pread(descriptor, min(size - place, LONGEST), place), "torn")
    except OSError as error:
        raise cannot(name, "be read", error) from error


def _read_line(number: int, place: int, raw: bytes, path: object, kinds: frozenset[str] | None) -> Line:
    if kinds is not None and (kind := kind_at_sight(raw)) is not None and kind not in kinds:
        return Line(number, place, raw)
    try:
        record = decode(raw, path)
        probe = verdict(record) if record["kind"] == "probe" else None
        if not is_record(record):
            raise DamagedLineError("no record")
    except DamagedLineError:
        return Line(number, place, raw, "damaged")
    if record["kind"] not in KINDS:
        return Line(number, place, raw, "unknown kind")
    return Line(number, place, raw, "", record if kinds is None or record["kind"] in kinds else None, probe)


_STARTS = {
    b'{"schema":1,"key":"': "probe",
    **{f'{{"schema":{SCHEMA},"kind":"{kind}",'.encode(): kind for kind in KINDS},
}


def kind_at_sight(raw: bytes) -> str | None:
    """The kind of a line that begins and ends as emc writes it; None for any other, which must be read to know."""
    if raw.endswith(b"}"):
        for start, kind in _STARTS.items():
            if raw.startswith(start):
                return kind
    return None


def read(path: str | os.PathLike[str], *kinds: str) -> Iterator[dict[str, Any]]:
    """The records of a journal in the order they were written, one at a time.

    The file is only read, so it may be read-only and others may append to it: what is in it at the first record is
    given. Where two records have one identity (`KINDS`), the later one counts.

    Args:
        path: the file.
        kinds: of `KINDS`, those wanted; all where none is named.

    Returns:
        Values by field, with `kind`. Damaged lines are left out, with one warning at the end.

    Raises:
        JournalError: it cannot be read, or holds a newer schema.
    """
    damaged = 0
    with open_file(path) as file:
        for line in walk(file, frozenset(kinds or KINDS), path=path):
            damaged += line.problem == "damaged"
            if line.record is not None:
                yield line.record
    if damaged:
        warn_damaged(path, damaged, stacklevel=2)


def warn_damaged(path: object, number: int, stacklevel: int) -> None:
    """Say that lines are damaged."""
    warnings.warn(
        f"journal {path}: damaged lines skipped: {number} (emc journal check names them)", stacklevel=stacklevel + 1
    )
