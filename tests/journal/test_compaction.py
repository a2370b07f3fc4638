"""What compacting keeps, and that it leaves the journal alone where it cannot be done."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import BinaryIO

import journals
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import hear, key_of, line, make, old_line, record_line, start

from emc.errors import JournalError
from emc.journal import Compaction, Journal, check, compact, compaction, read, side_folder
from emc.journal.locks import Claims


def measured(fingerprint: str, emc: int) -> bytes:
    return record_line(journals.measured(fingerprint, emc=emc))


def failed(fingerprint: str, error: str) -> bytes:
    return record_line(journals.failure(fingerprint, error=error))


def base(name: str, what: str) -> bytes:
    return record_line(journals.base_record(name, what=what))


UNKNOWN = b'{"schema":2,"kind":"colour", "name":"red"}\n'


def test_the_last_of_each_identity_is_kept_in_order(path: Path) -> None:
    before = [
        base("b", "old"),
        line(make(0, steps=1)),
        line(make(1)),
        b"damaged\n",
        measured("f", 1),
        failed("g", "oom"),
        line(make(0, steps=2)),
        UNKNOWN,
        base("b", "new"),
        failed("h", "slow"),
        failed("h", "slower"),
        measured("f", 2),
        measured("g", 3),
        UNKNOWN,
    ]
    path.write_bytes(b"".join(before) + b"torn")
    done = compact(path)
    kept = b"".join(before[number] for number in (2, 6, 7, 8, 10, 11, 12, 13))
    assert path.read_bytes() == kept
    assert done == Compaction(
        lines=14,
        bytes=len(b"".join(before)) + 4,
        kept=8,
        bytes_kept=len(kept),
        superseded=5,
        damaged=1,
        migrated=0,
    )
    assert compact(path).to_dict() == {
        "lines": 8, "bytes": len(kept), "kept": 8, "bytes_kept": len(kept), "superseded": 0, "damaged": 0,
        "migrated": 0,
    }  # fmt: skip
    assert path.read_bytes() == kept


def test_a_failure_after_a_measurement_is_kept_beside_it(path: Path) -> None:
    content = measured("f", 1) + failed("f", "oom")
    path.write_bytes(content)
    compact(path)
    assert path.read_bytes() == content


def test_the_older_schema_is_written_anew(path: Path) -> None:
    path.write_bytes(old_line(make(0)) + line(make(1)) + old_line(make(2, key="key-2")))
    assert compact(path).migrated == 2
    assert path.read_bytes() == line(make(0)) + line(make(1)) + line(make(2, key="key-2"))


def test_a_damaged_last_line_leaves_the_one_before(path: Path) -> None:
    broken = line(make(0, steps=2)).replace(b'"n":', b'"m":')
    path.write_bytes(line(make(0, steps=1)) + broken)
    assert compact(path).damaged == 1
    assert path.read_bytes() == line(make(0, steps=1))


def test_keys_of_one_hash_are_all_kept(path: Path) -> None:
    keys = [prefix + "0" * 23 for prefix in "abca"]
    path.write_bytes(b"".join(line(make(number, key=key)) for number, key in enumerate(keys)))
    compact(path)
    assert path.read_bytes() == b"".join(line(make(number, key=keys[number])) for number in (1, 2, 3))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), max_size=12))
def test_nothing_that_a_journal_knows_changes(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[int, bool, int]]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    latest = {number: make(number, steps=steps) for number, _, steps in lines}
    path.write_bytes(b"".join((old_line if old else line)(make(number, steps=steps)) for number, old, steps in lines))
    compact(path)
    with Journal(path) as journal:
        assert {number: journal.get(key_of(number)) for number in latest} == latest
    assert len(list(read(path))) == len(latest)
    assert check(path).duplicates == 0


def test_an_empty_journal_stays_empty(path: Path) -> None:
    path.write_bytes(b"")
    assert compact(path).kept == 0
    assert path.read_bytes() == b""


def test_mode_and_link_stay(path: Path, tmp_path: Path) -> None:
    path.write_bytes(line(make(0)) * 2)
    path.chmod(0o640)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    compact(link)
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.read_bytes() == line(make(0))
    assert sorted(os.listdir(tmp_path)) == ["journal.jsonl", "journal.jsonl.d", "link.jsonl"]


def test_what_a_dead_compaction_left_is_removed(path: Path) -> None:
    path.write_bytes(line(make(0)))
    path.with_name(".journal.jsonl.12345.compacted").write_bytes(b"half")
    path.with_name(".other.jsonl.12345.compacted").write_bytes(b"another's")
    compact(path)
    assert sorted(os.listdir(path.parent)) == [".other.jsonl.12345.compacted", "journal.jsonl", "journal.jsonl.d"]


def test_one_process_compacts_at_a_time(path: Path) -> None:
    path.write_bytes(line(make(0)))
    side_folder(path).mkdir()
    claims = Claims(side_folder(path) / "claims")
    assert claims.take("compaction")
    with pytest.raises(JournalError) as caught:
        compact(path)
    assert str(caught.value) == f"a journal is compacted by one process at a time, got {path}; wait for the other one"
    claims.close()
    assert compact(path).kept == 1


def test_a_failure_leaves_the_journal_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(line(make(0)) * 2)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(JournalError, match=r"cannot be compacted: No space left on device; free the way"):
        compact(path)
    assert path.read_bytes() == line(make(0)) * 2
    assert sorted(os.listdir(path.parent)) == ["journal.jsonl", "journal.jsonl.d"]


def test_a_journal_that_is_not_there_or_newer_is_refused(path: Path) -> None:
    with pytest.raises(JournalError, match="a journal must be there to be compacted, got no file"):
        compact(path)
    assert os.listdir(path.parent) == []
    path.write_bytes(b'{"schema":3}\n')
    with pytest.raises(JournalError, match="must have schema 2 or older, got 3"):
        compact(path)
    assert path.read_bytes() == b'{"schema":3}\n'
    with pytest.raises(JournalError, match="the journal must be a file"):
        compact(path.parent)


def test_a_journal_replaced_meanwhile_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(line(make(0)) * 2)
    sync = os.fsync

    def replace(_descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        path.unlink()
        path.write_bytes(line(make(1)))

    monkeypatch.setattr(os, "fsync", replace)
    with pytest.raises(JournalError, match="must stay in its place while it is compacted"):
        compact(path)
    assert path.read_bytes() == line(make(1))


def test_what_is_appended_meanwhile_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(line(make(0)) * 2)
    sync = os.fsync

    def append(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        with path.open("ab") as file:
            file.write(line(make(1)) + b"torn by a dying process")
        sync(descriptor)

    with Journal(path) as journal:
        monkeypatch.setattr(os, "fsync", append)
        done = compact(path)
        assert (done.lines, done.kept, done.superseded) == (3, 2, 1)
        assert path.read_bytes() == line(make(0)) + line(make(1))
        assert journal.refresh() == [make(1)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            journal.append([make(2)])
    assert path.read_bytes() == line(make(0)) + line(make(1)) + line(make(2))


def test_what_is_appended_over_a_torn_end_meanwhile_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live writer cuts the torn end off first, so that its lines begin before the end that compacting saw."""
    path.write_bytes(line(make(0)) * 2)
    choose = compaction._choose
    with Journal(path) as journal:
        with path.open("ab") as file:
            file.write(line(make(9))[:-7])

        def append(source: BinaryIO, end: int) -> object:
            journal.append([make(1)])
            chosen = choose(source, end)
            journal.append([make(2), make(3)])
            return chosen

        monkeypatch.setattr(compaction, "_choose", append)
        compact(path)
        assert path.read_bytes() == b"".join(line(make(number)) for number in range(4))
        assert check(path).sound
        assert [journal.get(key_of(number)) for number in range(4)] == [make(number) for number in range(4)]


WRITER = """
import sys
from pathlib import Path
from typing import BinaryIO
sys.path.insert(0, sys.argv[2])
from journals import line, make
from emc.journal import Journal

with Journal(sys.argv[1]) as journal:
    print("ready", flush=True)
    for number in range(300):
        with Path(sys.argv[1]).open("ab") as file:
            file.write(line(make(1000))[:-9])
        journal.append([make(number)])
print("done", flush=True)
"""


def test_a_writer_over_torn_ends_loses_nothing_to_compactions(path: Path) -> None:
    writer = start(WRITER, path, str(Path(__file__).parents[1]))
    assert hear(writer) == "ready"
    while writer.poll() is None:
        compact(path)
    assert (writer.communicate()[0], writer.returncode) == ("done\n", 0)
    with Journal(path) as journal:
        assert [journal.get(key_of(number)) for number in range(300)] == [make(number) for number in range(300)]
    assert check(path).sound
