"""What a job of Slurm does on its machine, and the folder by which it talks to the driver."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from submitit.helpers import DelayedSubmission

from emc import errors
from emc.executors.payload import map_file, pack, unpack
from emc.executors.remote import key_of, prepare_process, train
from emc.executors.routing import make_executor
from emc.journal.lines import DamagedLineError, verdict
from emc.results import ProbeFailure, ProbeResult
from emc.specs import Execution, Probe
from emc.training.failing import failure
from emc.training.setup import Setup

#: Bytes from which an array is a file of its own.
LARGE = 1 << 14

#: Times in a row that a job may reach its time limit without a verdict, before the probe it trains has failed.
MAX_TIMEOUTS = 3

#: Share of its minutes after which a job that is to end is taken to have reached its limit.
LATE = 0.8


@dataclass(frozen=True)
class Folder:
    """The folder that the driver and all jobs see."""

    path: Path

    @property
    def logs(self) -> Path:
        """What submitit keeps."""
        return self.path / "logs"

    def verdicts(self, name: str) -> Path:
        """Where the job of that name writes its verdicts."""
        return self.path / "verdicts" / f"{name}.jsonl"

    def reader(self, name: str) -> Reader:
        """Reads what the job of that name writes."""
        return Reader(self.verdicts(name))

    def put(self, base: str, setup: Setup) -> None:
        """Keep what trains, for `get`.

        Raises:
            SpecError: it cannot be pickled.
            OSError: a file cannot be written.
        """
        content = pack(setup, self._save, LARGE)
        self.pack(base).parent.mkdir(parents=True, exist_ok=True)
        self.pack(base).write_bytes(content)

    def get(self, base: str) -> Setup:
        """What trains."""
        return cast("Setup", unpack(self.pack(base).read_bytes(), lambda name: map_file(str(self.path / name))))

    def pack(self, base: str) -> Path:
        """Where what trains is kept."""
        return self.path / "setups" / hashlib.sha256(base.encode()).hexdigest()[:24]

    def _save(self, array: npt.NDArray[Any]) -> str:
        """Arrays by their content, so that equal ones are one file."""
        whole = np.ascontiguousarray(array)
        content = hashlib.sha256(repr((whole.dtype.str, whole.shape)).encode() + whole.tobytes()).hexdigest()[:24]
        name = f"arrays/{content}.npy"
        path = self.path / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, whole, allow_pickle=False)
        return name


@dataclass
class Job:
    """Trains probes one after the other; one that Slurm starts again goes on with those that have no verdict yet.

    Attributes:
        name: of its file.
        folder: shared with the driver.
        probes: to be trained.
        execution: of the driver.
        cpus, minutes: that the job has.
        checkpoints: folder of checkpoints.
        started: when it was last started.
    """

    name: str
    folder: Folder
    probes: Sequence[Probe]
    execution: Execution
    cpus: int
    minutes: int
    checkpoints: str | None = None
    started: float = 0.0

    def __call__(self) -> None:
        """Train, and write each verdict as soon as it is there."""
        self.started = time.monotonic()
        path = self.folder.verdicts(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        reader = Reader(path)
        known = {key_of(outcome) for outcome in reader.read({probe.key: probe for probe in self.probes})}
        left = [probe for probe in self.probes if probe.key not in known]
        with path.open("ab") as file:
            if reader.torn:
                file.write(b"\n")  # what an earlier start tore stays apart
            if reader.timeouts >= MAX_TIMEOUTS and self.execution.checkpoint_every is None:
                write(file, ProbeFailure(left[0], self._too_long(left[0])))
                left = left[1:]
            self._train(left, file)

    def _train(self, probes: Sequence[Probe], file: IO[bytes]) -> None:
        if not probes:
            return
        setups = {base: self.folder.get(base) for base in dict.fromkeys(probe.base for probe in probes)}
        execution = replace(self.execution, cluster=None, workers=self.cpus)
        prepare_process(setups.values(), execution.threads or 1)
        executor = make_executor(setups, execution, len(probes), self.checkpoints)
        for news in train(executor, probes, lambda: False):
            if not isinstance(news, tuple):
                write(file, news)

    def checkpoint(self) -> DelayedSubmission:
        """What Slurm starts again after a preemption or at the time limit; submitit asks for it."""
        if time.monotonic() - self.started >= LATE * 60 * self.minutes:
            with self.folder.verdicts(self.name).open("ab") as file:
                file.write(b'\n{"timeout": true}\n')
        return DelayedSubmission(self)

    def _too_long(self, probe: Probe) -> errors.TrainingError:
        return errors.TrainingError(
            f"a training must end within a job's {self.minutes} minutes, but Slurm ended {MAX_TIMEOUTS} starts "
            f"(TIMEOUT) at n={probe.n} of replicate {probe.replicate}; raise minutes of --cluster slurm, or use "
            "--checkpoint-every"
        )


@dataclass
class Reader:
    """Reads what a job writes, whole lines only.

    Attributes:
        path: of its file.
        position: up to which byte it was read.
        torn: whether there is the beginning of a line after that.
        timeouts: times that the job reached its time limit since its last verdict.
    """

    path: Path
    position: int = 0
    torn: bool = False
    timeouts: int = 0

    def read(self, probes: Mapping[str, Probe]) -> list[ProbeResult | ProbeFailure]:
        """What came since the last call, of the probes by their keys, each once."""
        found: dict[str, ProbeResult | ProbeFailure] = {}
        for record in self.records():
            if "timeout" in record:
                self.timeouts += 1
                continue
            self.timeouts = 0
            outcome = _outcome(record, probes)
            if outcome is not None:
                found[key_of(outcome)] = outcome
        return list(found.values())

    def records(self) -> Iterator[dict[str, Any]]:
        """What came since the last call, of any kind."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.position)
            content = file.read()
        whole, _, rest = content.rpartition(b"\n")
        self.position += len(content) - len(rest)
        self.torn = bool(rest)
        for line in whole.split(b"\n"):
            with suppress(ValueError, RecursionError):  # a torn line
                record = json.loads(line)
                if isinstance(record, dict):
                    yield record


def _outcome(record: Mapping[str, Any], probes: Mapping[str, Probe]) -> ProbeResult | ProbeFailure | None:
    result = verdict_of(record)
    if result is not None:
        return result if result.key in probes else None
    match record:
        case {"failed": str(key), "error": [str(name), str(message)], "trace": str(trace)} if key in probes:
            kind = getattr(errors, name, None)
            if not (isinstance(kind, type) and issubclass(kind, errors.EmcError)):
                kind = errors.TrainingError
            return failure(probes[key], kind(message), trace)
    return None


def verdict_of(record: Mapping[str, Any]) -> ProbeResult | None:
    """The verdict in a line; None where it holds none, whatever else it holds."""
    try:
        result = verdict(record["verdict"])
    except (KeyError, DamagedLineError):
        return None
    return result if isinstance(result.key, str) else None


def write(file: IO[bytes], outcome: ProbeResult | ProbeFailure) -> None:
    """Write one line that outlives the machine."""
    if isinstance(outcome, ProbeResult):
        record: dict[str, Any] = {"verdict": outcome.to_dict()}
    else:
        error = outcome.error
        record = {"failed": outcome.probe.key, "error": [type(error).__name__, str(error)], "trace": outcome.trace}
    file.write(json.dumps(record).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())
