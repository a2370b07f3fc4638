"""Several processes on one file: none misses what another wrote, whatever happens to the file."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import base_record, key_of, line, make, measured, old_line, record_line

from emc.errors import JournalError
from emc.journal import Journal, check, compact, read
from emc.journal.shared_file import SharedFile


def test_what_others_append_is_news_once(path: Path) -> None:
    path.write_bytes(line(make(0)))
    with Journal(path) as one, Journal(path) as two:
        assert one.refresh() == []
        two.append([make(1)])
        one.append([make(2)])
        two.append([make(3), make(4)])
        two.note(measured("f"))
        assert one.refresh() == [make(1), make(3), make(4)]
        assert one.refresh() == []
        assert two.refresh() == [make(2)]
        assert [one.get(key_of(number)) for number in range(5)] == [make(number) for number in range(5)]
        assert len(one) == len(two) == 5


def test_news_must_be_synced_before_they_count(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with Journal(path) as one, Journal(path) as two:
        two.append([make(0)], grow=True)
        two._file._next_sync = float("inf")
        two.append([make(1)], grow=True)
        assert (one.synced, two.synced) == (True, False)
        assert one.refresh() == [make(0), make(1)]
        assert not one.synced, "the other one may not have synced them yet"
        one.sync()
        assert one.synced
        assert synced == [two._file._descriptor, one._file._descriptor]


def test_half_a_line_of_another_is_no_news_until_it_is_whole(path: Path) -> None:
    whole = line(make(1))
    with Journal(path) as journal:
        for cut in (0, 1, len(whole) - 1):
            path.write_bytes(line(make(0)) + whole[:cut])
            assert journal.refresh() == ([make(0)] if cut == 0 else [])
        path.write_bytes(line(make(0)) + whole)
        assert journal.refresh() == [make(1)]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("aebc"), st.integers(0, 6)), max_size=14))
def test_two_journals_of_one_file_agree_with_a_list(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Appending by either, refreshing, compacting, in any order: the latest verdict is found, news come once."""
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    latest, missed, known, turn = {}, {}, set(), 0
    with Journal(path) as one, Journal(path) as two:
        for what, number in steps:
            turn += 1
            if what in "ae":
                result = make(number, steps=turn)
                (one if what == "a" else two).append([result])
                latest[result.key] = result
                if what == "e" and result.key not in known:
                    missed[result.key] = result
                known.add(result.key)
            elif what == "b":
                found = {result.key: result for result in one.refresh()}
                assert missed.keys() <= found.keys() <= latest.keys()
                missed = {}
                assert {key: one.get(key) for key in latest} == latest
            else:
                compact(path)
        news = {result.key for result in one.refresh()}
        assert missed.keys() <= news
        two.refresh()
        for journal in (one, two):
            assert {key: journal.get(key) for key in latest} == latest
            assert len(journal) == len(latest)


def test_a_torn_end_that_is_cut_while_it_is_learned_moves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another cuts a torn end off, fails to write over it, and then writes lines of other lengths."""
    path.write_bytes(line(make(0)))
    learn = SharedFile._learn
    with Journal(path) as other, Journal(path) as journal:
        with path.open("ab") as file:
            file.write(b"x" * 900)

        def late(self: SharedFile, end: int) -> None:
            monkeypatch.setattr(SharedFile, "_learn", learn)
            whole = path.stat().st_size - 900
            os.truncate(path, whole)
            with path.open("ab") as file:
                file.write(line(make(1)))  # as one does who then finds no room for the next line
            learn(self, end)
            os.truncate(path, whole)
            other.append([make(2, detail={"long": "x" * 400}), make(3)])

        monkeypatch.setattr(SharedFile, "_learn", late)
        journal.refresh()
        assert journal.refresh() == [make(2, detail={"long": "x" * 400}), make(3)]
        assert journal.get(key_of(1)) is None
        assert journal.get(key_of(3)) == make(3)
        journal.append([make(4)])
    assert check(path).sound


def test_a_base_is_written_once_a_file(path: Path) -> None:
    base = base_record("b1")
    with Journal(path) as one, Journal(path) as two:
        for journal in (one, two, one):
            journal.note(base)
        two.note({**base, "base": "b2"})
    with Journal(path) as three:
        three.note(base)
        three.note(measured("f", base="b1"))
    assert [record["base"] for record in read(path)] == ["b1", "b2", "b1"]


def test_a_record_noted_is_no_verdict(path: Path) -> None:
    with Journal(path) as journal, pytest.raises(ValueError, match="must be no verdict"):
        journal.note({"kind": "probe", **make(0).to_dict()})


def test_a_journal_that_was_moved_away_is_told(path: Path) -> None:
    with Journal(path) as journal:
        journal.append([make(0)])
        path.rename(path.with_name("moved.jsonl"))
        for use in (lambda: journal.append([make(1)]), lambda: journal.claim("a")):
            with pytest.raises(JournalError) as caught:
                use()
            assert str(caught.value) == (
                f"the journal must stay where it is while emc works with it, got no file {path} any more; "
                "put it back and run the same command again"
            )
        path.with_name("moved.jsonl").rename(path)
        journal.append([make(1)])
    assert path.read_bytes() == line(make(0)) + line(make(1))


def test_a_journal_that_was_cut_is_learned_anew(path: Path) -> None:
    with Journal(path) as journal:
        journal.append([make(0), make(1), make(2)])
        with path.open("r+b") as file:
            file.truncate(len(line(make(0))) + 5)
        journal.append([make(3)])
        assert [journal.get(key_of(number)) for number in range(4)] == [make(0), None, None, make(3)]
    assert path.read_bytes() == line(make(0)) + line(make(3))


def test_a_damaged_line_gives_way_to_an_earlier_one(path: Path) -> None:
    broken = line(make(0, steps=7)).replace(b'"verdict":"not_fitted"', b'"verdict":"not_fitten"')
    path.write_bytes(line(make(0)) + broken + line(make(1)))
    with Journal(path) as journal:
        with pytest.warns(UserWarning, match="damaged lines skipped: 1"):
            assert journal.get(key_of(0)) == make(0)
        assert journal.get(key_of(1)) == make(1)


def test_keys_of_one_hash_are_told_apart(path: Path) -> None:
    keys = [prefix + "0" * 23 for prefix in "abc"]  # the hash is of the last sixteen digits
    with Journal(path) as journal:
        journal.append([make(number, key=key) for number, key in enumerate(keys)])
    with Journal(path) as journal:
        assert [journal.get(key) for key in keys] == [make(number, key=key) for number, key in enumerate(keys)]
        assert journal.get("d" + "0" * 23) is None


def test_no_verdict_is_kept_in_memory(path: Path) -> None:
    path.write_bytes(b"".join(line(make(number)) for number in range(2000)))
    with Journal(path) as journal:
        first = journal.get(key_of(5))
        assert first == make(5)
        assert journal.get(key_of(5)) is not first


def test_schemas_may_be_mixed(path: Path) -> None:
    path.write_bytes(old_line(make(0)) + line(make(1)) + old_line(make(2, key="key-2")))
    with Journal(path) as journal:
        journal.append([make(3)])
        assert [journal.get(key) for key in (key_of(0), key_of(1), "key-2", key_of(3))] == [
            make(0),
            make(1),
            make(2, key="key-2"),
            make(3),
        ]


def test_other_kinds_and_unknown_ones_are_no_damage(path: Path) -> None:
    path.write_bytes(record_line(measured("f")) + record_line({"kind": "colour", "name": "red"}) + line(make(0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Journal(path) as journal:
            assert len(journal) == 1


FILES = st.lists(
    st.one_of(
        st.integers(0, 5).map(lambda number: line(make(number))),
        st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b"") + b"\n"),
        st.integers(1, 300).map(lambda length: b"\0" * length + b"\n"),
        st.tuples(st.integers(0, 5), st.integers(1, 150)).map(lambda pair: line(make(pair[0]))[: pair[1]] + b"\n"),
        st.just(b'{"schema":2,"kind":"probe","key":"' + "𝄞".encode()[:2] + b"\n"),
    ),
    max_size=10,
)


@settings(max_examples=100)
@given(FILES, st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")))
def test_whole_lines_survive_any_neighbours(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], torn: bytes
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    lines = [*lines, line(make(6))]  # else it is no journal
    path.write_bytes(b"".join(lines) + torn)
    there = {number for number in range(7) if line(make(number)) in lines}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Journal(path) as journal:
            assert {number for number in range(7) if journal.get(key_of(number)) == make(number)} == there
            assert len(journal) == len(there)
            journal.append([make(7)])
        assert path.read_bytes() == b"".join(lines) + line(make(7))
        compact(path)
        with Journal(path) as journal:
            assert {number for number in range(7) if journal.get(key_of(number)) == make(number)} == there
            assert journal.get(key_of(7)) == make(7)


def test_a_read_only_journal_is_read_without_a_trace(path: Path) -> None:
    path.write_bytes(line(make(0)) + b"torn")
    path.chmod(0o444)
    with Journal(path, read_only=True) as journal:
        assert journal.get(key_of(0)) == make(0)
        with path.open("r+b") as file:
            file.write(line(make(0)) + line(make(1)))
        assert journal.refresh() == [make(1)]
        assert journal.synced
        for use in (lambda: journal.append([make(2)]), lambda: journal.claim("a"), lambda: journal.show({})):
            with pytest.raises(JournalError, match="opened to be read cannot be written"):
                use()
    assert os.listdir(path.parent) == [path.name]
    with pytest.raises(JournalError, match="a journal must be there to be read"):
        Journal(path.with_name("absent"), read_only=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting takes root's rights")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(journal: Journal, batch: int) -> None:
    for first in range(0, 10_000, batch):
        journal.append([make(first + more) for more in range(batch)])


@pytest.mark.parametrize("batch", [1, 7])
def test_a_disk_that_is_full_loses_nothing_acknowledged(small_disk: Path, batch: int) -> None:
    path = small_disk / "journal.jsonl"
    with Journal(path) as journal:
        with pytest.raises(JournalError) as caught:
            _fill(journal, batch)
        number = len(journal)
        assert str(caught.value) == (
            f"the journal {path} cannot be written: {os.strerror(errno.ENOSPC)}; free the way or choose another with "
            "--journal"
        )
        assert (number > 100, number % batch) == (True, 0)
        assert path.read_bytes() == b"".join(line(make(each)) for each in range(number))
        with pytest.raises(JournalError, match="No space left on device"):
            compact(path)
        assert set(os.listdir(small_disk)) <= {"journal.jsonl", "journal.jsonl.d"}
        assert path.read_bytes() == b"".join(line(make(each)) for each in range(number))


WRITE = """
import sys
from emc.journal import Journal
from emc.results import ProbeResult, Verdict

path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with Journal(path) as journal:
    for number in range(count):
        journal.append([ProbeResult(f"{name}-{number}", 16, number, 0, Verdict.FITTED)], grow=True)
        if number == 0:
            print("writing", flush=True)
    journal.sync()
    others = [result.key for result in journal.refresh()]
    assert all(journal.get(f"{name}-{number}") for number in range(count))
    assert not [key for key in others if key.startswith(name)], "own verdicts are no news"
"""


def test_writers_go_on_while_the_journal_is_compacted_again_and_again(path: Path) -> None:
    count = 400
    command = [sys.executable, "-c", WRITE, str(path)]
    writers = [
        subprocess.Popen([*command, name, str(count)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
    done, files = 0, set()
    with Journal(path) as journal:
        while done < 3 or any(writer.poll() is None for writer in writers):
            compact(path)
            files.add(path.stat().st_ino)
            done += 1
            journal.append([make(done)])
        for writer in writers:
            _, complaint = writer.communicate()
            assert (writer.returncode, complaint) == (0, "")
        journal.refresh()
        wanted = {f"{name}-{number}" for name in "ab" for number in range(count)}
        wanted |= {key_of(number) for number in range(1, done + 1)}
        assert {key for key in wanted if journal.get(key) is None} == set()
        assert len(journal) == len(wanted)
    assert {record["key"] for record in read(path)} == wanted
    assert done > 1
