"""Worker processes, real ones: each start takes seconds, so that few tests share few of them."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cloudpickle
import pytest
import torch
from torch import Tensor, nn

from emc.api import prepare
from emc.errors import SpecError, TrainingError
from emc.executors import processes
from emc.executors.base import Executor
from emc.executors.inline import InlineExecutor
from emc.executors.processes import MAX_DEATHS, ProcessExecutor
from emc.results import ProbeFailure, ProbeResult
from emc.specs import Execution, Measurement, Probe
from emc.training import checkpoints
from emc.training.checkpoints import Checkpoints
from emc.training.failing import Outcome
from emc.training.setup import Setup
from emc.training.single import SingleTrainer

Finish = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]


@contextlib.contextmanager
def limited_memory() -> Iterator[None]:
    """No more than 1 GiB beside what the process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


class Net(nn.Module):
    """Dropout and a norm with running statistics; raises at 99 samples a batch, ends its process at 98, asks for too
    much memory at 97, hangs at 96.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.drop, self.out = nn.Dropout(0.1), nn.Linear(128, classes)

    def forward(self, X: Tensor) -> Tensor:
        if len(X) == 99:
            raise ValueError("99 samples\nand a second line")
        if len(X) == 98:
            os.kill(os.getpid(), signal.SIGKILL)
        if len(X) == 96 and self.training:
            time.sleep(1e6)
        if len(X) == 97:
            with limited_memory():
                return torch.empty(1 << 31, dtype=torch.uint8)
        return self.out(self.drop(self.norm(self.conv(X)).relu()).flatten(1))


def make_setup(own_model: Callable[..., nn.Module], **settings: int | str) -> Setup:
    small = {"min_steps": 20, "check_steps": 10, "max_epochs": 1, "labels": "random"}
    return prepare(Measurement.from_flat(small | settings), model=own_model).setup


@pytest.fixture(scope="module")
def setups() -> dict[str, Setup]:
    """One short training, and one that never fits and lasts as long as it is let."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a worker cannot import a test
    own = lambda _shape, classes: Net(classes)  # noqa: E731
    return {
        "short": make_setup(own),
        "long": make_setup(own, min_steps=10_000_000, stall_share=1, optimizer="adam:lr=1e-9"),
    }


@pytest.fixture(scope="module")
def shared(setups: dict[str, Setup]) -> Iterator[ProcessExecutor]:
    with contextlib.closing(ProcessExecutor(setups, 2)) as made:
        yield made


@pytest.fixture
def executor(shared: ProcessExecutor) -> Iterator[ProcessExecutor]:
    """Two workers, idle before and after."""
    yield shared
    for worker in shared._workers:
        if worker.probe is not None:
            shared.drop(worker.probe)
    assert shared.room() == 2


def until_any(executor: ProcessExecutor) -> list[Outcome]:
    """Go on until there is a verdict or a failure."""
    while not (outcomes := list(executor.advance())):
        pass
    return outcomes


def until(condition: Callable[[], bool], executor: ProcessExecutor) -> list[ProbeResult]:
    """Go on until something holds."""
    results: list[ProbeResult] = []
    while not condition():
        for outcome in executor.advance():
            assert isinstance(outcome, ProbeResult)
            results.append(outcome)
    return results


def test_verdicts_have_the_bits_of_the_single_trainer(
    executor: ProcessExecutor, setups: dict[str, Setup], finish: Finish
) -> None:
    probes = [Probe("short", n, r) for n in (2, 40, 200) for r in range(2)]
    assert finish(executor, probes) == finish(SingleTrainer(setups), probes)
    assert executor.running() == []


def test_running_room_and_dropping(executor: ProcessExecutor) -> None:
    first, second, third = (Probe("long", 100, r) for r in range(3))
    for probe in (first, second):
        executor.add(probe)
    executor.add(third, ahead=True)
    executor.advance()
    executor.add(first)  # under way already
    assert [run.replicate for run in executor.running()] == [0, 1]
    assert executor.running()[0].budget == 10_000_000
    assert executor.room() == 0
    until(lambda: all(run.steps > 0 for run in executor.running()), executor)
    needed = Probe("short", 40, 3)
    executor.add(needed)
    dropped = executor.drop(first)
    assert dropped is not None
    assert dropped.steps % 10 == 0
    executor.start()
    assert [run.replicate for run in executor.running()] == [3, 1]  # not the third: it was asked ahead
    (result,) = until(lambda: all(run.replicate != 3 for run in executor.running()), executor)
    assert result.key == needed.key
    until(lambda: [run.replicate for run in executor.running()] == [2, 1], executor)
    assert executor.drop(Probe("long", 7, 7)) is None  # never asked for


def test_a_dead_worker_is_replaced_and_its_probe_trained_again(
    executor: ProcessExecutor, setups: dict[str, Setup], finish: Finish
) -> None:
    stuck, probe = Probe("long", 100, 0), Probe("short", 40, 0)
    executor.add(stuck)
    until(lambda: bool(executor.running()) and executor.running()[0].steps > 0, executor)
    victim = next(worker for worker in executor._workers if worker.probe == stuck)
    os.kill(victim.process.pid or 0, signal.SIGKILL)
    until(lambda: victim not in executor._workers, executor)
    until(lambda: bool(executor.running()) and executor.running()[0].steps > 0, executor)
    executor.drop(stuck)
    for idle in executor._workers:
        os.kill(idle.process.pid or 0, signal.SIGKILL)
    assert finish(executor, [probe]) == finish(SingleTrainer(setups), [probe])


def test_a_probe_that_kills_its_workers_fails_and_the_others_go_on(
    executor: ProcessExecutor, setups: dict[str, Setup], finish: Finish
) -> None:
    deadly, probes = Probe("short", 98, 0), [Probe("short", 40, r) for r in range(3)]
    for probe in (deadly, *probes):
        executor.add(probe)
    outcomes: list[Outcome] = []
    while len(outcomes) < 4:
        outcomes += executor.advance()
    (failed,) = (outcome for outcome in outcomes if isinstance(outcome, ProbeFailure))
    assert failed.probe == deadly
    told = f"a training must not end its process, but {MAX_DEATHS} workers died by SIGKILL at n=98 of replicate 0; free"
    assert str(failed.error).startswith(told)
    found = {outcome.key: replace(outcome, seconds=0) for outcome in outcomes if isinstance(outcome, ProbeResult)}
    assert [found[probe.key] for probe in probes] == finish(SingleTrainer(setups), probes)


def test_workers_that_die_before_they_can_train_are_no_probes_fault(
    setups: dict[str, Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "MAX_STILLBORN", 2)
    monkeypatch.setattr(processes, "MAX_DEATHS", 1)
    with contextlib.closing(ProcessExecutor(setups, 1)) as executor:
        executor.add(Probe("short", 40, 0))
        told = "^worker processes must be able to start, but 2 in a row died by SIGKILL before they could train; free"
        executor.start()
        os.kill(executor._workers[0].process.pid or 0, signal.SIGKILL)
        while executor._stillborn == 0:
            assert executor.collect(1.0) == []
        executor.start()
        os.kill(executor._workers[0].process.pid or 0, signal.SIGKILL)
        with pytest.raises(TrainingError, match=told):
            executor.collect(60.0)


def test_what_a_training_raises_is_told_as_in_this_process(
    executor: ProcessExecutor, setups: dict[str, Setup], finish: Finish
) -> None:
    told = "^a training must run without errors, got ValueError: 99 samples; mend the model"
    probe = Probe("short", 99, 0)
    for one in (executor, InlineExecutor(setups, Execution(trainer="single"))):
        with pytest.raises(TrainingError, match=told) as caught:
            finish(one, [probe])
        assert "\n" not in str(caught.value)
        assert "in forward" in str(caught.value.__cause__)
    assert executor.running() == []


def test_a_training_too_large_for_its_worker_fails_alone(
    executor: ProcessExecutor, setups: dict[str, Setup], finish: Finish
) -> None:
    """Real memory, really limited: 1 GiB more than a worker has when it starts to train."""
    fine = Probe("short", 40, 0)
    executor.add(Probe("short", 97, 0))
    (failed,) = until_any(executor)
    assert isinstance(failed, ProbeFailure)
    assert str(failed.error).startswith("one training alone does not fit into memory, got RuntimeError: ")
    assert "can't allocate memory" in str(failed.error)
    assert finish(executor, [fine]) == finish(SingleTrainer(setups), [fine])


def test_a_training_that_hangs_is_broken_off(setups: dict[str, Setup], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes by finds out itself; one that never does takes its worker with it."""
    monkeypatch.setattr(processes, "GRACE_S", 8)
    hanging, long = Probe("short", 96, 0), Probe("long", 100, 0)
    with contextlib.closing(ProcessExecutor(setups, 2, timeout_s=0.05)) as executor:
        executor.add(hanging)
        executor.add(long)
        told: dict[Probe, str] = {}
        while len(told) < 2:
            for outcome in executor.advance():
                assert isinstance(outcome, ProbeFailure)
                told[outcome.probe] = str(outcome.error)
        assert told[hanging].startswith(
            "a training must end within --probe-timeout 0.05 s, got n=96 of replicate 0 after"
        )
        assert told[long].startswith(
            "a training must end within --probe-timeout 0.05 s, got n=100 of replicate 0 after"
        )
        assert (executor.running(), executor.room()) == ([], 2)


def test_a_training_goes_on_in_another_process_to_the_same_verdict(
    setups: dict[str, Setup], finish: Finish, tmp_path: Path
) -> None:
    """Dropout and running statistics included."""
    setup = replace(setups["short"], procedure=replace(setups["short"].procedure, min_steps=1000, stall_share=1.0))
    probe = Probe("base", 200, 0)
    with contextlib.closing(ProcessExecutor(setup, 1, checkpoints=Checkpoints(str(tmp_path), 1e9))) as executor:
        executor.add(probe)
        until(lambda: bool(executor.running()) and executor.running()[0].steps > 20, executor)
        os.kill(executor._workers[0].process.pid or 0, signal.SIGTERM)  # as where it reaches the whole group
        executor.save()
        (path,) = tmp_path.iterdir()
        kept = checkpoints._unpack(path.read_bytes())["state"]["run"]["steps"]
        os.kill(executor._workers[0].process.pid or 0, signal.SIGKILL)
        until(lambda: executor._deaths[probe] == 1, executor)
        until(lambda: bool(executor.running()) and executor.running()[0].steps > 0, executor)
        assert executor.running()[0].steps > kept
        assert finish(executor, [probe]) == finish(SingleTrainer(setup), [probe])


def test_what_cannot_be_pickled_is_refused_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    lock = threading.Lock()
    setup = make_setup(lambda _shape, classes: Net(classes) if lock else Net(0))
    with pytest.raises(SpecError, match="training in processes needs a model that can be pickled"):
        ProcessExecutor(setup, 2)
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import contextlib
from torch import nn
from emc.api import prepare
from emc.executors.processes import ProcessExecutor
from emc.specs import Measurement, Probe
print("started", flush=True)
def model(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 70000), nn.Linear(70000, classes))
setup = prepare(Measurement.from_flat({"labels": "random", "check_steps": 1}), model=model).setup
for _ in range(2):
    with contextlib.closing(ProcessExecutor(setup, 1)) as executor, contextlib.suppress(KeyboardInterrupt):
        executor.add(Probe("base", 500, 0))
        executor.advance()
        print(executor._workers[0].process.pid, executor._folder.name, flush=True)
        while True:
            executor.advance()
"""


def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    """A script without a guard runs once. Ctrl-C reaches the whole group, kill -9 the parent alone."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=pipe, stderr=pipe, text=True, process_group=0
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        interrupted, folder = parent.stdout.readline().split()
        os.killpg(parent.pid, signal.SIGINT)
        orphaned, other = parent.stdout.readline().split()
        assert not os.path.exists(folder)
        assert not alive(int(interrupted))
        parent.kill()
        assert parent.communicate(timeout=60) == ("", "")
    while os.path.exists(other) or alive(int(orphaned)):
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
