"""Slurm by stand-ins for its commands that really run the jobs: each takes seconds to start."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
from torch import Tensor, nn

from emc.api import prepare
from emc.errors import ClusterError, SpecError, TrainingError
from emc.executors.base import Executor
from emc.executors.clusters import SlurmCluster, find_cluster
from emc.executors.inline import InlineExecutor
from emc.results import ProbeFailure, ProbeResult
from emc.specs import Execution, Measurement, Probe
from emc.training.setup import Setup

pytest.importorskip("submitit", reason="needs submitit: pip install 'emc[slurm]'")

from emc.executors import slurm, slurm_job
from emc.executors.slurm import SlurmExecutor
from emc.executors.slurm_job import MAX_TIMEOUTS, Folder, Job, Reader, write

MakeSetup = Callable[..., Setup]
Finish = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]

COMMANDS = ("sbatch", "srun", "sacct", "scancel", "scontrol", "preempt")


class Net(nn.Module):
    """Raises at 99 samples a batch, ends its process at 98, waits for a file at 97."""

    def __init__(self, classes: int, gate: str) -> None:
        super().__init__()
        self.norm, self.out, self.gate = nn.BatchNorm2d(1), nn.Linear(64, classes), gate

    def forward(self, X: Tensor) -> Tensor:
        if len(X) == 99:
            raise ValueError("99 samples")
        if len(X) == 98:
            os._exit(137)
        if len(X) == 97:
            Path(self.gate + ".reached").touch()
        while len(X) == 97 and not os.path.exists(self.gate):
            time.sleep(0.05)
        return self.out(self.norm(X).relu().flatten(1))


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Slurm's commands on the path, and the folder of what they know."""
    programs, state = tmp_path / "bin", tmp_path / "state"
    programs.mkdir()
    state.mkdir()
    source = Path(__file__).with_name("fake_slurm.py")
    for name in COMMANDS:
        program = programs / name
        program.write_text(f'#!/bin/bash\nexec {sys.executable} -S {source} {name} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(state))
    monkeypatch.setattr(slurm, "POLL_S", 0.05)
    monkeypatch.setattr(slurm, "STATES_EVERY_S", 0.2)
    monkeypatch.setattr(slurm, "SETTLE_S", 0.1)
    monkeypatch.setattr(slurm, "GATHER_S", 0.0)
    yield state
    for job in state.glob("*_*.json"):
        subprocess.run(["scancel", job.stem], check=True)


@pytest.fixture
def setup(make_setup: MakeSetup, tmp_path: Path) -> Setup:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a job cannot import a test
    gate = str(tmp_path / "gate")
    return make_setup(lambda _shape, classes: Net(classes, gate), inputs="permuted")


def executor_of(setup: Setup, folder: Path, options: str = "") -> SlurmExecutor:
    cluster = find_cluster(f"slurm:partition=short,minutes=30,folder={folder}{options}")
    assert isinstance(cluster, SlurmCluster)
    return SlurmExecutor({"own": setup}, Execution(), cluster)


def outcomes_of(executor: Executor, count: int) -> list[ProbeResult | ProbeFailure]:
    """Go on until there are so many."""
    found: list[ProbeResult | ProbeFailure] = []
    while len(found) < count:
        found += executor.advance()
    return found


def facts(state: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(state.glob("*_*.json"))]


def test_verdicts_have_the_bits_of_this_process_and_come_one_by_one(
    commands: Path, setup: Setup, finish: Finish, tmp_path: Path
) -> None:
    """Two jobs in an array, one of which is held up at its second probe, preempted, started again and let go."""
    executor = executor_of(setup, tmp_path / "shared", ",array=2,probes=2")
    probes = [Probe("own", n, 0) for n in (10, 97, 20, 30)]
    with contextlib.closing(executor):
        assert (executor.room(), executor.wants()) == (2, 4)
        for probe in probes:
            executor.add(probe)
        found = outcomes_of(executor, 3)
        assert {outcome.n for outcome in found if isinstance(outcome, ProbeResult)} == {10, 20, 30}
        while not executor.running():
            executor.advance()
        assert [run.n for run in executor.running()] == [97]
        (script,) = (commands / "calls").read_text().strip().split("\n\n\n")
        for line in ("array=0-1%2", "partition=short", "time=30", "mem=4GB", "cpus-per-task=1", "requeue"):
            assert f"#SBATCH --{line}\n" in script
        while not (tmp_path / "gate.reached").exists():
            time.sleep(0.05)
        subprocess.run(["preempt", "1_0"], check=True)
        while facts(commands)[0]["starts"] < 2:
            time.sleep(0.05)
        (tmp_path / "gate").touch()
        found += outcomes_of(executor, 1)
        assert (executor.room(), executor.wants()) == (2, 4)
    assert list((tmp_path / "shared").iterdir()) == []
    by_n = {outcome.n: replace(outcome, seconds=0.0) for outcome in found if isinstance(outcome, ProbeResult)}
    assert list(map(by_n.get, (10, 97, 20, 30))) == finish(InlineExecutor({"own": setup}, Execution()), probes)


def test_failures_are_told_with_their_cause_and_cost_no_other_probe(
    commands: Path, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One raises and one ends its jobs; beside them one is fine."""
    monkeypatch.setattr(slurm, "MAX_ENDS", 2)  # each job takes seconds to start
    executor = executor_of(setup, tmp_path / "shared", ",array=1,probes=3")
    with contextlib.closing(executor):
        for n in (99, 98, 10):
            executor.add(Probe("own", n, 0))
        found = outcomes_of(executor, 3)
    failures = {each.probe.n: each for each in found if isinstance(each, ProbeFailure)}
    assert [each.n for each in found if isinstance(each, ProbeResult)] == [10]
    assert isinstance(failures[99].error, TrainingError)
    assert "got ValueError: 99 samples; mend the model" in str(failures[99].error)
    assert "in forward" in failures[99].trace
    assert "2 jobs ended OUT_OF_MEMORY at n=98 of replicate 0; raise minutes" in str(failures[98].error)
    assert len(facts(commands)) == 3
    assert (tmp_path / "shared").exists()  # the logs may tell why


def test_dropping_and_closing_cancel(commands: Path, setup: Setup, tmp_path: Path) -> None:
    executor = executor_of(setup, tmp_path / "shared", ",array=2,probes=1")
    with contextlib.closing(executor):
        for r in range(3):
            executor.add(Probe("own", 97, r))
        executor.drop(Probe("own", 97, 2))
        executor.advance()
        executor.drop(Probe("own", 97, 0))
        assert facts(commands)[0]["state"] == "CANCELLED by 0"
        assert executor.room() == 1
    assert [job["state"] for job in facts(commands)] == ["CANCELLED by 0"] * 2


def test_one_command_cancels_all_and_ctrl_c_waits_for_it(commands: Path, setup: Setup, tmp_path: Path) -> None:
    """It comes while jobs are submitted, and once more while they are cancelled."""
    executor = executor_of(setup, tmp_path / "shared", ",array=2,probes=1")
    for r in range(2):
        executor.add(Probe("own", 97, r))
    (commands / "interrupt").touch()
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        executor.advance()
    assert len(executor._jobs) == 2
    (commands / "interrupt").touch()
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        executor.close()
    assert (commands / "cancels").read_text() == "1_0 1_1\n"
    assert [job["state"] for job in facts(commands)] == ["CANCELLED by 0"] * 2


def stub(executor: SlurmExecutor, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let Slurm know jobs that never run, all in the state at the end of the list; what is cancelled comes before."""
    answers = ["PENDING"]
    monkeypatch.setattr(slurm, "states", lambda ids: dict.fromkeys(ids, answers[-1]))
    monkeypatch.setattr(slurm, "cancel", lambda *ids: bool(answers.insert(0, *ids)) if ids else True)
    monkeypatch.setattr(slurm, "STATES_EVERY_S", 0.0)
    monkeypatch.setattr(slurm, "SETTLE_S", 0.0)
    monkeypatch.setattr(executor._slurm, "batch", contextlib.nullcontext)
    numbers = itertools.count(1)
    monkeypatch.setattr(executor._slurm, "submit", lambda _job: SimpleNamespace(job_id=str(next(numbers))))
    return answers


@pytest.mark.parametrize("state", ["SUSPENDED", "CONFIGURING", "REQUEUE_HOLD"])
def test_a_job_that_may_go_on_has_not_ended(
    commands: Path, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    assert commands.exists()
    executor = executor_of(setup, tmp_path / "shared", ",array=1")
    answers = stub(executor, monkeypatch)
    executor.add(Probe("own", 10, 0))
    answers.append(state)
    for _ in range(3):
        assert executor.advance() == []
    assert answers == ["PENDING", state]
    answers.append("NODE_FAIL")
    executor.advance()
    assert answers[0] == "1"  # Slurm may start it again, beside the one that takes its place
    answers.append("RUNNING")
    executor.advance()
    assert [live.job.job_id for live in executor._jobs.values()] == ["2"]
    executor.close()


def test_a_slurm_that_does_not_tell_states_is_told(
    commands: Path, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "STATES_EVERY_S", 0.0)
    monkeypatch.setattr(slurm, "MAX_SILENT", 3)
    executor = executor_of(setup, tmp_path / "shared")
    executor.add(Probe("own", 97, 0))
    with contextlib.closing(executor):
        (commands / "mute").touch()
        executor.advance()
        executor.advance()
        (commands / "mute").unlink()
        executor.advance()
        (commands / "mute").touch()
        executor.advance()
        executor.advance()
        with pytest.raises(ClusterError, match=r"got none from sacct 3 times in a row \(sacct: error: .*disabl"):
            executor.advance()
    assert facts(commands)[0]["state"] == "CANCELLED by 0"


def test_what_a_job_wrote_for_a_driver_that_died_is_not_trained_again(
    commands: Path, setup: Setup, finish: Finish, tmp_path: Path
) -> None:
    probe = Probe("own", 10, 0)
    (result,) = finish(InlineExecutor({"own": setup}, Execution()), [probe])
    folder = Folder(tmp_path / "shared" / "slurm-before")
    folder.verdicts("job").parent.mkdir(parents=True)
    with folder.verdicts("job").open("ab") as file:
        write(file, result)
        file.write(b'{"verdict": {"key": "to')
    executor = executor_of(setup, tmp_path / "shared")
    with contextlib.closing(executor):
        assert finish(executor, [probe]) == [result]
    assert facts(commands) == []


def test_jobs_of_a_driver_that_died_are_cancelled_and_its_folder_goes_once_all_is_done(
    commands: Path, setup: Setup, finish: Finish, tmp_path: Path
) -> None:
    probes = [Probe("own", n, 0) for n in (10, 97)]
    results = finish(InlineExecutor({"own": setup}, Execution()), probes[:1])
    died = executor_of(setup, tmp_path / "shared", ",array=1")
    died.add(probes[1])
    died.advance()
    (name,) = died._jobs
    died._folder.verdicts(name).parent.mkdir(exist_ok=True)
    with died._folder.verdicts(name).open("ab") as file:
        write(file, results[0])
    beside = executor_of(setup, tmp_path / "shared")
    assert not (commands / "cancels").exists()
    beside.close()
    assert died._claim is not None
    os.close(died._claim)  # as the kernel does
    stopped = executor_of(setup, tmp_path / "shared")
    assert facts(commands)[0]["state"] == "CANCELLED by 0"
    stopped.add(probes[0])
    stopped.close()
    assert died._folder.path.exists()
    executor = executor_of(setup, tmp_path / "shared")
    assert finish(executor, probes[:1]) == results
    executor.close()
    assert list((tmp_path / "shared").iterdir()) == []
    assert len(facts(commands)) == 1


def test_only_this_user_may_write_what_jobs_unpickle(commands: Path, setup: Setup, tmp_path: Path) -> None:
    assert commands.exists()
    executor = executor_of(setup, tmp_path / "shared")
    assert executor._folder.path.stat().st_mode & 0o777 == 0o700
    executor.close()


@pytest.mark.parametrize("kind", ["ClusterError", "os", "nothing"])
def test_what_is_no_line_of_a_job_is_passed_over(tmp_path: Path, kind: str) -> None:
    probe = Probe("own", 10, 0)
    lines = [5, [], None, {"failed": []}, {"failed": probe.key}, {"failed": probe.key, "error": 5, "trace": ""}]
    lines += [{"verdict": {"key": [probe.key]}}, {"failed": probe.key, "error": [kind, "told"], "trace": "here"}]
    (tmp_path / "job").write_text("".join(json.dumps(line) + "\n" for line in lines) + "[" * 100_000 + "\n")
    (found,) = Reader(tmp_path / "job").read({probe.key: probe})
    assert isinstance(found, ProbeFailure)
    assert (found.probe, str(found.error), found.trace) == (probe, "told", "here")
    assert type(found.error) is (ClusterError if kind == "ClusterError" else TrainingError)


def test_a_job_that_is_started_again_goes_on_where_it_was(setup: Setup, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("own", setup)
    probes = [Probe("own", n, 0) for n in (10, 20)]
    job = Job("job", folder, probes, Execution(), 1, 60)
    job()
    path, by_key = folder.verdicts("job"), {probe.key: probe for probe in probes}
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:20])
    job()
    assert path.read_bytes().startswith(first + second[:20] + b"\n")
    reader = Reader(path)
    assert [each.n for each in reader.read(by_key) if isinstance(each, ProbeResult)] == [10, 20]
    assert reader.read(by_key) == []


def test_a_probe_longer_than_the_time_limit_fails(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, probes = Folder(tmp_path), [Probe("own", n, 0) for n in (97, 10)]
    folder.put("own", setup)
    folder.verdicts("job").parent.mkdir()
    job = Job("job", folder, probes, Execution(), 1, 60, started=time.monotonic())
    job.checkpoint()
    assert not folder.verdicts("job").exists()  # preempted
    monkeypatch.setattr(slurm_job, "LATE", 0.0)
    for _ in range(MAX_TIMEOUTS):
        assert job.checkpoint().function is job
    job()
    failure, result = Reader(folder.verdicts("job")).read({probe.key: probe for probe in probes})
    assert isinstance(failure, ProbeFailure)
    assert f"60 minutes, but Slurm ended {MAX_TIMEOUTS} starts (TIMEOUT) at n=97 of" in str(failure.error)
    assert isinstance(result, ProbeResult)


def test_what_slurm_refuses_is_told(commands: Path, setup: Setup, tmp_path: Path) -> None:
    assert commands.exists()
    executor = executor_of(setup, tmp_path)
    executor._slurm.update_parameters(partition="nowhere")
    executor.add(Probe("own", 10, 0))
    with pytest.raises(ClusterError, match=r"^Slurm must take the jobs, got: .*invalid partition specified: nowhere"):
        executor.advance()
    executor.close()


def test_a_machine_without_slurm(setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="needs a machine that submits jobs, got none of Slurm's commands"):
        executor_of(setup, tmp_path / "shared")
    cluster = find_cluster("slurm")
    with pytest.raises(SpecError, match="--cluster slurm needs a folder that all its machines see, got none; name a"):
        cluster.executor({"own": setup}, Execution())


def test_the_folder_is_beside_the_journal(commands: Path, setup: Setup, tmp_path: Path) -> None:
    assert commands.exists()
    executor = find_cluster("slurm").executor({"own": setup}, Execution(journal=str(tmp_path / "j.jsonl")))
    assert [path.name[:6] for path in (tmp_path / "j.jsonl.d" / "cluster").iterdir()] == ["slurm-"]
    executor.close()


def test_gpus_are_asked_for_without_one_here(commands: Path, tmp_path: Path) -> None:
    """The samples stay off the device that this machine may not have; stacks are what a job trains."""
    name = f"slurm:gpus=1,folder={tmp_path / 'shared'}"
    ready = prepare(Measurement.from_flat({"labels": "random"}), execution=Execution(cluster=name))
    assert ready.setup.pool.device.type == "cuda"
    executor = find_cluster(name).executor({"mlp": ready.setup}, ready.execution)
    with contextlib.closing(executor):
        assert executor.name == "lockstep"
        executor.add(Probe("mlp", 10, 0))
        executor.advance()
        assert "#SBATCH --gpus-per-node=1\n" in (commands / "calls").read_text()
