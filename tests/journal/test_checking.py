"""What a check counts, and what it calls sound."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import key_of, line, make, measured, old_line, record_line

from emc.errors import JournalError
from emc.journal import Check, Contradiction, check
from emc.journal.checking import MOST
from emc.results import Evidence, Verdict

FITTED = {"verdict": Verdict.FITTED, "evidence": None}


def test_everything_is_counted(path: Path) -> None:
    content = (
        line(make(0))
        + line(make(1, **FITTED))
        + b"damaged\n"
        + record_line(measured("f"))
        + line(make(0, seconds=9.0))
        + b"\0\0\n"
        + record_line({"kind": "colour"})
        + old_line(make(2))
        + b'{"schema":2,"ki'
    )
    path.write_bytes(content)
    assert check(path) == Check(
        lines=9,
        bytes=len(content),
        kinds={"measurement": 1, "probe": 4},
        verdicts={"fitted": 1, "not_fitted": 3},
        torn=15,
        damaged=2,
        damaged_lines=(3, 6),
        unknown=1,
        unknown_lines=(7,),
        duplicates=1,
        contradictions=0,
        contradictory=(),
    )
    assert not check(path).sound


@pytest.mark.parametrize(
    "change",
    [
        FITTED,
        {"evidence": Evidence.MINIMUM},
        {"correct": 3},
        {"steps": 99},
    ],
    ids=["verdict", "evidence", "correct", "steps"],
)
def test_verdicts_that_differ_contradict(path: Path, change: dict[str, object]) -> None:
    path.write_bytes(line(make(0)) + line(make(1)) + line(make(0, **change)) + line(make(0)))
    found = check(path)
    assert (found.duplicates, found.contradictions) == (2, 1)
    assert found.contradictory == (Contradiction(key_of(0), (1, 3, 4)),)
    assert not found.sound


def test_what_may_differ_is_no_contradiction(path: Path) -> None:
    path.write_bytes(line(make(0)) + line(make(0, seconds=5.0, loss=0.3, detail={"other": 1})))
    found = check(path)
    assert (found.duplicates, found.contradictions, found.sound) == (1, 0, True)


def test_keys_of_one_hash_do_not_contradict(path: Path) -> None:
    path.write_bytes(b"".join(line(make(number, key=prefix + "0" * 23)) for number, prefix in enumerate("abc")))
    assert check(path).sound


def test_a_torn_end_is_sound(path: Path) -> None:
    path.write_bytes(line(make(0)) + b"torn")
    found = check(path)
    assert (found.torn, found.lines, found.sound) == (4, 2, True)


def test_an_empty_journal_is_sound(path: Path) -> None:
    path.write_bytes(b"")
    assert check(path).sound
    assert check(path).lines == 0


def test_of_many_only_the_first_are_listed(path: Path) -> None:
    path.write_bytes(b"x\n" * (MOST + 5))
    found = check(path)
    assert (found.damaged, found.damaged_lines) == (MOST + 5, tuple(range(1, MOST + 1)))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), max_size=15))
def test_counts_agree_with_a_dictionary(tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[int, int]]) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    path.write_bytes(b"".join(line(make(number, steps=steps)) for number, steps in lines))
    steps_of = {number: {steps for each, steps in lines if each == number} for number, _ in lines}
    found = check(path)
    assert found.duplicates == len(lines) - len(steps_of)
    assert {each.key for each in found.contradictory} == {
        key_of(number) for number, steps in steps_of.items() if len(steps) > 1
    }
    assert found.contradictions == len(found.contradictory)


def test_checking_writes_nothing(path: Path) -> None:
    path.write_bytes(line(make(0)) + b"torn")
    path.chmod(0o444)
    before = path.stat()
    check(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_newer_or_absent_journal_is_refused(path: Path) -> None:
    with pytest.raises(JournalError, match="a journal must be there to be read"):
        check(path)
    path.write_bytes(b'{"schema":3}\n')
    with pytest.raises(JournalError, match="must have schema 2 or older, got 3"):
        check(path)
