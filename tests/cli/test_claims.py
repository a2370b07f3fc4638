from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import emc

Run = Callable[..., Result]
Mistake = Callable[..., str]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: Any) -> str:
    """Six replicates of a small net with random and with semantic labels."""
    path = tmp_path_factory.mktemp("claims") / "journal.jsonl"
    small = {"model": "mlp:width=2", "data": "gaussian:dim=3,size=24", "n_start": 4, "n_max": 12, "workers": 1}
    for labels in ("random", "semantic"):
        emc.measure(**small, labels=labels, replicates=6, min_steps=100, max_epochs=1, certify="none", journal=path)
    return str(path)


def test_a_table_then_sentences(run: Run, journal: str) -> None:
    outcome = run("claims", journal)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()
    assert lines[0].split() == [
        "claim",
        "verdict",
        "effect",
        "interval",
        "p",
        "(Holm)",
        "at",
        "this",
        "budget",
        "rests",
        "on",
    ]
    row = next(line for line in lines if line.startswith("random_below_semantic "))
    assert row.endswith("1 stratum, 6 replicates")
    text = " ".join(outcome.stdout.split())
    assert "Setting: data gaussian:dim=3,size=24" in text
    assert "relu_far_above undecided: ReLU fits" in text


def test_one_claim_with_its_strata(run: Run, journal: str) -> None:
    text = " ".join(run("claims", journal, "--claim", "random_below_semantic").stdout.split())
    assert "all 64 sign flips" in text
    assert text.count("cell ") == 2


def test_the_files_that_figures_keep(run: Run, journal: str, tmp_path: Path) -> None:
    outcome = run("claims", journal, "--format", "markdown", "--json", str(tmp_path / "claims.json"))
    assert outcome.stdout.startswith("| claim | verdict |")
    record = json.loads((tmp_path / "claims.json").read_text())
    assert {each["name"] for each in record["claims"]} >= {"random_below_semantic", "nets_below_linear"}
    piped = run("claims", journal, "--json", "-", "--claim", "nets_below_linear")
    assert json.loads(piped.stdout)["name"] == "nets_below_linear"


def test_the_library_gives_the_same(journal: str) -> None:
    found = emc.claims(journal)
    assert isinstance(found, emc.Claims)
    assert found["random_below_semantic"].deciding.replicates == 6
    assert "random_below_semantic" in str(found)


def test_mistakes_are_one_sentence(mistake: Mistake, journal: str) -> None:
    assert 'there is no claim "random"' in mistake("claims", journal, "--claim", "random")
    assert "none.jsonl" in mistake("claims", "none.jsonl")
    assert "--confidence must be between" in mistake("claims", journal, "--confidence", "2")


def test_a_journal_is_not_replaced(mistake: Mistake, journal: str) -> None:
    kept = Path(journal).read_bytes()
    assert "no other file of the command" in mistake("claims", journal, "--json", journal)
    assert Path(journal).read_bytes() == kept


def test_one_claim_has_no_markdown(mistake: Mistake, journal: str) -> None:
    told = mistake("claims", journal, "--claim", "nets_below_linear", "--format", "markdown")
    assert told.startswith('--format markdown prints all claims, got --claim "nets_below_linear"')


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("text", "warned"), [("", 0), ("<!doctype html>\n<p>page</p>\n", 1)])
def test_a_file_without_measurements_is_refused(run: Run, tmp_path: Path, text: str, warned: int) -> None:
    (tmp_path / "page.html").write_text(text)
    outcome = run("claims", "page.html")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    *warnings, error = outcome.stderr.splitlines()
    assert len(warnings) == warned
    assert all(line.startswith("warning: journal page.html: damaged lines skipped: 2") for line in warnings)
    assert error.startswith("error: a claim is tested on finished measurements and curves, got none in")
