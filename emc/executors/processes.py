"""Training by the single or opaque trainer in worker processes on this machine, one probe and one thread each."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import TYPE_CHECKING, cast

from emc.errors import TrainingError
from emc.executors.payload import files_in, pack
from emc.executors.worker import Message, Raised, Save, Saved, work
from emc.results import ProbeFailure, ProbeResult, RunningProbe
from emc.specs import Probe
from emc.stopping import no_interrupt
from emc.training.checkpoints import Checkpoints
from emc.training.failing import Outcome, TraceError, failure, overdue
from emc.training.setup import Setups, all_setups, setup_of
from emc.training.waiting import Waiting

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, ForkServerProcess

#: Seconds that `advance` waits for news.
WAIT_S = 0.1

#: Seconds that workers have to keep what they train.
SAVE_S = 5.0

#: Seconds of the clock beyond its time that a training has to say so itself, or to have its failure examined.
GRACE_S = 10.0

#: Workers that may die on one probe before it has failed.
MAX_DEATHS = 3

#: Workers that may die one after the other before they could train, before that is an error.
MAX_STILLBORN = 10

#: The start method: no fork of a process that has threads or a GPU.
METHOD = "forkserver"

#: Imported once, by the process that workers are forked from.
PRELOAD = ["emc.executors.worker"]


class ProcessExecutor:
    """Trains in up to `workers` processes, which start when there is something to train.

    A verdict has the bits that the single trainer gives in this process at the same number of threads. A worker that
    dies is replaced and its probe trained again, since a probe is a function of its key.

    Args:
        setups: what trains, on the CPU.
        workers: processes at once.
        threads: of each.
        checkpoints: where trainings are kept; None keeps none.
        timeout_s: seconds charged after which a training is broken off, between two counts; one that does not come by
            there is by the clock, some seconds later, with its worker.

    Raises:
        SpecError: what trains cannot be handed to another process.
        OSError: its arrays cannot be written to a temporary folder.
    """

    def __init__(
        self,
        setups: Setups,
        workers: int,
        threads: int = 1,
        checkpoints: Checkpoints | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self._setups = setups
        names = {"single" if setup.training is None else "opaque" for setup in all_setups(setups)}
        self.name = " and ".join(sorted(names))
        self._limit, self._num_threads = workers, threads
        self._checkpoints, self._timeout_s = checkpoints, timeout_s
        self._folder = tempfile.TemporaryDirectory(prefix="emc-", ignore_cleanup_errors=True)
        try:
            self._content = pack(setups, files_in(self._folder.name))
        except BaseException:
            self._folder.cleanup()
            raise
        self._waiting = Waiting()
        self._workers: list[_Worker] = []
        self._deaths: Counter[Probe] = Counter()
        self._stillborn = 0
        self._heard: list[Outcome] = []  # while workers saved

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; see `Executor.add`."""
        if all(worker.probe != probe for worker in self._workers):
            self._waiting.add(probe, ahead=ahead)

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; how far it was at its last report, if it was under way."""
        self._waiting.remove(probe)
        for worker in self._workers:
            if worker.probe == probe:
                found = self._status(worker, probe)
                worker.train(None)
                return found
        return None

    def running(self) -> list[RunningProbe]:
        """The trainings under way, as they were at their last report."""
        return [self._status(worker, worker.probe) for worker in self._workers if worker.probe is not None]

    def _status(self, worker: _Worker, probe: Probe) -> RunningProbe:
        if worker.status is not None:
            return worker.status
        budget = setup_of(self._setups, probe).budget(probe.n)
        return RunningProbe(probe.n, probe.replicate, probe.attempt, 0, 0, budget, base=probe.base)

    def room(self) -> int:
        """Workers that have nothing to do."""
        return max(0, self._limit - len(self.running()) - len(self._waiting))

    def wants(self) -> int:
        """As many as there are workers may wait; see `Executor.wants`."""
        return max(0, 2 * self._limit - len(self.running()) - len(self._waiting))

    def advance(self) -> Sequence[Outcome]:
        """Hand probes to idle workers, then wait a moment for news; the verdicts and failures that came.

        Raises:
            EmcError: workers cannot load what trains, or die before they can.
        """
        self.start()
        return self.collect(WAIT_S)

    def start(self) -> None:
        """Hand waiting probes to idle workers, of which new ones are started up to the limit."""
        while self._waiting:
            worker = next((worker for worker in self._workers if worker.probe is None), None)
            if worker is None:
                if len(self._workers) == self._limit:
                    return
                worker = self._new_worker()
            worker.train(self._waiting.take())

    def collect(self, timeout: float) -> list[Outcome]:
        """The verdicts and failures that came, after waiting for news for so many seconds at most.

        Raises:
            EmcError: as `advance` does.
        """
        ready = wait([worker.connection for worker in self._workers], timeout)
        said = [self._hear(worker) for worker in list(self._workers) if worker.connection in ready]
        heard, self._heard = [*self._heard, *said, *self._break_off()], []
        return [outcome for outcome in heard if outcome is not None]

    def _break_off(self) -> list[Outcome]:
        """End the workers whose training is past its time, and does not come by where it would find out itself."""
        if self._timeout_s is None:
            return []
        failures: list[Outcome] = []
        for worker in list(self._workers):
            seconds = time.monotonic() - worker.since
            if worker.probe is not None and worker.loaded and seconds > self._timeout_s + GRACE_S:
                failures.append(failure(worker.probe, overdue(worker.probe, seconds, self._timeout_s)))
                self._workers.remove(worker)
                worker.end()
        return failures

    def _hear(self, worker: _Worker) -> Outcome | None:
        """Take in what a worker says; what it says of a probe dropped meanwhile is nothing."""
        try:
            probe, said = cast("Message", worker.connection.recv())
        except (EOFError, OSError):
            return self._bury(worker)
        if isinstance(said, Saved):
            worker.saved = True
            return None
        if probe is None:
            self._meet(worker, said)
            return None
        if probe != worker.probe:
            return None
        if isinstance(said, RunningProbe):
            worker.status = said
            return None
        worker.probe = worker.status = None
        self._deaths.pop(probe, None)
        return failure(probe, said.error, said.trace) if isinstance(said, Raised) else cast("ProbeResult", said)

    def _meet(self, worker: _Worker, said: object) -> None:
        """Take in whether a worker that started can train."""
        if isinstance(said, Raised):
            raise said.error from TraceError(said.trace)
        worker.loaded, worker.since, self._stillborn = True, time.monotonic(), 0

    def _bury(self, worker: _Worker) -> ProbeFailure | None:
        """Let go of a worker that died; its probe waits again, or has failed once several died on it."""
        self._workers.remove(worker)
        worker.end()
        if not worker.loaded:
            self._mourn(worker)
        elif worker.probe is not None:
            self._deaths[worker.probe] += 1
        probe = worker.probe
        if probe is None or self._deaths[probe] < MAX_DEATHS:
            self._waiting.put_back([] if probe is None else [probe])
            return None
        del self._deaths[probe]
        told = (
            f"a training must not end its process, but {MAX_DEATHS} workers died {worker.cause} at n={probe.n} of "
            f"replicate {probe.replicate}; free memory or lower --workers"
        )
        return failure(probe, TrainingError(told))

    def _mourn(self, worker: _Worker) -> None:
        """A worker died before it trained anything, which is no probe's fault."""
        self._stillborn += 1
        if self._stillborn >= MAX_STILLBORN:
            raise TrainingError(
                f"worker processes must be able to start, but {MAX_STILLBORN} in a row died {worker.cause} before they "
                "could train; free memory or use --workers 1"
            )

    def _new_worker(self) -> _Worker:
        here, there = multiprocessing.Pipe()
        context = cast("ForkServerContext", multiprocessing.get_context(METHOD))
        context.set_forkserver_preload(PRELOAD)
        care = self._checkpoints, self._timeout_s
        args = (there, self._content, self._folder.name, self._num_threads, *care)
        process = context.Process(target=work, args=args, daemon=True, name="emc-worker")
        with no_interrupt(), _no_main():
            process.start()
        there.close()
        worker = _Worker(process, here)
        self._workers.append(worker)
        return worker

    def save(self) -> None:
        """Have every worker keep its training; one between two counts for longer than `SAVE_S` is not waited for."""
        asked = [worker for worker in self._workers if worker.probe is not None and self._checkpoints is not None]
        for worker in asked:
            worker.saved = False
            with suppress(OSError):
                worker.connection.send(Save())
        until = time.monotonic() + SAVE_S
        while any(not worker.saved and worker in self._workers for worker in asked) and time.monotonic() < until:
            self._heard = self.collect(WAIT_S)

    def close(self) -> None:
        """End all workers at once and remove what they shared."""
        self._waiting.clear()
        while self._workers:
            self._workers.pop().end()
        self._folder.cleanup()


@dataclass(eq=False)
class _Worker:
    """A process with what it trains, and how far that was at its last report."""

    process: ForkServerProcess
    connection: Connection
    probe: Probe | None = None
    status: RunningProbe | None = None
    loaded: bool = False
    saved: bool = False
    since: float = 0.0

    def train(self, probe: Probe | None) -> None:
        """Send a probe, or the word to train none."""
        self.probe, self.status, self.since = probe, None, time.monotonic()
        with suppress(OSError):  # of a dead worker the connection tells
            self.connection.send(probe)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    @property
    def cause(self) -> str:
        """How it died."""
        code = self.process.exitcode or 0
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


@contextmanager
def _no_main() -> Iterator[None]:
    """Hide the main module: a new process would import it, and so run a user's script once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def has_processes() -> bool:
    """Whether this system can start workers."""
    return METHOD in multiprocessing.get_all_start_methods()
