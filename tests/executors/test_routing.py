"""Each setup's probes go where they were meant to, whoever trains the others'."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from toys import normed_cnn

from emc.errors import SpecError
from emc.executors import routing
from emc.executors.base import Executor
from emc.executors.choice import Place
from emc.executors.inline import InlineExecutor
from emc.executors.processes import ProcessExecutor
from emc.executors.routing import Routed, make_executor
from emc.results import ProbeFailure, ProbeResult, RunningProbe
from emc.specs import Execution, Probe
from emc.training.setup import Setup
from emc.training.single import SingleTrainer

MakeSetup = Callable[..., Setup]
Finish = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]


class Pretended(SingleTrainer):
    """Stands in for processes: trains here, where they would."""

    def __init__(self, setups: Any, workers: int, threads: int, *care: Any) -> None:
        super().__init__(setups, *care)
        self.given = workers, threads, *care

    def start(self) -> None:
        """Processes would start."""

    def collect(self, timeout: float) -> list[ProbeResult]:
        assert timeout >= 0
        return self.advance()


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "ProcessExecutor", Pretended)
    monkeypatch.setattr(routing, "place", lambda *_: Place(2, "as asked for"))


@pytest.mark.usefixtures("pretended")
def test_several_trainers_together(make_setup: MakeSetup, finish: Finish, caplog: pytest.LogCaptureFixture) -> None:
    setups = {"mlp": make_setup(), "cnn": make_setup(normed_cnn), "linear": make_setup(model="linear")}
    with caplog.at_level(logging.INFO, "emc"):
        executor = make_executor(setups, Execution())
    assert isinstance(executor, Routed)
    assert executor.name == "compiled and single"
    assert caplog.messages[1:] == [
        "trainer single: on a CPU a stack of its models is no faster; in 2 processes: as asked for"
    ]
    assert "trainer compiled: compiled loops know its model and optimizer; predicted here single" in caplog.messages[0]
    probes = [Probe(base, 40, r) for base in setups for r in range(2)]
    for probe in probes:
        executor.add(probe)
    results = {result.key: result for result in executor.advance()}
    assert executor.room() == 0
    assert len(executor.running()) + len(results) == 5
    dropped = executor.drop(probes[2])
    assert isinstance(dropped, RunningProbe)
    while len(results) < 5:
        results |= {result.key: result for result in executor.advance()}
    assert set(results) == {probe.key for probe in probes} - {probes[2].key}
    assert executor.room() == 1
    executor.add(probes[0])
    executor.close()
    assert executor.advance() == []
    inline = InlineExecutor(setups, Execution())
    assert finish(make_executor(setups, Execution()), probes) == finish(inline, probes)


@pytest.mark.usefixtures("pretended")
def test_one_trainer_alone_is_itself(make_setup: MakeSetup) -> None:
    alone = make_executor({"cnn": make_setup(normed_cnn)}, Execution(threads=3))
    assert isinstance(alone, Pretended)
    assert alone.given == (2, 3, None, None)
    assert isinstance(make_executor({"mlp": make_setup()}, Execution()), InlineExecutor)


@pytest.mark.usefixtures("pretended")
def test_all_trainers_keep_and_time_their_trainings(make_setup: MakeSetup, tmp_path: Path) -> None:
    def two_activations(_shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Tanh(), nn.Linear(4, classes))

    long = {"stall_share": 1.0, "min_steps": 10**6}
    models = {"compiled": {}, "single": {"own_model": normed_cnn}, "lockstep": {"own_model": two_activations}}
    setups = {name: make_setup(**own, **long) for name, own in models.items()}
    executor = make_executor(setups, Execution(checkpoint_every=0.0, probe_timeout=60), folder=tmp_path / "kept")
    assert executor.name == "compiled and lockstep and single"
    probes = [Probe(base, 200, 0) for base in setups]
    for probe in probes:
        executor.add(probe)
    executor.advance()
    while not all(run.steps > 0 for run in executor.running()):
        executor.advance()
    executor.save()
    executor.close()
    assert {path.stem for path in (tmp_path / "kept").iterdir()} == {probe.key for probe in probes}
    late = make_executor(setups, Execution(checkpoint_every=60, probe_timeout=0.001), folder=tmp_path / "kept")
    failed: dict[str, str] = {}
    for probe in probes:
        late.add(probe)
    while len(failed) < 3:
        for outcome in late.advance():
            assert isinstance(outcome, ProbeFailure)
            failed[outcome.probe.base] = str(outcome.error)
    late.close()
    assert failed.keys() == setups.keys()
    assert all("must end within --probe-timeout 0.001 s, got n=200 of replicate 0" in told for told in failed.values())


def test_checkpoints_need_a_folder(make_setup: MakeSetup) -> None:
    told = "^--checkpoint-every keeps checkpoints beside a journal, got 5 without one; name a file with --journal$"
    with pytest.raises(SpecError, match=told):
        make_executor({"mlp": make_setup()}, Execution(checkpoint_every=5))


def test_the_trainer_asked_for_is_told(make_setup: MakeSetup, caplog: pytest.LogCaptureFixture) -> None:
    setups = {"one": make_setup(normed_cnn), "two": make_setup(model="cnn:width=2")}
    with caplog.at_level(logging.INFO, "emc"):
        executor = make_executor(setups, Execution(trainer="single", workers=1))
        make_executor({"ls": make_setup(model="linear", optimizer="lstsq", loss="squared")}, Execution())
    assert executor.name == "single"
    assert caplog.messages == [
        "trainer single: as asked for; in this process: one process is all there may be",
        "trainer direct: its optimizer solves instead of stepping",
    ]


def test_what_no_process_can_take_trains_here_unless_workers_were_asked_for(
    make_setup: MakeSetup, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lock = threading.Lock()

    def model(_shape: tuple[int, ...], classes: int) -> nn.Module:
        with lock:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Softplus(), nn.Linear(4, classes))

    setups = {"own": make_setup(model)}
    with pytest.raises(SpecError, match="training in processes needs a model that can be pickled"):
        make_executor(setups, Execution(workers=2))
    monkeypatch.setattr(routing, "place", lambda *_: Place(2, "predicted 1 s, here 2 s"))
    with caplog.at_level(logging.INFO, "emc"):
        executor = make_executor(setups, Execution())
    assert isinstance(executor, InlineExecutor)
    assert "in this process: training in processes needs a model that can be pickled" in caplog.messages[0]


def test_processes_are_real_ones_where_asked_for(make_setup: MakeSetup) -> None:
    """They start only when there is something to train."""
    executor = make_executor({"cnn": make_setup(normed_cnn)}, Execution(workers=2))
    assert isinstance(executor, ProcessExecutor)
    assert executor.room() == 2
    executor.close()
