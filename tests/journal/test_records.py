"""Which records are whole; what reads them is tested with `emc.load`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from journals import base_record, failure, line, make, measured, record_line

from emc.journal import Journal, check, compact, read
from emc.journal.records import is_record

RECORDS = [measured("f"), failure("f"), base_record("b")]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: str(record["kind"]))
def test_a_record_without_one_of_its_fields_is_none(record: dict[str, Any]) -> None:
    assert is_record(record)
    assert is_record({**record, "more": [1]})
    for name in set(record) - {"kind"}:
        assert not is_record({key: value for key, value in record.items() if key != name})
        assert not is_record({**record, name: object()})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("emc", 1.5), ("emc", True), ("emc", 2**63), ("upper", "9"), ("interval", [1.0]), ("estimand", "\ud800"),
        ("confidence", float("inf")), ("test_accuracy", ["1"]), ("cost", {"probes": 3}), ("versions", {"torch": 2}),
        ("procedure", {"model": "mlp:width=1,width=2"}), ("procedure", {"model": ["mlp"]}), ("tuning", {"tuner": None}),
        ("untuned", []),
    ],
)  # fmt: skip
def test_a_field_of_another_type_is_damage(name: str, value: Any) -> None:
    assert not is_record(measured("f", **{name: value}))


def test_what_may_be_missing_or_of_any_size() -> None:
    assert is_record(measured("f", upper=None, interval=None, seed=10**40, evidence={"minimum": 1}, tuning=None))
    assert is_record({"kind": "colour"})


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: str(record["kind"]))
def test_a_record_that_is_none_is_damaged_for_all_who_read(path: Path, record: dict[str, Any]) -> None:
    identity = "base" if record["kind"] == "base" else "fingerprint"
    bare = record_line({"kind": record["kind"], identity: record[identity]})
    path.write_bytes(record_line(record) + line(make(0)) + bare)
    found = check(path)
    assert (found.sound, found.damaged, found.damaged_lines) == (False, 1, (3,))
    with pytest.warns(UserWarning, match="damaged lines skipped: 1"):
        assert list(read(path, record["kind"])) == [record]
    assert compact(path).damaged == 1
    assert path.read_bytes() == record_line(record) + line(make(0))


def test_a_damaged_base_is_written_anew(path: Path) -> None:
    path.write_bytes(record_line({"kind": "base", "base": "b"}))
    with pytest.warns(UserWarning, match="damaged lines skipped: 1"), Journal(path) as journal:
        journal.note(base_record("b"))
    assert path.read_bytes().endswith(record_line(base_record("b")))


@pytest.mark.parametrize(
    "changes", [{"base": {}}, {"base": 0}, {"n": 0}, {"loss": ""}, {"loss": []}, {"steps": 2**63}, {"key": "\ud800"}]
)
def test_a_verdict_with_a_field_of_another_type_is_damage(path: Path, changes: dict[str, Any]) -> None:
    path.write_bytes(line(make(0)) + line(make(1), **changes))
    assert check(path).damaged_lines == (2,)
