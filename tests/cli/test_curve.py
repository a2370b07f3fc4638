from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from oracles import Oracle, OracleExecutor, memoriser

from emc.cli.curve import read_sizes
from emc.errors import SpecError
from emc.results import Verdict

Run = Callable[..., Result]
Mistake = Callable[..., str]

WORDS = ("curve", "-q", "--model", "linear", "--data", "gaussian:dim=3,size=400", "--labels", "random", "--draws", "4")


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what stands in for training."""

    def put(answers: Oracle, **settings: Any) -> None:
        monkeypatch.setattr("emc.session.make_executor", lambda *_: OracleExecutor(answers, **settings))

    return put


def test_the_table(run: Run, oracle: Callable[..., None]) -> None:
    oracle(memoriser(8))
    outcome = run(*WORDS, "--sizes", "5:11:3")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()
    name, _, n50 = lines[0].rpartition(" ")
    assert name.strip() == "EMC (n50)"
    assert 8 < float(n50) < 11
    table = [line.split() for line in lines if line[:1].isdigit() and "%" not in line]
    assert [row[:3] for row in table] == [["5", "4/4", "1.000"], ["8", "4/4", "1.000"], ["11", "0/4", "0.000"]]
    assert table[2][4] == "0.9091"
    assert "inside the band" in outcome.stdout
    assert max(map(len, lines)) <= 100


def test_a_curve_is_shown_again(run: Run, oracle: Callable[..., None], tmp_path: Path) -> None:
    oracle(memoriser(8))
    outcome = run(*WORDS, "--sizes", "5,8,11", "--json", "c.json", "--plot", "c.png")
    record = json.loads((tmp_path / "c.json").read_text())
    assert (record["kind"], record["draws"], [p["n"] for p in record["points"]]) == ("curve", 4, [5, 8, 11])
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    again = run("show", "c.json")
    assert again.stdout == outcome.stdout
    probes = run("show", "c.json", "--probes")
    assert probes.stdout.startswith(outcome.stdout + "\n4 of 12 probes did not fit")


def test_json_to_stdout_is_alone_there(run: Run, oracle: Callable[..., None]) -> None:
    oracle(memoriser(8))
    outcome = run(*WORDS, "--sizes", "5,11", "--json", "-")
    assert json.loads(outcome.stdout)["kind"] == "curve"
    assert outcome.stderr.startswith("EMC (n50)")


def test_ctrl_c_prints_what_is_there(run: Run, oracle: Callable[..., None]) -> None:
    oracle(memoriser(8), stop_after=5)
    outcome = run(*WORDS, "--sizes", "5,8,11")
    assert outcome.exit_code == 130
    assert "none (no size has all its draws)" in outcome.stdout
    assert outcome.stderr == "interrupted: the same command continues\n"
    oracle(memoriser(8))
    assert run(*WORDS, "--sizes", "5,8,11").exit_code == 0


def test_sizes_are_found_where_none_are_named(run: Run, oracle: Callable[..., None]) -> None:
    oracle(memoriser(50))
    outcome = run(*WORDS)
    assert outcome.exit_code == 0
    assert "of them to find the sizes" in " ".join(outcome.stdout.split())


def test_a_measurements_configuration_serves_a_curve(run: Run, oracle: Callable[..., None], tmp_path: Path) -> None:
    oracle(memoriser(8))
    (tmp_path / "m.toml").write_text(
        '[task]\ndata = "gaussian:dim=2"\n[search]\nn_max = 60\n[measurement]\nreplicates = 3\nseed = 7\n'
    )
    outcome = run(
        "curve", "-q", "--config", "m.toml", "--model", "linear", "--sizes", "5,11", "--draws", "3", "--json", "-"
    )
    record = json.loads(outcome.stdout)
    assert (record["seed"], record["draws"], record["dataset"]["shape"]) == (7, 3, [2])


def test_every_draw_diverged(run: Run, oracle: Callable[..., None]) -> None:
    oracle(lambda *_: Verdict.DIVERGED)
    outcome = run(*WORDS, "--sizes", "5,8", "--plot", "c.png")
    assert outcome.exit_code == 0
    assert "none (no draw gave evidence)" in outcome.stdout


def test_read_sizes() -> None:
    assert read_sizes("30:60:10") == [30, 40, 50, 60]
    assert read_sizes("3:5") == [3, 4, 5]
    assert read_sizes("30, 36,42") == [30, 36, 42]
    assert read_sizes("7") == [7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("60:30:3", r'--sizes takes a range that ascends, got "60:30:3"; write the smaller size first, step above 0'),
        ("30:60:-3", r"--sizes takes a range that ascends"),
        ("30:60:0", r"--sizes takes a range that ascends"),
        ("1:2:3:4", r'--sizes takes first:last:step or n,n,..., got "1:2:3:4"; write 30:60:3 or 30,36,42'),
        ("a,b", r"--sizes takes first:last:step or n,n,..., got"),
        ("", r"--sizes takes first:last:step or n,n,..., got"),
        ("1:1000000000", r"--sizes takes at most 1,000 sizes, got"),
    ],
)
def test_wrong_sizes(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_sizes(text)


def test_mistakes_end_in_one_sentence(mistake: Mistake) -> None:
    assert mistake(*WORDS, "--sizes", "60:30:3").startswith("--sizes takes a range that ascends")
    assert mistake(*WORDS, "--sizes", "30,401").startswith("--sizes must be at most the pool's 400 rows, got 401")
    assert mistake("curve", "--draws", "0").startswith("--draws must be a whole number of at least 1, got 0")
    assert mistake("curve", "--replicates", "3").startswith('emc curve has no option "--replicates"')
    assert mistake(*WORDS, "--plot", "c.jpg").startswith("a picture ends in one of .png, .pdf, .svg")


@pytest.mark.usefixtures("run")
def test_other_commands_say_what_the_file_is(
    run: Run, mistake: Mistake, oracle: Callable[..., None], tmp_path: Path
) -> None:
    oracle(memoriser(8))
    run(*WORDS, "--sizes", "5,11", "--json", "c.json", "-q")
    assert mistake("compare", "c.json", "c.json") == (
        'a result file must hold an EMC result, got "c.json" (a curve); name a file written by emc measure --json'
    )
    (tmp_path / "d.json").write_text('{"contrasts": []}')
    assert mistake("show", "d.json") == (
        'a result file must hold an EMC result, got "d.json" (a comparison); run emc compare again'
    )
    (tmp_path / "e.json").write_text('{"kind": "curve"}')
    assert mistake("show", "e.json").startswith('a result file must hold an EMC result, got "e.json" (no \'')
