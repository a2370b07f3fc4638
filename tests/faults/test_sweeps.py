"""Whole sweeps by their command line: killed, stopped, and with models that go wrong."""

from __future__ import annotations

import json
import random
import signal
import time
from os import kill
from pathlib import Path
from typing import Any

import pytest
from children import Ledger, Nursery

CELLS = 200

#: Cells that take a step each; some share their probes' dataset, none a probe.
SWEEP = f"""
[base]
model = "linear"
data = "wine"
min_steps = 1
max_epochs = 1
replicates = 1
n_max = 8
[grid]
seed = {{range = [0, {CELLS // 2 - 1}]}}
labels = ["random", "semantic"]
[execution]
trainer = "single"
workers = 1
journal = "j.jsonl"
speculation = 1
"""


def make_folder(tmp_path: Path, name: str, sweep: str = SWEEP) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "sweep.toml").write_text(sweep)
    return folder


def records(journal: Path) -> list[dict[str, Any]]:
    """All whole lines."""
    return [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]] if journal.exists() else []


def strip(value: Any) -> Any:
    """Without times and what depends on them."""
    if isinstance(value, dict):
        dropped = ("seconds", "cost", "unused", "versions")
        return {key: strip(inner) for key, inner in value.items() if key not in dropped}
    return [strip(inner) for inner in value] if isinstance(value, list) else value


def verdicts(journal: Path) -> list[str]:
    return sorted(json.dumps(strip(each), sort_keys=True) for each in records(journal) if each["kind"] == "probe")


def measurements(journal: Path) -> dict[str, Any]:
    """The latest record of each measurement."""
    return {each["fingerprint"]: strip(each) for each in records(journal) if each["kind"] in ("measurement", "failed")}


def keys(journal: Path) -> set[str]:
    return {record["key"] for record in records(journal) if record["kind"] == "probe"}


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a sweep that nothing happened to."""
    folder = make_folder(tmp_path_factory.mktemp("undisturbed"), "a")
    code, output = nursery.run(folder, "sweep", "sweep.toml", "--quiet")
    assert code == 0, output
    assert len(measurements(folder / "j.jsonl")) == CELLS
    return folder / "j.jsonl"


def check_like(journal: Path, undisturbed: Path) -> None:
    """Every verdict once and no other, every measurement equal."""
    assert verdicts(journal) == verdicts(undisturbed)
    assert measurements(journal) == measurements(undisturbed)


def wait_for(journal: Path, verdicts: int) -> None:
    """Until a journal has so many lines of verdicts."""
    deadline = time.monotonic() + 120
    while len(keys(journal)) < verdicts:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.faults(quick=1, full=30)
def test_sweep_killed_at_random_moments(
    nursery: Nursery, undisturbed: Path, tmp_path: Path, trials: int, ledger: Ledger
) -> None:
    rng, kills, lost, number = random.Random(trials), 0, 0, 0
    expected = len(keys(undisturbed))
    while kills < trials:
        number += 1
        folder = make_folder(tmp_path, str(number))
        journal = folder / "j.jsonl"
        while True:
            before = keys(journal)
            sweep = nursery.start(folder, "sweep", "sweep.toml", "--quiet")
            if kills == trials or len(before) == expected:
                assert nursery.wait(sweep) == 0
                break
            wait_for(journal, min(expected, len(before) + rng.randrange(1, 1 + expected // 6)))
            time.sleep(rng.uniform(0, 0.05))
            acknowledged = keys(journal)
            kills += nursery.kill(sweep)
            lost += len((before | acknowledged) - keys(journal))
        check_like(journal, undisturbed)
    ledger(kills, lost)
    assert lost == 0


@pytest.mark.faults(quick=1, full=10)
def test_two_sweeps_on_one_journal(
    nursery: Nursery, undisturbed: Path, tmp_path: Path, trials: int, ledger: Ledger
) -> None:
    for trial in range(trials):
        folder = make_folder(tmp_path, str(trial))
        sweeps = [nursery.start(folder, "sweep", "sweep.toml", "--quiet", log=f"log{each}") for each in range(2)]
        assert [nursery.wait(sweep) for sweep in sweeps] == [0, 0]
        check_like(folder / "j.jsonl", undisturbed)
    ledger(trials, 0)


@pytest.mark.faults(quick=0, full=10)
@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 2], ids=str)
def test_stopped_sweep(
    nursery: Nursery, undisturbed: Path, tmp_path: Path, signals: list[signal.Signals], trials: int, ledger: Ledger
) -> None:
    rng, lost = random.Random(trials), 0
    expected = len(keys(undisturbed))
    for trial in range(trials):
        folder = make_folder(tmp_path, str(trial))
        journal = folder / "j.jsonl"
        sweep = nursery.start(folder, "sweep", "sweep.toml", "--quiet")
        wait_for(journal, rng.randrange(1, expected // 2))
        acknowledged = keys(journal)
        for number in signals:
            kill(sweep, number)
        assert nursery.wait(sweep) == 130
        assert "interrupted" in (tmp_path / f"{trial}.log").read_text()
        lost += len(acknowledged - keys(journal))
        code, output = nursery.run(folder, "sweep", "sweep.toml", "--quiet")
        assert code == 0, output
        check_like(journal, undisturbed)
    ledger(trials, lost)
    assert lost == 0


WRONG = """
[base]
data = "wine"
min_steps = 3
max_epochs = 1
replicates = 1
n_max = 8
seed = 7
[grid]
model = ["linear", "{model}"]
labels = ["random", "semantic"]
[execution]
trainer = "single"
workers = {workers}
journal = "j.jsonl"
speculation = 1
"""


#: What is said of each model, and options that it takes.
SAID: dict[str, tuple[str, list[str]]] = {
    "raising": ("ValueError: not today", []),
    "hungry": ("MemoryError", []),
    "hanging": ("probe-timeout", ["--probe-timeout", "20"]),
    "dying": ("process", []),
}


@pytest.mark.faults(quick=1, full=5)
@pytest.mark.parametrize("model", ["raising", "hungry"])
def test_model_that_goes_wrong(nursery: Nursery, tmp_path: Path, model: str, trials: int, ledger: Ledger) -> None:
    check_wrong(nursery, tmp_path, model, 1, trials)
    ledger(trials, 0)


@pytest.mark.faults(quick=0, full=3)
@pytest.mark.parametrize("model", SAID)
def test_model_that_goes_wrong_in_a_worker(
    nursery: Nursery, tmp_path: Path, model: str, trials: int, ledger: Ledger
) -> None:
    check_wrong(nursery, tmp_path, model, 2, trials)
    ledger(trials, 0)


def check_wrong(nursery: Nursery, tmp_path: Path, model: str, workers: int, trials: int) -> None:
    """Its cells say so, the others are measured, and the exit code tells."""
    said, words = SAID[model]
    for trial in range(trials):
        folder = make_folder(tmp_path, str(trial), WRONG.format(model=model, workers=workers))
        code, output = nursery.run(folder, "sweep", "sweep.toml", "--quiet", *words)
        assert code == 1, output
        assert "error: 2 of 4 cells failed" in output
        assert "Traceback" not in output
        found = measurements(folder / "j.jsonl").values()
        failed = [record for record in found if record["kind"] == "failed"]
        assert [record["cell"]["model"] for record in failed] == [model, model]
        assert all(said in record["error"] for record in failed), failed
        assert [record["cell"]["model"] for record in found if record["kind"] != "failed"] == ["linear", "linear"]


@pytest.mark.faults(quick=1, full=5)
def test_model_whose_loss_is_not_a_number(nursery: Nursery, tmp_path: Path, trials: int, ledger: Ledger) -> None:
    for trial in range(trials):
        folder = make_folder(tmp_path, str(trial), WRONG.format(model="losing", workers=1))
        code, output = nursery.run(folder, "sweep", "sweep.toml", "--quiet")
        assert code == 0, output
        found = {(each["cell"]["model"], each["status"]) for each in measurements(folder / "j.jsonl").values()}
        assert {model for model, status in found if status == "diverged"} == {"losing"}
    ledger(trials, 0)
