from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from journals import key_of, line, make, measured, old_line, record_line

Run = Callable[..., Result]
Mistake = Callable[..., str]

SOUND = line(make(0)) + line(make(1)) + record_line(measured("f"))


def test_a_sound_journal_is_called_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "j.jsonl").write_bytes(SOUND + b"torn")
    outcome = run("journal", "check", "j.jsonl")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines() == [
        "journal         j.jsonl",
        f"size            4 lines, {len(SOUND) + 4:,} bytes",
        "verdicts        2 not_fitted",
        "other records   1 measurement",
        "duplicates      0",
        "torn end        4 bytes that nobody was told of; the next process that writes cuts them off",
        "damaged         none",
        "unknown kinds   none",
        "contradictions  none",
        "sound           yes",
    ]


@pytest.mark.parametrize(
    ("bad", "row"),
    [
        (b"x\n" * 2, "damaged         2: lines 4, 5"),
        (b"x\n" * 101, "..."),
        (record_line({"kind": "new"}), "unknown kinds   1: line 4"),
        (line(make(0, steps=5)), f"contradictions  1: {key_of(0)} on lines 1, 4"),
        (b"x\n", "sound           no; emc journal compact keeps the last whole line of each probe"),
        (record_line({"kind": "new"}), "sound           no; update emc to read what it does not know"),
    ],
)
def test_what_is_wrong_is_named_and_told_by_the_exit_code(run: Run, tmp_path: Path, bad: bytes, row: str) -> None:
    (tmp_path / "j.jsonl").write_bytes(SOUND + bad)
    outcome = run("journal", "check", "j.jsonl")
    assert outcome.exit_code == 1
    assert row in outcome.stdout


def test_counts_come_as_json(run: Run, tmp_path: Path) -> None:
    (tmp_path / "j.jsonl").write_bytes(SOUND + b"x\n")
    outcome = run("journal", "check", "j.jsonl", "--json", "-")
    assert outcome.exit_code == 1
    found = json.loads(outcome.stdout)
    assert (found["damaged_lines"], found["kinds"], found["sound"]) == ([4], {"measurement": 1, "probe": 2}, False)
    assert "damaged" in outcome.stderr
    assert run("journal", "check", "j.jsonl", "--json", "check.json").exit_code == 1
    assert json.loads((tmp_path / "check.json").read_text()) == found


def test_the_usual_journal_is_taken_where_none_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".emc").mkdir()
    (tmp_path / ".emc" / "journal.jsonl").write_bytes(SOUND)
    for words in (("journal", "check"), ("journal", "compact"), ("watch",)):
        assert f".emc{os.sep}journal.jsonl" in run(*words).stdout
    monkeypatch.setenv("EMC_JOURNAL", "mine.jsonl")
    (tmp_path / "mine.jsonl").write_bytes(b"")
    assert "mine.jsonl" in run("journal", "check").stdout


def test_compacting_says_what_it_did(run: Run, tmp_path: Path) -> None:
    before = old_line(make(0)) + SOUND + b"x\n"
    (tmp_path / "j.jsonl").write_bytes(before)
    outcome = run("journal", "compact", "j.jsonl")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout == (
        f"j.jsonl: 5 lines ({len(before):,} bytes) became 3 ({len(SOUND):,} bytes); 1 superseded, 1 damaged, "
        "0 of an older schema\n"
    )
    assert (tmp_path / "j.jsonl").read_bytes() == SOUND


@pytest.mark.parametrize("words", [("journal", "check"), ("journal", "compact"), ("watch",)])
def test_mistakes_get_one_sentence(mistake: Mistake, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "newer.jsonl").write_bytes(b'{"schema": 3}\n')
    (tmp_path / "folder").mkdir()
    before = sorted(os.listdir(tmp_path))
    assert "no file absent.jsonl" in mistake(*words, "absent.jsonl")
    assert mistake(*words, "newer.jsonl") == (
        "journal newer.jsonl must have schema 2 or older, got 3; update emc to read it"
    )
    assert mistake(*words, "folder") == "the journal must be a file, got folder; choose another with --journal"
    assert "/dev/null" in mistake(*words, "/dev/null")
    assert sorted(set(os.listdir(tmp_path)) - {"newer.jsonl.d"}) == before


def test_commands_of_a_journal_are_listed_and_guessed(run: Run, mistake: Mistake) -> None:
    outcome = run("journal")
    assert outcome.exit_code == 0
    assert "check    Say what it holds and what is wrong with it." in outcome.stdout
    assert mistake("journal", "chek") == 'emc journal has no command "chek"; did you mean "check"?'
    assert mistake("journal", "check", "--jsn") == 'emc journal check has no option "--jsn"; did you mean "--json"?'


def test_debug_shows_the_traceback(run: Run) -> None:
    outcome = run("journal", "check", "absent.jsonl", "--debug")
    assert type(outcome.exception).__name__ == "JournalError"
