"""A stand-in for `emc.api` that records what the command line asked for and trains nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from emc.cli.main import main
from emc.reparams.modules.wrapped import Sizes
from emc.results import EmcResult, Progress, RunningProbe, Status
from emc.specs import Execution, Measurement

MakeResult = Callable[..., EmcResult]


def progress_steps() -> list[Progress]:
    """A measurement of two replicates, told in four steps."""
    running = (RunningProbe(64, 0, 0, 60, 1000, 20_000), RunningProbe(32, 1, 0, 31, 500, 20_000))
    later = (RunningProbe(64, 0, 0, 63, 3000, 20_000),)
    return [
        Progress(((32, None, None), (16, None, None)), running, 3, 1500, 1.0),
        Progress(((32, None, None), (16, 32, None)), later, 4, 3500, 2.0),
        Progress(((32, 64, None), (30, 31, Status.BRACKETED)), later, 9, 9000, 7.5),
        Progress(((60, 63, Status.BRACKETED), (30, 31, Status.BRACKETED)), (), 14, 12_000, 13.0),
    ]


@dataclass
class FakeApi:
    """What `prepare` was asked for, and what it answers."""

    result: EmcResult
    failure: BaseException | None = None
    calls: list[tuple[Measurement, Execution]] = field(default_factory=list)
    observers: list[Any] = field(default_factory=list)

    @property
    def measurement(self) -> Measurement:
        return self.calls[-1][0]

    @property
    def execution(self) -> Execution:
        return self.calls[-1][1]

    def prepare(self, measurement: Measurement, *, execution: Execution) -> Any:
        self.calls.append((measurement, execution))
        if self.failure is not None:
            raise self.failure
        return SimpleNamespace(
            measurement=measurement,
            dataset=SimpleNamespace(facts=SimpleNamespace(to_dict=lambda: dict(self.result.dataset))),
            parameters=self.result.parameters,
            sizes=Sizes(self.result.parameters, self.result.parameters, 32 * self.result.parameters),
            matched=None,
            fingerprint=self.result.fingerprint,
            rough_cost=lambda: {"probes": 60.0, "steps": 1.2e6, "sample_steps": 1.5e8, "flops": 3e12},
            run=self.run,
        )

    def run(self, observer: Callable[[Progress], None] | None = None) -> EmcResult:
        self.observers.append(observer)
        for progress in progress_steps() if observer is not None else ():
            observer(progress)
        return self.result


@pytest.fixture
def fake_api(monkeypatch: pytest.MonkeyPatch, make_result: MakeResult) -> FakeApi:
    """`emc.api` replaced; `fake_api.result` is what every measurement gives."""
    fake = FakeApi(make_result())
    module = ModuleType("emc.api")
    module.prepare = fake.prepare  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "emc.api", module)
    return fake


@pytest.fixture
def progress() -> list[Progress]:
    """The same four steps."""
    return progress_steps()


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EMC_JOURNAL", raising=False)
    monkeypatch.setenv("EMC_DATA", str(tmp_path))
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def mistake(run: Run) -> Callable[..., str]:
    """Run a command line that must end in one sentence on stderr and exit code 2; gives the sentence."""

    def check(*words: str) -> str:
        outcome = run(*words)
        assert outcome.exit_code == 2, outcome.output
        assert outcome.stdout == ""
        assert outcome.stderr.startswith("error: ")
        assert outcome.stderr.count("\n") == 1
        assert outcome.stderr.endswith("\n")
        return outcome.stderr.removeprefix("error: ").rstrip("\n")

    return check
