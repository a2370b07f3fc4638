from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result

from emc.cli.results import Condition
from emc.journal import Journal
from emc.results import EmcResult, measurement_record
from emc.specs import Measurement

Run = Callable[..., Result]
MakeResult = Callable[..., EmcResult]


@pytest.fixture
def journal(tmp_path: Path, make_result: MakeResult) -> Path:
    """Three measurements: widths 4 and 8, the latter bracketed and censored."""
    path = tmp_path / "j.jsonl"
    facts = dict(make_result().dataset) | {"content_hash": "abc", "name": "=cmd|' /C calc'!A0"}
    with Journal(path) as written:
        for number, (width, kind) in enumerate(((4, "bracketed"), (8, "bracketed"), (8, "censored"))):
            procedure = Measurement.from_flat({"model": f"mlp:width={width},depth=1"}).procedure.to_dict()
            changes = {
                "procedure": procedure,
                "dataset": facts,
                "fingerprint": f"f{number}",
            }
            found = make_result(kind, emc=10 * width + number, **changes)
            written.note(measurement_record(found, {}))
            written.append(found.probes)
    return path


def columns(outcome: Result) -> list[list[str]]:
    assert outcome.exit_code == 0, outcome.output
    return [line.split() for line in outcome.stdout.splitlines()]


def test_the_table_shows_what_differs_and_marks_bounds(run: Run, journal: Path) -> None:
    head, *rows = columns(run("results", journal))
    assert head[:3] == ["fingerprint", "model.width", "state"]
    assert [row[:3] for row in rows] == [["f0", "4", "done"], ["f1", "8", "done"], ["f2", "8", "censored"]]
    assert ">= 82" in run("results", journal).stdout


def test_the_journal_of_the_folder_is_taken_where_none_is_named(run: Run, journal: Path) -> None:
    (journal.parent / ".emc").mkdir()
    journal.rename(journal.parent / ".emc" / "journal.jsonl")
    assert len(columns(run("results"))) == 4


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        (["model=mlp:width=8*"], ["f1", "f2"]),
        (["model=mlp*", "emc>80"], ["f1", "f2"]),
        (["emc>=81", "emc<82"], ["f1"]),
        (["emc != 81"], ["f0", "f2"]),
        (["state!=d*"], ["f2"]),
        (["model.width=8.0"], ["f1", "f2"]),
        (["censored=true"], ["f2"]),
        (["upper="], ["f2"]),
        (["upper!="], ["f0", "f1"]),
        (["upper>0"], ["f0", "f1"]),
        (["error=*"], []),
        (["upper=none"], ["f2"]),
        (["upper!=none"], ["f0", "f1"]),
        (["reparam=none"], ["f0", "f1", "f2"]),
    ],
)
def test_rows_are_kept_where_all_conditions_hold(
    run: Run, journal: Path, conditions: list[str], left: list[str]
) -> None:
    words = [word for condition in conditions for word in ("--where", condition)]
    outcome = run("results", journal, *words, "--columns", "fingerprint", "--format", "csv")
    assert outcome.stdout.split() == ["fingerprint", *left]


def test_rows_are_sorted_and_columns_chosen(run: Run, journal: Path) -> None:
    outcome = run("results", journal, "--sort=-emc", "--columns", "emc,model.*", "--format", "csv")
    assert outcome.stdout.splitlines() == ["emc,model.depth,model.width", "82,1,8", "81,1,8", "40,1,4"]


def test_a_spreadsheet_runs_nothing(run: Run, journal: Path) -> None:
    outcome = run("results", journal, "--columns", "dataset,emc", "--format", "csv")
    assert list(csv.reader(io.StringIO(outcome.stdout)))[1] == ["'=cmd|' /C calc'!A0", "40"]


def test_lines_of_json_hold_null_for_what_is_missing(run: Run, journal: Path) -> None:
    rows = [json.loads(line) for line in run("results", journal, "--format", "jsonl").stdout.splitlines()]
    assert [row["emc"] for row in rows] == [40, 81, 82]
    assert [row["upper"] is None for row in rows] == [False, False, True]
    assert rows[0]["test_accuracy"] is None


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet", "out.txt"])
def test_a_file_is_written_in_the_format_of_its_ending(run: Run, journal: Path, name: str, tmp_path: Path) -> None:
    outcome = run("results", journal, "-o", name)
    assert (outcome.exit_code, outcome.output) == (0, "")
    readers: dict[str, Callable[[Path], Any]] = {
        "out.csv": pd.read_csv,
        "out.jsonl": lambda path: pd.read_json(path, lines=True),
        "out.parquet": pd.read_parquet,
    }
    if name in readers:
        assert list(readers[name](tmp_path / name)["emc"]) == [40, 81, 82]
    else:
        assert (tmp_path / name).read_text().startswith("fingerprint")


def test_probes_are_listed_on_request(run: Run, journal: Path) -> None:
    head, *rows = columns(run("results", journal, "--probes", "--where", "verdict=not_fitted"))
    assert head[:3] == ["n", "replicate", "attempt"]
    assert {row[3] for row in rows} == {"not_fitted"}


def test_names_are_shown_where_they_differ_and_options_where_rows_of_one_name_do(
    run: Run, tmp_path: Path, make_result: MakeResult
) -> None:
    specs = ("mlp:width=4,depth=1", "mlp:width=8,depth=1", "linear", "nets.py:one,k=1", "nets.py:two,k=1")
    with Journal(tmp_path / "j.jsonl") as written:
        for number, spec in enumerate(specs):
            found = make_result(emc=number)
            facts = dict(found.dataset) | {"content_hash": "abc"}
            found = replace(found, procedure={**found.procedure, "model": spec}, dataset=facts)
            written.note(measurement_record(replace(found, fingerprint=f"f{number}"), {}))
    head, *rows = columns(run("results", "j.jsonl"))
    assert head[:4] == ["fingerprint", "model", "model.width", "state"]
    assert [row[1] for row in rows] == ["mlp", "mlp", "linear", "nets.py:one", "nets.py:two"]
    assert "model.width" not in run("results", "j.jsonl", "--where", "model.width!=8").stdout
    assert "depth=1" in run("results", "j.jsonl", "--columns", "model").stdout


def test_that_there_is_nothing_is_said(run: Run, journal: Path) -> None:
    (journal.parent / "empty.jsonl").touch()
    outcome = run("results", "empty.jsonl")
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (0, "", "no measurements in empty.jsonl\n")
    outcome = run("results", "j.jsonl", "--where", "emc>500", "--format", "csv", "--columns", "emc")
    assert (outcome.stdout, outcome.stderr) == ("emc\n", "no measurements in j.jsonl that meet --where, of 3\n")
    assert run("results", "empty.jsonl", "--probes").stderr == "no probes in empty.jsonl\n"


def test_each_column_is_explained(run: Run) -> None:
    assert "samples; effective model complexity" in run("results", "--list-columns").stdout
    assert "nats" in run("results", "--list-columns", "--probes").stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--where", "emd>3"], 'has no column "emd"; did you mean "emc"'),
        (["--where", "emc"], "--where compares a column"),
        (
            ["--where", "status==undertrained"],
            'one comparison, got "status==undertrained"; for a text that begins with =',
        ),
        (["--where", "emc=>3"], "--where has one comparison"),
        (["--where", "emc!==3"], "--where has one comparison"),
        (["--where", "model=~mlp"], "--where has one comparison"),
        (["--where", "model>a"], "--where orders numbers"),
        (["--sort", "emd"], 'has no column "emd"'),
        (["--columns", "emd"], 'has no column "emd"'),
        (["--columns", ","], "--columns names at least one"),
        (["--format", "parquet"], "write -o FILE"),
        (["-o", "no/where.csv"], "existing folder"),
        (["-o", "x.xlsx"], '-o takes a file that ends in .csv, .jsonl, .parquet, .txt, got "x.xlsx"; change it'),
    ],
)
def test_mistakes_are_one_sentence(mistake: Callable[..., str], journal: Path, words: list[str], sentence: str) -> None:
    assert sentence in mistake("results", journal, *words)


def test_a_journal_that_is_not_there_is_told(mistake: Callable[..., str]) -> None:
    assert "must be there" in mistake("results", "none.jsonl")


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("x=1e2", 100, True),
        ("x=true", True, True),
        ("x=1", True, False),
        ("x<5", float("nan"), False),
        ("x!=5", None, True),
        ("x=", None, True),
        ("x=", "a", False),
        ("x=[!a]*", "b", True),
        ("x=[=]a", "=a", True),
        ("x!=none", None, False),
        ("x = a b ", "a b", True),
    ],
)
def test_a_condition_compares_numbers_as_numbers_and_texts_as_globs(text: str, value: Any, holds: bool) -> None:
    assert Condition.parse(text).holds(value) is holds


def test_a_journal_is_not_replaced(mistake: Callable[..., str], journal: Path) -> None:
    kept = journal.read_bytes()
    assert "no other file of the command" in mistake("results", journal, "-o", journal)
    assert journal.read_bytes() == kept
