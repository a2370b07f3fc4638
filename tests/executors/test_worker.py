"""A user's own functions and files in worker processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emc.api import prepare
from emc.errors import TrainingError
from emc.executors import processes
from emc.executors.base import Executor
from emc.executors.inline import InlineExecutor
from emc.executors.processes import ProcessExecutor
from emc.results import ProbeFailure, ProbeResult
from emc.specs import Execution, Measurement, Probe
from emc.training.setup import Setup

Finish = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]

OWN = """
import time
import helping
from torch import nn

class Net(nn.Module):
    def __init__(self, shape, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, num_classes))
    def forward(self, X):
        return self.body(X)

def memorise(X, y, seed, budget, k=20):
    if len(X) == 99:
        raise ValueError("99 samples")
    if len(X) == 98:
        time.sleep(600)
    return helping.table(X[:k], y[:k])
"""
HELPING = """
import numpy as np

def table(X, y):
    known = {x.tobytes(): c for x, c in zip(X, y)}
    return lambda Z: np.array([known.get(z.tobytes(), -1) for z in Z])
"""


@pytest.fixture(scope="module")
def setups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Setup]]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    (folder / "helping.py").write_text(HELPING)
    settings: dict[str, dict[str, Any]] = {
        "train": {"train": f"{folder}/own.py:memorise,k=30"},
        "sklearn": {"model": "sklearn:estimator=DecisionTreeClassifier,max_leaf_nodes=9"},
        "model": {"model": f"{folder}/own.py:Net", "min_steps": 20, "check_steps": 10, "max_epochs": 1},
    }
    yield {base: prepare(Measurement.from_flat({"labels": "random", **each})).setup for base, each in settings.items()}
    sys.modules.pop("helping", None)


def test_workers_train_what_a_user_brings_to_the_same_verdicts(
    setups: dict[str, Setup], finish: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processes, "GRACE_S", 0.0)
    probes = [Probe(base, n, 0) for n in (16, 31, 40) for base in setups]
    here = finish(InlineExecutor(setups, Execution(trainer="auto")), probes)
    with closing(ProcessExecutor(setups, 2, timeout_s=20.0)) as executor:
        assert executor.name == "opaque and single"
        assert finish(executor, probes) == here
        assert [result.correct for result in here[::3]] == [16, 30, 30]
        executor.add(Probe("train", 99, 0))
        executor.add(Probe("train", 98, 0))
        failures: dict[int, str] = {}
        until = time.monotonic() + 60
        while len(failures) < 2 and time.monotonic() < until:
            for outcome in executor.advance():
                assert isinstance(outcome, ProbeFailure)
                assert isinstance(outcome.error, TrainingError)
                failures[outcome.probe.n] = str(outcome.error)
    assert "must end without errors, got ValueError: 99 samples" in failures[99]
    assert "must end within --probe-timeout 20 s, got n=98" in failures[98]
