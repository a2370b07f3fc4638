from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from steps_oracle import StepsOracle

from emc.estimate_record import Estimate

Run = Callable[..., Result]
Mistake = Callable[..., str]
WORDS = ("--model", "linear", "--data", "gaussian:dim=3", "--check-steps", "1", "--min-steps", "100000", "-q")


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> StepsOracle:
    found = StepsOracle(200.0)
    monkeypatch.setattr("emc.session.make_executor", found)
    return found


@pytest.mark.usefixtures("oracle")
def test_prints_the_estimate_and_what_it_is_worth(run: Run) -> None:
    outcome = run("estimate", *WORDS)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    text = " ".join(outcome.stdout.split())
    assert text.startswith("estimated EMC 200 (no measurement) 95 % interval ")
    assert "how far to trust it within a factor of" in text
    assert "publish a measurement" in text


@pytest.mark.usefixtures("oracle")
def test_json_holds_the_record_and_shows_the_same_table(run: Run) -> None:
    printed = run("estimate", *WORDS, "--json", "e.json")
    with open("e.json") as file:
        found = Estimate.from_dict(json.load(file))
    assert found.emc == 200
    alone = run("estimate", *WORDS, "--json", "-")
    assert Estimate.from_dict(json.loads(alone.stdout)).rows() == found.rows()
    assert alone.stderr == printed.stdout


@pytest.mark.usefixtures("oracle")
def test_an_estimate_is_shown_again_and_stands_for_no_measurement(run: Run, mistake: Mistake) -> None:
    printed = run("estimate", *WORDS, "--json", "e.json").stdout
    assert run("show", "e.json").stdout == printed
    kind = "an estimate, which cannot stand for a measurement"
    remedy = "name a file written by emc measure --json"
    sentence = f'a result file must hold an EMC result, got "e.json" ({kind}); {remedy}'
    assert mistake("compare", "e.json", "e.json") == sentence


def test_interruption_exits_with_130(run: Run, oracle: StepsOracle) -> None:
    oracle.stop_after = 9
    outcome = run("estimate", *WORDS)
    assert outcome.exit_code == 130
    assert ">= 16 (it was interrupted; run the same command to continue)" in " ".join(outcome.stdout.split())


def test_mistakes(mistake: Mistake) -> None:
    assert mistake("estimate", "--attempts", "3").startswith("an estimate is one of n50, got settings for ")
    assert mistake("estimate", "--replicates", "0") == "--replicates must be at least 1, got 0"
    assert 'emc estimate has no option "--plot"' in mistake("estimate", "--plot", "x.png")
    assert "missing/e.json" in mistake("estimate", "--json", "missing/e.json")
