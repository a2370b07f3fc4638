"""Sweeps killed with SIGKILL, and two that share a journal: nothing acknowledged is lost or trained twice."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from children import Ledger, Nursery

CELLS = 200


def records(journal: Path) -> list[dict[str, Any]]:
    """All whole lines."""
    if not journal.exists():
        return []
    return [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]]


def verdicts(journal: Path) -> list[str]:
    """Each line of a verdict, without its seconds, sorted; the same verdict twice is there twice."""
    found = [record for record in records(journal) if record["kind"] == "probe"]
    return sorted(json.dumps({**record, "seconds": None}, sort_keys=True) for record in found)


def measurements(journal: Path) -> dict[str, Any]:
    """The latest record of each measurement."""
    return {record["fingerprint"]: record for record in records(journal) if record["kind"] == "measurement"}


def keys(journal: Path) -> set[str]:
    return {record["key"] for record in records(journal) if record["kind"] == "probe"}


def start(nursery: Nursery, journal: Path, log: Path, *, guessing: bool = False) -> int:
    """A driver of look-up models, which trains what is needed or also, in idle room, what may be."""
    speculation = None if guessing else 1
    return nursery.ask("look up", journal=str(journal), cells=CELLS, speculation=speculation, log=str(log))


def acknowledged(log: Path) -> set[str]:
    """Keys that a driver told of; the last line may be torn."""
    return set(log.read_text().split("\n")[:-1]) - {"ready"} if log.exists() else set()


def times_ready(log: Path) -> int:
    """How many drivers have opened their journal; those that were killed before have not."""
    return log.read_text().count("ready\n") if log.exists() else 0


def wait_until_ready(log: Path, times: int) -> None:
    """Until so many drivers have opened their journal."""
    deadline = time.monotonic() + 60
    while times_ready(log) < times:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@dataclass(frozen=True)
class Undisturbed:
    journal: Path
    seconds: float


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The journal of a sweep that nothing happened to, and how long it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    log = folder / "log"
    driver = start(nursery, folder / "journal.jsonl", log)
    wait_until_ready(log, 1)
    started = time.monotonic()
    assert nursery.wait(driver) == 0
    assert len(measurements(folder / "journal.jsonl")) == CELLS
    return Undisturbed(folder / "journal.jsonl", time.monotonic() - started)


def check_like(journal: Path, undisturbed: Undisturbed, *, guessing: bool = False) -> None:
    """Every verdict once, and no other but for guesses; every measurement equal."""
    found, needed = verdicts(journal), verdicts(undisturbed.journal)
    assert len(found) == len(keys(journal))
    if guessing:
        assert set(needed) <= set(found)
    else:
        assert found == needed
    assert measurements(journal) == measurements(undisturbed.journal)


@pytest.mark.faults(quick=4, full=100)
def test_driver_killed_at_random_moments(
    nursery: Nursery, undisturbed: Undisturbed, tmp_path: Path, trials: int, ledger: Ledger
) -> None:
    rng, kills, number, lost = random.Random(trials), 0, 0, 0
    while kills < trials:
        number += 1
        journal, log = tmp_path / f"{number}.jsonl", tmp_path / f"{number}.log"
        guessing = number % 2 == 0
        while True:
            kept, ready = keys(journal), times_ready(log)
            driver = start(nursery, journal, log, guessing=guessing)
            if kills < trials:
                if rng.random() > 0.1:  # else anywhere from its first instruction on
                    wait_until_ready(log, ready + 1)
                time.sleep(rng.uniform(0, undisturbed.seconds / 4))
                killed = nursery.kill(driver)
            else:
                killed = nursery.wait(driver) != 0
            kills += killed
            lost += len((acknowledged(log) | kept) - keys(journal))
            if not killed:
                break
        check_like(journal, undisturbed, guessing=guessing)
    ledger(kills, lost)
    assert lost == 0


@pytest.mark.faults(quick=1, full=20)
def test_two_drivers_on_one_journal(
    nursery: Nursery, undisturbed: Undisturbed, tmp_path: Path, trials: int, ledger: Ledger
) -> None:
    for trial in range(trials):
        journal, guessing = tmp_path / f"{trial}.jsonl", trial % 2 == 1
        logs = [tmp_path / f"{trial}.{each}.log" for each in range(2)]
        drivers = [start(nursery, journal, log, guessing=guessing) for log in logs]
        assert [nursery.wait(driver) for driver in drivers] == [0, 0]
        check_like(journal, undisturbed, guessing=guessing)
    ledger(trials, 0)


@pytest.mark.faults(quick=1, full=20)
def test_one_of_two_drivers_on_one_journal_killed(
    nursery: Nursery, undisturbed: Undisturbed, tmp_path: Path, trials: int, ledger: Ledger
) -> None:
    rng, lost = random.Random(trials), 0
    for trial in range(trials):
        journal, logs = tmp_path / f"{trial}.jsonl", [tmp_path / f"{trial}.{each}.log" for each in range(2)]
        drivers = [start(nursery, journal, log) for log in logs]
        wait_until_ready(logs[0], 1)
        time.sleep(rng.uniform(0, undisturbed.seconds / 2))
        nursery.kill(drivers[0])
        assert nursery.wait(drivers[1]) == 0
        lost += len((acknowledged(logs[0]) | acknowledged(logs[1])) - keys(journal))
        check_like(journal, undisturbed)
    ledger(trials, lost)
    assert lost == 0
