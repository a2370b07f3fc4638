"""Training on a Ray cluster: probes are its tasks, and where and when they run is Ray's affair."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import (
    OutOfMemoryError,
    RayError,
    RaySystemError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

from emc.errors import ClusterError, EmcError, TrainingError
from emc.executors.bundles import stack_key, take_bundle
from emc.executors.choice import choose
from emc.executors.ray_connection import connection, gone, num_resources
from emc.executors.ray_store import Store
from emc.executors.ray_task import Lost, Started, versions
from emc.executors.remote import key_of
from emc.results import ProbeFailure, ProbeResult, RunningProbe
from emc.specs import Execution, Probe
from emc.training.checkpoints import Checkpoints
from emc.training.failing import failure, overdue
from emc.training.setup import Setup
from emc.training.waiting import Waiting

logger = logging.getLogger("emc")

#: Seconds that `advance` waits for news.
WAIT_S = 0.1

#: Seconds between two looks at the cluster's nodes.
POLL_S = 2.0

#: Seconds without an answer from the head after which the cluster is given up; Ray itself ends its driver after 60.
HEAD_S = 10.0

#: Seconds that a task has to end at the next exact count when it is cancelled, before its worker is killed.
CANCEL_S = 30.0

#: Seconds past its time limit after which a training's worker is killed: until then it may end by itself.
OVERTIME_S = 2.0

#: Workers that may die on one probe, and nodes that may be lost with it, before it has failed.
MAX_DEATHS, MAX_LOSSES = 3, 20


class RayExecutor:
    """Trains on the Ray cluster that this process is connected to.

    On CPUs a probe is a task. On GPUs a task has one and trains a stack of probes that suit each other. Verdicts come
    one by one, also from a task that has several. A task is never repeated by Ray but started anew here with the probes
    that it left, since only here is known which ones those are; a verdict does not depend on how often, where or beside
    whom it was trained.

    Args:
        setups: what trains, by `Probe.base`.
        execution: which trainer, threads of a training, tasks at once (`workers`), probes of a GPU at once (`stack`).
        checkpoints: where trainings are kept, in a folder that all machines see; None keeps none.

    Raises:
        SpecError: the trainer asked for cannot train a setup.
    """

    def __init__(
        self, setups: Mapping[str, Setup], execution: Execution, checkpoints: Checkpoints | None = None
    ) -> None:
        self._setups, self._timeout = setups, execution.probe_timeout
        trainers = {base: choose(setup, execution.trainer).trainer for base, setup in setups.items()}
        self.name = " and ".join(dict.fromkeys(trainers.values()))
        self._stacked = {base for base, trainer in trainers.items() if trainer == "lockstep"}
        self._threads = execution.threads or 1
        self._gpu = any(setup.pool.device.type == "cuda" for setup in setups.values())
        self._kind = "GPU" if self._gpu else "CPU"
        self._stack = execution.stack if self._gpu and self._stacked else 1
        self._most = math.inf if execution.workers is None else execution.workers
        there = replace(execution, cluster=None, workers=1)
        if checkpoints is not None:
            checkpoints = replace(checkpoints, folder=os.path.abspath(checkpoints.folder))
        self._submit = _task(self._threads, self._gpu, (there, checkpoints, versions()))
        self._store = Store(setups)
        self._waiting = Waiting()
        self._tasks: dict[Any, Task] = {}
        self._of: dict[Probe, Any] = {}  # the task of each probe that has one
        self._deaths: Counter[Probe] = Counter()
        self._losses: Counter[Probe] = Counter()
        self._machines = 0.0
        self._seen, self._next_look = time.monotonic(), 0.0
        self._look()
        if self._machines == 0:
            logger.warning("no machine of the cluster has a %s by now: trainings wait for one", self._kind)

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; see `Executor.add`."""
        if probe not in self._of:
            self._waiting.add(probe, ahead=ahead)

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; how far it was at its last report, if it was under way."""
        self._waiting.remove(probe)
        if probe not in self._of:
            return None
        stream, found = self._of[probe], self._leave(probe)
        if not self._tasks[stream].left:
            self._cancel(stream)
        return found

    def _leave(self, probe: Probe) -> RunningProbe | None:
        """A probe is its task's no more; how far it was."""
        return self._tasks[self._of.pop(probe)].left.pop(probe)

    def running(self) -> list[RunningProbe]:
        """The trainings under way, as they were at their last report."""
        return [status for task in self._tasks.values() for status in task.left.values() if status is not None]

    def room(self) -> int:
        """What the cluster could take on now, if nobody else used it, whichever trainer it is for."""
        each = self._stack if len(self._stacked) == len(self._setups) else 1
        return max(0, self._slots * each - self._held)

    def wants(self) -> int:
        """As many as the cluster can train may wait; see `Executor.wants`."""
        return max(0, 2 * self._slots * self._stack - self._held)

    @property
    def _slots(self) -> int:
        """Tasks at once; one where there is no machine yet, so that a cluster that grows on demand has one."""
        machines = self._machines if self._gpu else self._machines // self._threads
        return max(1, int(min(machines, self._most)))

    @property
    def _held(self) -> int:
        return len(self._waiting) + len(self._of)

    def advance(self) -> Sequence[ProbeResult | ProbeFailure]:
        """Hand waiting probes to Ray, then wait a moment for news; the verdicts and failures that came.

        Raises:
            ClusterError: the cluster is gone, or its machines cannot load what trains.
        """
        try:
            self._look()
            self._start()
            outcomes = [outcome for stream in self._ready() for outcome in self._hear(stream)]
            return outcomes + self._overdue()
        except (RayError, ConnectionError) as error:
            raise gone() if not connection.answers() else _unusable(error) from error

    def save(self) -> None:
        """Nothing: a task saves its checkpoints when they are due, and what came after the last one is lost."""

    def close(self) -> None:
        """Cancel what is under way; the connection stays for the next drive."""
        self._waiting.clear()
        for stream in self._tasks if ray.is_initialized() else ():  # else Ray would connect anew
            with suppress(RayError):  # of a node that is gone nothing is left to cancel
                ray.cancel(stream, force=False)
        self._tasks.clear()
        self._of.clear()

    def _look(self) -> None:
        """Find out whether the cluster is there, and how large it is by now."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + POLL_S
        if connection.answers():
            self._seen, self._machines = now, num_resources(self._kind)
        elif now - self._seen >= HEAD_S:
            raise gone()

    def _start(self) -> None:
        """Hand over what waits: at once on CPUs, where Ray keeps the queue; on GPUs a stack for each that is free."""
        most = self._slots if self._gpu else self._most
        while self._waiting and len(self._tasks) < most:
            free = int(most - len(self._tasks)) if self._gpu else 1
            probes = take_bundle(self._waiting, free, self._stack, self._key)
            packs = {base: self._store.pack(base) for base in {probe.base for probe in probes}}
            stream = self._submit(packs, probes)
            self._tasks[stream] = Task(dict.fromkeys(probes), self._store.generation)
            self._of |= dict.fromkeys(probes, stream)

    def _key(self, probe: Probe) -> Hashable:
        """Equal for probes that may share a task: none shares one with a probe on which a worker died."""
        if probe.base not in self._stacked or self._deaths[probe]:
            return probe
        return stack_key(self._setups[probe.base], probe.n)

    def _ready(self) -> list[Any]:
        """Tasks with news, after waiting for some for a moment."""
        if not self._tasks:
            return []
        streams = list(self._tasks)
        ready, _ = ray.wait(streams, num_returns=1, timeout=WAIT_S, fetch_local=False)
        return ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)[0] if ready else []

    def _hear(self, stream: Any) -> Iterable[ProbeResult | ProbeFailure]:
        """Take in what a task says."""
        task = self._tasks[stream]
        try:
            news = _news(stream)
            for item in news:
                yield from self._note(task, item)
            lost = Lost() in news
            if lost or not isinstance(stream, ray.ObjectRefGenerator) or (not task.left and not task.cancelled):
                self._end(stream)
            if lost:
                self._store.put_again(task.generation)
                yield from self._count(task, self._losses, MAX_LOSSES, "with the data")
        except (StopIteration, TaskCancelledError):
            self._end(stream)
        except (WorkerCrashedError, OutOfMemoryError) as error:
            self._end(stream)
            yield from self._count(task, self._deaths, MAX_DEATHS, _cause(error))
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, EmcError) else None
            raise cause or _unfit(error) from error
        except RaySystemError:
            raise
        except RayError as error:  # a node, and what was on it
            self._end(stream)
            yield from self._count(task, self._losses, MAX_LOSSES, _cause(error))

    def _note(self, task: Task, item: Any) -> Iterator[ProbeResult | ProbeFailure]:
        if isinstance(item, Started):
            task.started = time.monotonic()
            if len(task.left) == 1:
                (probe,) = task.left
                task.left[probe] = self._fresh(probe)
        elif isinstance(item, tuple):
            for status in item:
                probe = Probe(status.base, status.n, status.replicate, status.attempt)
                if probe in task.left:
                    task.left[probe] = status
        elif not isinstance(item, Lost):
            for probe in [probe for probe in task.left if probe.key == key_of(item)]:
                self._leave(probe)
                yield failure(probe, item.error, item.trace) if isinstance(item, ProbeFailure) else item

    def _fresh(self, probe: Probe) -> RunningProbe:
        budget = self._setups[probe.base].budget(probe.n)
        return RunningProbe(probe.n, probe.replicate, probe.attempt, 0, 0, budget, base=probe.base)

    def _end(self, stream: Any) -> None:
        """A task is over; what it left waits again."""
        left = self._tasks.pop(stream).left
        for probe in left:
            del self._of[probe]
        self._waiting.put_back(left)

    def _count(self, task: Task, count: Counter[Probe], most: int, cause: str) -> Iterator[ProbeResult | ProbeFailure]:
        """Count what befell a task against the probes it left; those that it befell too often have failed."""
        for probe in task.left:
            count[probe] += 1
            if count[probe] >= most:
                del count[probe]
                self._waiting.remove(probe)
                yield failure(probe, _died(probe, most, cause))

    def _overdue(self) -> list[ProbeResult | ProbeFailure]:
        """Kill workers that would not end: what their trainings were is a failure."""
        now = time.monotonic()
        failures: list[ProbeResult | ProbeFailure] = []
        for stream, task in list(self._tasks.items()):
            if task.cancelled is not None:
                if now - task.cancelled >= CANCEL_S:
                    task.cancelled = now
                    ray.cancel(stream, force=True)
            elif self._timeout is not None and task.is_overdue(now, self._timeout + OVERTIME_S):
                (probe,) = task.left
                self._leave(probe)
                self._cancel(stream, force=True)
                failures.append(ProbeFailure(probe, overdue(probe, now - (task.started or now), self._timeout)))
        return failures

    def _cancel(self, stream: Any, *, force: bool = False) -> None:
        self._tasks[stream].cancelled = time.monotonic()
        ray.cancel(stream, force=force)


@dataclass(eq=False)
class Task:
    """A task of Ray.

    Attributes:
        left: its probes that have no verdict yet, with how far they were at the last report.
        generation: of the objects that it was given.
        started: when it began to train.
        cancelled: when it was told to end.
    """

    left: dict[Probe, RunningProbe | None]
    generation: int
    started: float | None = None
    cancelled: float | None = None

    def is_overdue(self, now: float, limit: float) -> bool:
        """Whether its one training should have ended; in a stack each one's own time counts, and ends it there."""
        return self.started is not None and len(self.left) == 1 and now - self.started > limit


def _task(threads: int, gpu: bool, common: tuple[Any, ...]) -> Callable[..., Any]:
    """What starts a task: (packs, probes) -> its stream of news."""
    direct = not connection.client
    mkl = os.environ.get("MKL_CBWR", "")

    # A function of its own, which a worker unpickles without importing torch: until it notes SIGINT, by which Ray
    # cancels, that could hit an import and leave the worker with half a package.
    def stream(packs: Any, probes: Any, given: Any) -> Any:
        import os

        cancelled: list[int] = []
        signal.signal(signal.SIGINT, lambda number, _: cancelled.append(number))
        os.environ["MKL_CBWR"] = mkl
        from emc.executors.ray_task import run

        execution, checkpoints, expected = given
        yield from run(packs, probes, execution, checkpoints, expected, lambda: bool(cancelled))

    def whole(packs: Any, probes: Any, given: Any) -> Any:
        return list(stream(packs, probes, given))

    resources = {"num_gpus": 1, "num_cpus": threads} if gpu else {"num_cpus": threads}
    form = {"num_returns": "streaming"} if direct else {"num_returns": 1}
    remote = ray.remote(stream if direct else whole).options(max_retries=0, **form, **resources)
    return lambda packs, probes: remote.remote(packs, probes, common)


def _news(stream: Any) -> list[Any]:
    """What a task says: the next word, or all of it where its connection has no streams.

    Raises:
        StopIteration: it has ended.
        RayError: it, its worker or its node is gone.
    """
    if isinstance(stream, ray.ObjectRefGenerator):
        return [ray.get(next(stream))]
    said: list[Any] = ray.get(stream)
    return said


def _cause(error: RayError) -> str:
    if isinstance(error, OutOfMemoryError):
        return "as their nodes ran out of memory"
    return f"({type(error).__name__})"


def _died(probe: Probe, most: int, cause: str) -> TrainingError:
    return TrainingError(
        f"a training must not end its process, but {most} workers died {cause} at n={probe.n} of replicate "
        f"{probe.replicate}; take nodes with more memory or mend the model"
    )


def _unfit(error: RayTaskError) -> ClusterError:
    cause = error.cause
    message = str(cause).split("\n")[0]
    return ClusterError(
        f"every machine of the cluster must be able to load what trains, got {type(cause).__name__}: {message}; "
        "install emc and the packages of the model there"
    )


def _unusable(error: Exception) -> ClusterError:
    message = str(error).split("\n")[0]
    return ClusterError(
        f"the Ray cluster must train what it is given, got {type(error).__name__}: {message}; run the same command to "
        "continue"
    )
