"""What runs now is what live processes said, and nothing that dead ones left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from journals import hear, line, make, measured, record_line, start

from emc.errors import JournalError
from emc.journal import Journal, last_verdicts, running, side_folder

SHOWER = """
import sys
from emc.journal import Journal

journal = Journal(sys.argv[1])
journal.show({"probes": 7})
print("shown", flush=True)
sys.stdin.read()
"""


def test_what_a_process_shows_is_seen_until_it_closes(path: Path) -> None:
    with Journal(path) as journal:
        assert running(path) == []
        journal.show({"probes": 7, "running": [{"n": 16}]})
        (found,) = running(path)
        assert (found.pid, found.status) == (os.getpid(), {"probes": 7, "running": [{"n": 16}]})
        assert found.started <= found.shown
        assert found.command
    assert running(path) == []
    assert os.listdir(side_folder(path) / "running") == []


def test_it_is_written_at_most_once_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, made = [100.0], []
    monkeypatch.setattr("emc.journal.live.time.monotonic", lambda: clock[0])

    def status() -> dict[str, float]:
        made.append(clock[0])
        return {"at": clock[0]}

    with Journal(path) as journal:
        for _ in range(25):
            journal.show(status)
            clock[0] += 0.125
        assert made == [100.0, 101.0, 102.0, 103.0]
        assert running(path)[0].status == {"at": 103.0}


def test_a_killed_process_is_not_shown_and_its_file_goes(path: Path) -> None:
    with start(SHOWER, path) as other:
        assert hear(other) == "shown"
        (found,) = running(path)
        assert found.pid == other.pid
        other.kill()
    assert running(path) == []
    assert len(os.listdir(side_folder(path) / "running")) == 1
    with Journal(path) as journal:
        journal.show({})
        assert [each.pid for each in running(path)] == [os.getpid()]
        assert len(os.listdir(side_folder(path) / "running")) == 1


def test_processes_are_shown_side_by_side(path: Path) -> None:
    with start(SHOWER, path) as other, Journal(path) as journal:
        assert hear(other) == "shown"
        journal.show({"probes": 1})
        assert {each.pid: each.status for each in running(path)} == {
            os.getpid(): {"probes": 1},
            other.pid: {"probes": 7},
        }
        other.kill()


def test_of_two_journals_of_a_process_the_first_shows_until_it_closes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emc.journal.live.SHOW_EVERY_S", 0.0)
    with Journal(path) as two:
        with Journal(path) as one:
            one.show({"who": 1})
            two.show({"who": 2})
            assert [each.status for each in running(path)] == [{"who": 1}]
        two.show({"who": 2})
        assert [each.status for each in running(path)] == [{"who": 2}]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"host": 1}', "\0", '{"host":"a","pid":"x","command":"",'])
def test_nonsense_in_the_folder_is_ignored(path: Path, content: str) -> None:
    with Journal(path) as journal:
        journal.show({})
        (file,) = (side_folder(path) / "running").iterdir()
        file.write_text(content)
        assert running(path) == []


def test_what_is_shown_is_whole_json(path: Path) -> None:
    with Journal(path) as journal:
        journal.show({"cells": {"done": 3}})
        (file,) = (side_folder(path) / "running").iterdir()
        assert set(json.loads(file.read_text())) == {"host", "pid", "command", "started", "shown", "status"}


def test_without_a_file_nothing_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Journal(None) as journal:
        journal.show({"probes": 1})
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_way_is_told(path: Path) -> None:
    with Journal(path) as journal:
        assert journal.folder is not None
        (journal.folder / "running").write_text("in the way")
        with pytest.raises(JournalError, match="cannot be watched through its folder"):
            journal.show({})


def test_links_to_a_journal_share_its_folder(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    with Journal(path) as one, Journal(link) as two:
        assert one.folder == two.folder
        assert one.claim("a")
        assert not two.claim("a")


@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("first_read", [1, 100, 1 << 14])
def test_the_last_verdicts_are_read_from_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch, count: int, first_read: int
) -> None:
    monkeypatch.setattr("emc.journal.live._TAIL_BYTES", first_read)
    lines = [line(make(number)) for number in range(5)]
    lines.insert(4, record_line(measured("f")) + b"\0damaged\n")
    path.write_bytes(b"".join(lines) + line(make(9))[:-1])
    assert last_verdicts(path, count) == [make(number) for number in range(5)][-count:]


def test_an_empty_journal_has_no_last_verdict(path: Path) -> None:
    path.write_bytes(b"")
    assert last_verdicts(path, 3) == []
