from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from page_journals import write_journal

Run = Callable[..., Result]

pytest.importorskip("itables")
pytest.importorskip("altair")


@pytest.fixture
def journal(tmp_path: Path, make_result) -> Path:
    found = make_result()
    facts = dict(found.dataset) | {"content_hash": "abc"}
    results = [replace(found, dataset=facts, fingerprint=f"print{emc}", emc=emc) for emc in (40, 80)]
    return write_journal(tmp_path / "j.jsonl", results)


def page(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_a_page_is_written_and_said(run: Run, journal: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    assert run("report", str(journal), "-o", str(target), "--title", "A & B").stdout == f"wrote {target}\n"
    assert "<title>A &amp; B</title>" in page(target)
    assert "print40" in page(target)


def test_the_journal_may_be_left_out(run: Run, journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMC_JOURNAL", str(journal))
    assert run("report", "-o", str(tmp_path / "page.html")).exit_code == 0


def test_conditions_choose_measurements(run: Run, journal: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    run("report", str(journal), "-o", str(target), "--where", "emc>50")
    assert "print80" in page(target)
    assert "print40" not in page(target)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["no.jsonl", "-o", "page.html"], "no.jsonl"),
        (["j.jsonl", "-o", "no/page.html"], 'an output file needs an existing folder, got "no/page.html"'),
        (["j.jsonl", "-o", "./j.jsonl"], 'an output file must be no other file of the command, got "./j.jsonl", which'),
        (["j.jsonl", "-o", "."], 'an output path names a file, got the folder "."'),
        (["j.jsonl"], "missing option '-o' / '--output'"),
        (["j.jsonl", "-o", "page.html", "--where", "speed=1"], 'the journal has no column "speed"'),
        (
            ["j.jsonl", "-o", "page.html", "--where", "emc>500"],
            'got none among those asked for in "j.jsonl"; ask for others',
        ),
    ],
)
def test_mistakes_are_one_sentence(
    run: Run, journal: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(journal.parent)
    kept = journal.read_bytes()
    outcome = run("report", *words)
    assert journal.read_bytes() == kept
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("error: ")
    assert outcome.stderr.count("\n") == 1
    assert sentence in outcome.stderr
    assert not (journal.parent / "page.html").exists()
