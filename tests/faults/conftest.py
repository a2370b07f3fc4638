"""Faults are injected for real; how often is asked by `--trials`, and each test's losses end in one table."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from children import Ledger, Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """One a session: it imports once."""
    words, pipe = [sys.executable, Path(__file__).parent / "nursery.py"], subprocess.PIPE
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    own = {**os.environ, "PYTHONPATH": paths}  # for what all tests share
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=own) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> int:
    """How often to inject the fault of a test marked `faults(quick, full)`: `quick` times, unless `--trials` says."""
    asked = request.config.getoption("--trials")
    facts = request.node.get_closest_marker("faults").kwargs
    number = int(facts["full"]) if asked == "full" else facts["quick"] if asked is None else int(asked)
    if number == 0:
        pytest.skip("takes too long but for make faults")
    return number


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """Enter the number of trials and of losses: acknowledged verdicts gone, results that differ, trainings repeated."""

    def enter(trials: int, losses: int) -> None:
        request.node.user_properties.append(("fault", [_title(request), trials, losses]))

    return enter


def _title(request: pytest.FixtureRequest) -> str:
    return request.node.name.removeprefix("test_").replace("_", " ")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, data or journal but those below the test's own folder."""
    monkeypatch.setenv("EMC_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EMC_JOURNAL", raising=False)
