"""A user's whole training by every command: what works, what is refused, and what is said."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import emc
from emc.api import prepare
from emc.cli.main import main
from emc.errors import EmcError, SpecError
from emc.specs import Measurement

OWN = """
def memorise(X, y, seed, budget, k: int = 20):
    known = {x.tobytes(): c for x, c in zip(X[:k], y[:k])}
    return lambda Z: [known.get(z.tobytes(), -1) for z in Z]

def missing(X, y):
    ...

def hanging(X, y, seed, budget):
    raise KeyError("lost")
"""
SMALL = ("--replicates", "2", "--tolerance", "0", "--labels", "random", "-q")

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMC_JOURNAL", raising=False)
    Path("own.py").write_text(OWN)
    return lambda *words: CliRunner().invoke(main, list(words))


def test_a_function_of_a_file_by_the_command_line(run: Run) -> None:
    done = run("measure", "--train", "own.py:memorise,k=19", *SMALL, "--json", "r.json")
    assert done.exit_code == 0, done.output
    rows = {line[:18].strip(): line[18:].strip() for line in done.stdout.splitlines()}
    assert (rows["EMC"], rows["parameters"]) == ("19", "not known")
    assert "procedure          training own.py:memorise,k=19\n" in done.stdout
    assert "EMC per parameter" not in done.stdout
    record = json.loads(Path("r.json").read_text())
    assert set(record["procedure"]) == {"train", "command", "content", "min_steps", "max_epochs", "batch_size"}
    assert (record["parameters"], record["emc_per_parameter"]) == (None, None)
    assert emc.load(".emc/journal.jsonl")["parameters"].isna().all()
    assert run("show", "r.json").stdout.splitlines()[0] == done.stdout.splitlines()[0]
    assert run("results").exit_code == 0
    assert run("measure", "--train", "own.py:memorise,k=19", *SMALL, "--plot", "p.png").exit_code == 0


def test_a_dry_run_can_be_read_again_and_pins_the_content(run: Run) -> None:
    done = run("measure", "--train", "own.py:memorise,k=19", "--dry-run")
    assert "# parameters   not known" in done.stdout
    assert "flops" not in done.stdout
    kept = tomllib.loads(done.stdout)["procedure"]
    assert kept["train"] == "own.py:memorise,k=19"
    Path("c.toml").write_text(done.stdout)
    again = run("measure", "--config", "c.toml", "--dry-run")
    assert again.stdout == done.stdout
    Path("own.py").write_text(OWN + "\n")
    changed = run("measure", "--config", "c.toml", "--dry-run")
    assert changed.exit_code == 2
    assert f'got "{kept["content"]}"; take the files of that time' in changed.stderr


def test_a_curve_works_and_an_estimate_says_why_not(run: Run) -> None:
    done = run("curve", "--train", "own.py:memorise,k=19", "--sizes", "18,19,20,21", "--draws", "3", "-q")
    assert done.exit_code == 0, done.output
    assert "training own.py:memorise,k=19" in done.stdout
    refused = run("estimate", "--train", "own.py:memorise")
    assert refused.stderr == (
        "error: an estimate follows the steps of a descent, got training own.py:memorise,k=20; use emc measure\n"
    )


def test_a_sweep_over_its_options(run: Run) -> None:
    Path("s.toml").write_text(
        '[base]\ntrain = "own.py:memorise"\nreplicates = 1\ntolerance = 0\nlabels = "random"\n'
        '[grid]\n"train.k" = [3, 17]\n'
    )
    done = run("sweep", "s.toml", "-q", "--json", "s.json")
    assert done.exit_code == 0, done.output
    assert [cell["emc"] for cell in json.loads(Path("s.json").read_text())["cells"]] == [3, 17]
    assert run("sweep", "s.toml", "-q", "--dry-run").exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train", "gone.py:f"], '--train needs a file that exists, got "gone.py"; check the path'),
        (["--train", "own.py:memorize"], 'got none; did you mean "memorise"?'),
        (["--train", "own.py:memorise,m=3"], 'memorise of own.py has no option "m"; known are k'),
        (["--train", "own.py:missing"], "missing of own.py is called with (X, y, seed, budget) and then its options"),
        (["--train", "own.py:hanging"], "must end without errors, got KeyError: 'lost'; mend it (--debug shows where)"),
        (["--train", "sklern"], 'there is no training "sklern"; did you mean "sklearn"?'),
        (["--train", "own.py:memorise", "--optimizer", "sgd"], "got --optimizer sgd too; leave it out"),
        (["--train", "own.py:memorise", "--device", "cuda"], "picks its device itself, got --device cuda"),
        (["--train", "own.py:memorise", "--tune"], "--tune tunes optimizers of emc's own, got halving"),
        (["--train", "own.py:memorise", "--criterion", "loss<=1"], "tells no loss, got --criterion loss<=1.0"),
        (["--command", "nosuchprogram {data}"], 'a program that can be run, got "nosuchprogram"'),
        (["--content", "abc"], '--content is for files, functions and commands of yours, got "abc"; leave it out'),
    ],
)
def test_mistakes_are_one_sentence_at_the_command_line(run: Run, words: list[str], message: str) -> None:
    done = run("measure", *words)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


def memorising(k: int) -> Any:
    def fit(X: Any, y: Any, _seed: int, _budget: int) -> Any:
        known = {x.tobytes(): c for x, c in zip(X[:k], y[:k], strict=True)}
        return lambda Z: np.array([known.get(z.tobytes(), -1) for z in Z])

    return fit


def test_functions_are_journaled_by_what_they_hold(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"labels": "random", "replicates": 1, "tolerance": 0.0, "journal": tmp_path / "j"}
    first, other = (emc.measure(train=memorising(k), **settings) for k in (18, 21))
    assert (first.emc, other.emc) == (18, 21)
    assert emc.measure(train=memorising(18), **settings).probes == first.probes
    assert first.procedure["train"].startswith("callable:name=memorising")


LIMIT = 20


def as_it_is(x: Any) -> Any:
    return x


def limit() -> int:
    return LIMIT


def memorising_some(X: Any, y: Any, seed: int, budget: int) -> Any:
    return memorising(as_it_is(limit()))(X, y, seed, budget)


def test_what_a_helper_uses_tells_functions_apart_in_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"labels": "random", "replicates": 1, "tolerance": 0.0, "journal": tmp_path / "j"}
    assert emc.measure(train=memorising_some, **settings).emc == 20
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 50)
    assert emc.measure(train=memorising_some, **settings).emc == 50


def test_a_function_that_nothing_is_known_by_is_not_journaled(tmp_path: Path) -> None:
    train = eval("lambda X, y, seed, budget: lambda Z: y[:len(Z)]")
    with pytest.warns(UserWarning, match=r"no source to be known by, so nothing is kept in"):
        emc.measure(train=train, n_max=16, replicates=1, journal=tmp_path / "j")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"train": memorising},
            r"^train is a function of \(X, y, seed, budget\), got memorising, which cannot be called",
        ),
        ({"train": memorising(3), "model": memorising}, r"^a training of yours makes its own model"),
        ({"train": memorising(3), "command": "x {data}"}, r"^a training is one, got --train"),
    ],
)
def test_mistakes_in_python(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        emc.measure(**arguments)


def test_both_spellings_of_a_named_training_are_one_measurement() -> None:
    text = "sklearn:estimator=GaussianNB"
    by_model, by_train = (prepare(Measurement.from_flat({key: text})) for key in ("model", "train"))
    assert by_model.fingerprint == by_train.fingerprint
    with pytest.raises(EmcError, match=r'there is no model "sklern"; '):
        emc.measure(model="sklern:estimator=GaussianNB")


def test_a_key_without_a_training_of_ones_own_stays() -> None:
    """The fields were added later, and are no part of other probes' keys."""
    identity = Measurement().procedure.identity()
    assert not {"train", "command", "content"} & set(identity)


def test_the_ten_line_script_is_measured(run: Run) -> None:
    """As the README shows it; one size, since every probe is a process."""
    script = Path(__file__).parents[1] / "benchmarks" / "black_box.py"
    words = ["--replicates", "1", "--n-start", "16", "--n-max", "16", "--labels", "random", "-q"]
    done = run("measure", "--command", f"{sys.executable} {script} {{data}} {{seed}}", *words)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("EMC ")
    assert "procedure          command" in done.stdout
