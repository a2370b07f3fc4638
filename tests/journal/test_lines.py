"""Lines in, lines out, and whatever else may stand in a file."""

from __future__ import annotations

import io
import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import base_record, failure, line, make, measured, old_line, record_line

from emc.errors import JournalError
from emc.journal import KINDS, SCHEMA, Journal, read
from emc.journal.lines import DamagedLineError, blocks, decode, encode, kind_at_sight, verdict, walk

MEASUREMENT = measured("f1")
FAILED = failure("f2")
BASE = base_record("b1")


def test_every_kind_is_read_back_in_the_order_it_was_written(path: Path) -> None:
    with Journal(path) as journal:
        journal.note(BASE)
        journal.append([make(0), make(1)], bases={make(0).key: "b1"})
        journal.note(MEASUREMENT)
        journal.note(FAILED)
    verdicts = [{"kind": "probe", **make(0).to_dict(), "base": "b1"}, {"kind": "probe", **make(1).to_dict()}]
    assert list(read(path)) == [BASE, *verdicts, MEASUREMENT, FAILED]
    assert list(read(path, "failed", "measurement")) == [MEASUREMENT, FAILED]
    assert [record["key"] for record in read(path, "probe")] == [make(0).key, make(1).key]
    assert [verdict(record) for record in read(path, "probe")] == [make(0), make(1)]


def test_lines_of_the_older_schema_are_read_as_verdicts(path: Path) -> None:
    path.write_bytes(old_line(make(0)) + line(make(1)))
    assert [record["kind"] for record in read(path)] == ["probe", "probe"]
    assert [verdict(record) for record in read(path)] == [make(0), make(1)]


def test_an_unknown_kind_is_left_out(path: Path) -> None:
    path.write_bytes(record_line({"kind": "colour", "name": "red"}) + record_line(MEASUREMENT))
    assert list(read(path)) == [MEASUREMENT]
    assert list(read(path, "measurement")) == [MEASUREMENT]


def test_damaged_lines_are_left_out_with_one_warning(path: Path) -> None:
    path.write_bytes(b"x\n" + record_line(MEASUREMENT) + b"\0\0\n" + b'{"schema":2,"kind":"failed"}\n' + b"torn")
    with pytest.warns(UserWarning, match=r"damaged lines skipped: 3 \(emc journal check names them\)") as caught:
        assert list(read(path)) == [MEASUREMENT]
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_reading_takes_what_is_there_when_it_begins(path: Path) -> None:
    path.write_bytes(record_line(MEASUREMENT))
    records = read(path)
    assert next(records) == MEASUREMENT
    with path.open("ab") as file:
        file.write(record_line(FAILED))
    assert list(records) == []
    assert list(read(path)) == [MEASUREMENT, FAILED]


def test_a_newer_schema_is_refused(path: Path) -> None:
    path.write_bytes(record_line(MEASUREMENT) + b'{"schema":3,"what":1}\n')
    with pytest.raises(JournalError, match=r"must have schema 2 or older, got 3; update emc to read it"):
        list(read(path))


def test_a_journal_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(JournalError) as caught:
        list(read(path))
    assert str(caught.value) == f"a journal must be there to be read, got no file {path}; name one that is"
    assert not path.exists()


def test_a_folder_or_a_device_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero")):
        with pytest.raises(JournalError, match="the journal must be a file, got"):
            list(read(path))


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"kind": "colour"},
        {"kind": ["probe"]},
        {"kind": "measurement"},
        {"kind": "measurement", "fingerprint": 3},
        {"kind": "base", "fingerprint": "f"},
        {"kind": "failed", "fingerprint": "f", "schema": 9},
    ],
    ids=str,
)
def test_a_record_that_nothing_could_find_again_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a record has a kind"):
        encode(record)


def test_a_record_with_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({**MEASUREMENT, "emc": float("nan")})


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_line_with_a_number_that_json_has_not_is_damaged(constant: str) -> None:
    raw = line(make(0, loss=7.5)).replace(b"7.5", constant.encode())
    with pytest.raises(DamagedLineError, match="no line"):
        decode(raw[:-1], "here")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", "16"),
        ("n", None),
        ("correct", [1]),
        ("steps", 1.5),
        ("replicate", True),
        ("loss", "low"),
        ("seconds", {}),
        ("detail", [1]),
        ("detail", None),
        ("verdict", "perhaps"),
    ],
)
def test_a_verdict_of_wrong_types_is_damaged(name: str, value: object) -> None:
    with pytest.raises(DamagedLineError, match="no verdict"):
        verdict({"kind": "probe", **make(0).to_dict(), name: value})


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_known_at_sight(kind: str) -> None:
    assert kind_at_sight(encode({"kind": kind, KINDS[kind]: "x", "more": {}})[:-1]) == kind
    assert kind_at_sight(json.dumps({"schema": SCHEMA, "kind": kind, KINDS[kind]: "x"}).encode()) is None
    assert kind_at_sight(encode({"kind": kind, KINDS[kind]: "x"})[:-3]) is None


def test_lines_are_numbered_and_placed(path: Path) -> None:
    path.write_bytes(line(make(0)) + b"junk\r\rjunk\n\n" + record_line({"kind": "new"}) + b"{to")
    with path.open("rb") as file:
        found = [(each.number, each.place, each.problem) for each in walk(file)]
    first = len(line(make(0)))
    assert found == [
        (1, 0, ""),
        (2, first, "damaged"),
        (3, first + 11, "damaged"),
        (4, first + 12, "unknown kind"),
        (5, first + 12 + len(record_line({"kind": "new"})), "torn"),
    ]


@settings(max_examples=200)
@given(
    st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")), max_size=8),
    st.integers(1, 30),
    st.integers(1, 3),
)
def test_blocks_give_every_line_but_those_too_long(raws: list[bytes], block: int, times: int) -> None:
    data = b"\n".join(raws)
    whole, found, at = data[: data.rfind(b"\n") + 1], [], 0
    with io.FileIO(os.memfd_create("journal"), "r+") as file, pytest.MonkeyPatch.context() as patched:
        file.write(data)
        patched.setattr("emc.journal.lines.BLOCK", block)
        patched.setattr("emc.journal.lines.LONGEST", block * times)
        for place, part in blocks(file.fileno(), 0, len(data)):
            assert place >= at, "places grow"
            at = place + len(part)
            found += part.split(b"\n")[:-1]
        assert at == len(whole)
    expected = whole.split(b"\n")[:-1]
    assert len(found) == len(expected)
    for given_line, line_found in zip(expected, found, strict=True):
        assert line_found in (given_line, b"")
        assert line_found == given_line or len(given_line) >= block * times


def test_a_line_of_any_length_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emc.journal.lines.BLOCK", 1 << 10)
    long = make(1, detail={"filling": "x" * 100_000})
    with Journal(path) as journal:
        journal.append([make(0), long, make(2)])
        assert journal.get(long.key) == long
    with Journal(path) as journal:
        assert [journal.get(make(number).key) for number in (0, 1, 2)] == [make(0), long, make(2)]


def test_a_journal_that_may_only_be_read_is_read(path: Path) -> None:
    path.write_bytes(line(make(0)))
    path.chmod(0o444)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(read(path))) == 1
    assert os.listdir(path.parent) == [path.name]
