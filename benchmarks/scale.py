"""A large sweep with look-up models: what engine and journal cost, and how many workers one driver keeps busy.

python benchmarks/scale.py                    # 10,000 measurements; clusters of 100 to 10,000 workers
python benchmarks/scale.py --quick            # 500 measurements, fewer clusters

One machine: every measurement is the real estimator over the real engine and a journal in a file, each in a process of
its own; a look-up model ends each probe at once. "Anew" starts without a journal, "half" with the first half of its
lines, as after a kill, "again" with all of them.

Clusters: an executor whose workers run by a simulated clock. A probe takes a log-normal time (shape 2: from
milliseconds to minutes), and the clock never goes faster than engine and journal really take (processor and waits for
the disk), so workers go idle where the driver cannot follow. A driver that talks to real workers pays for its messages
on top; `--message-us` charges such a time for each probe.
"""

from __future__ import annotations

import cProfile
import math
import multiprocessing
import os
import pstats
import resource
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from statistics import NormalDist
from typing import Any

import click
from common import Report, json_option, quick_option
from engine import LookUp, look_up

from emc.engine import Engine, Observer
from emc.estimators import make_estimator
from emc.estimators.base import Estimator
from emc.journal import Journal
from emc.results import ProbeResult, Progress, RunningProbe
from emc.seeds import derive
from emc.sought import Sought
from emc.specs import Measurement, Probe, digest

#: Probes that a machine is handed at once.
SLOTS = 1000
#: Spread of the logarithm of a probe's seconds, and the longest one.
SIGMA, LONGEST_S = 2.0, 600.0
#: Verdicts from which and up to which a cluster's utilisation is taken.
WARM, DONE = 10_000, 40_000

WORKERS = (100, 1000, 10_000)
#: Probes a second that the workers could do.
RATES = (1000, 3000, 5000, 8000)


@dataclass(frozen=True)
class Sweep:
    """Measurements that differ in their base: bisection to 5 % within a pool of 100,000 samples."""

    measurements: int
    replicates: int

    def estimators(self) -> list[tuple[str, Estimator]]:
        """Each measurement's base and its estimator."""
        measurement = Measurement.from_flat({"n_start": 16, "n_max": 100_000, "replicates": self.replicates})
        return [(digest(["scale", number]), make_estimator(measurement)) for number in range(self.measurements)]

    def run(
        self,
        executor: LookUp | Cluster,
        path: Path | None,
        observer: Observer | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> int:
        """Drive all to their ends and conclude each; how many probes they used."""
        cells = [_Cell(base, estimator, self.replicates) for base, estimator in self.estimators()]
        searches = [
            Sought(cell.base, search, number) for number, cell in enumerate(cells) for search in cell.estimator.searches
        ]
        with Journal(path) as journal:
            engine = Engine(executor, journal, speculation=1, lenient=True)
            engine.run(
                searches,
                observer,
                ended=lambda number, _: cells[searches[number].cell].ended(),
                stopping=stopping,
            )
        return sum(cell.probes for cell in cells)


@dataclass
class _Cell:
    """A measurement that is concluded and journaled when its last search ends."""

    base: str
    estimator: Estimator
    left: int
    probes: int = 0

    def ended(self) -> dict[str, Any] | None:
        """The record to be journaled, once there is one."""
        self.left -= 1
        if self.left:
            return None
        found = self.estimator.conclude()
        self.probes = len(found.probes)
        record = {"fingerprint": self.base[:16], "emc": found.emc, "interval": found.interval}
        return {"kind": "measurement", **record, "probes": [probe.key for probe in found.probes]}


@cache
def _capacity(base: str, replicate: int) -> int:
    return 500 + derive("capacity", base, replicate) % 5000


def verdict(probe: Probe) -> ProbeResult:
    """By a capacity of each measurement's every replicate."""
    return look_up(probe, _capacity(probe.base, probe.replicate))


@dataclass(frozen=True)
class OneMachine:
    """One run of a sweep in a process of its own.

    Attributes:
        sweep: what is measured.
        path: its journal.
        observed: whether an observer watches.
    """

    sweep: Sweep
    path: Path
    observed: bool = False

    def __call__(self) -> dict[str, Any]:
        """Figures of the run: probes, seconds, memory beyond what the process took before."""
        before = _peak_mb()
        executor = LookUp(SLOTS, verdict)
        started, processor = time.perf_counter(), time.process_time()
        probes = self.sweep.run(executor, self.path, _ignore if self.observed else None)
        seconds, used = time.perf_counter() - started, time.process_time() - processor
        return {
            "probes": probes,
            "trained": executor.trained,
            "seconds": seconds,
            "processor s": used,
            "probes a processor s": probes / used,
            "memory, MB": _peak_mb() - before,
            "journal, MB": self.path.stat().st_size / 2**20,
        }

    def profiled(self) -> list[dict[str, Any]]:
        """Where the processor time goes, by module."""
        profile = cProfile.Profile()
        profile.runcall(self)
        return shares(profile)


def shares(profile: cProfile.Profile) -> list[dict[str, Any]]:
    """Shares of a profile's own time by file, the largest first; C functions count where they are called."""
    found: dict[str, float] = {}
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, _, _), (_, _, own, _, callers) in stats.items():
        if file.startswith(("~", "<")) and callers:
            for (caller, _, _), (_, _, part, _) in callers.items():
                found[caller] = found.get(caller, 0.0) + part
        else:
            found[file] = found.get(file, 0.0) + own
    total = sum(found.values())
    largest = sorted(found.items(), key=lambda item: -item[1])[:8]
    return [{"file": _short(file), "share": f"{seconds / total:.0%}"} for file, seconds in largest]


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-2:])


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _ignore(_: Progress) -> None:
    """An observer that takes no time."""


def apart(task: Callable[[], Any]) -> Any:
    """What a task gives in a fresh process, so that its memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(task).result()


def one_machine(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """A sweep anew, resumed from half of its journal, from all of it, and watched."""
    with tempfile.TemporaryDirectory() as folder:
        whole, half = Path(folder) / "whole.jsonl", Path(folder) / "half.jsonl"
        size = {"measurements": sweep.measurements, "replicates": sweep.replicates}
        yield {**size, "run": "anew", **apart(OneMachine(sweep, whole))}
        _copy_half(whole, half)
        yield {**size, "run": "half in the journal", **apart(OneMachine(sweep, half))}
        yield {**size, "run": "again, all in the journal", **apart(OneMachine(sweep, whole))}
        yield {**size, "run": "anew, watched", **apart(OneMachine(sweep, Path(folder) / "new.jsonl", observed=True))}


def _copy_half(source: Path, target: Path) -> None:
    with source.open("rb") as lines:
        number = sum(1 for _ in lines)
        lines.seek(0)
        with target.open("wb") as copy:
            copy.writelines(line for line, _ in zip(lines, range(number // 2), strict=False))


@dataclass(frozen=True)
class Mark:
    """How far a cluster was: verdicts, seconds by its clock, seconds of work its workers did, the driver's seconds."""

    verdicts: int
    clock: float
    work_s: float
    driver_s: float


@dataclass
class Cluster:
    """Workers by a simulated clock, on which what the driver really takes passes too.

    Attributes:
        workers: how many.
        mean_s: a probe's mean seconds.
        message_s: charged to the driver for each probe.
        clock: seconds since the start.
        driver_s: of these, those in which the driver was at work.
        waited_s: waits for the disk that are yet to be charged.
        marks: where it was after `WARM` and `DONE` verdicts.
    """

    workers: int
    mean_s: float
    message_s: float = 0.0
    name: str = "simulated"
    clock: float = 0.0
    driver_s: float = 0.0
    waited_s: float = 0.0
    marks: list[Mark] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free, self._verdicts, self._started_s = self.workers, 0, 0.0
        self._waiting: deque[Probe] = deque()
        self._ends: list[tuple[float, int, Probe]] = []
        self._number = count()
        self._left_at = time.process_time()

    def _charge(self) -> None:
        """Let pass what the driver took since it left here: processor time, and waits for the disk."""
        spent = time.process_time() - self._left_at + self.waited_s
        self.waited_s = 0.0
        self.clock += spent
        self.driver_s += spent

    def _leave(self) -> None:
        self._left_at = time.process_time()

    def add(self, probe: Probe, *, ahead: bool = False) -> None:  # noqa: ARG002
        """Start a probe on a free worker, or let it wait for one."""
        self._charge()
        self.clock += self.message_s
        self.driver_s += self.message_s
        if self._free:
            self._free -= 1
            self._start(probe, self.clock)
        else:
            self._waiting.append(probe)
        self._leave()

    def _start(self, probe: Probe, at: float) -> None:
        seconds = self._seconds(probe)
        self._started_s += seconds
        heappush(self._ends, (at + seconds, next(self._number), probe))

    def _seconds(self, probe: Probe) -> float:
        place = (derive("seconds", probe.key) + 0.5) / 2**63
        mu = math.log(self.mean_s) - SIGMA**2 / 2
        return min(LONGEST_S, math.exp(mu + SIGMA * NormalDist().inv_cdf(place)))

    def drop(self, probe: Probe) -> RunningProbe | None:
        """A sweep that asks nothing ahead drops nothing."""
        raise NotImplementedError(f"{probe} is needed")

    def running(self) -> list[RunningProbe]:
        """Those on a worker."""
        return [RunningProbe(probe.n, probe.replicate, probe.attempt, 0, 0, 1) for _, _, probe in self._ends]

    def room(self) -> int:
        """No guesses: there is always more that is needed."""
        return 0

    def wants(self) -> int:
        """One more a worker in reserve, so that none waits for the driver to hear of its verdict."""
        return max(0, 2 * self.workers - len(self._ends) - len(self._waiting))

    def advance(self) -> list[ProbeResult]:
        """The verdicts that have come by now; where there is none, those of the next moment that brings one."""
        self._charge()
        if self._ends and self._ends[0][0] > self.clock:
            self.clock = self._ends[0][0]
        results = []
        while self._ends and self._ends[0][0] <= self.clock:
            at, _, probe = heappop(self._ends)
            results.append(verdict(probe))
            self._verdicts += 1
            if self._waiting:
                self._start(self._waiting.popleft(), at)
            else:
                self._free += 1
        if self._verdicts >= (WARM, DONE, math.inf)[len(self.marks)]:
            left = sum(end - self.clock for end, _, _ in self._ends)
            self.marks.append(Mark(self._verdicts, self.clock, self._started_s - left, self.driver_s))
        self._leave()
        return results

    def save(self) -> None:
        """Nothing is worth saving."""

    def close(self) -> None:
        """Nothing is held."""


@contextmanager
def _timed_syncs(cluster: Cluster) -> Iterator[None]:
    """Tell a cluster how long its driver waits for the disk."""
    fsync = os.fsync

    def timed(descriptor: int) -> None:
        started, processor = time.perf_counter(), time.process_time()
        fsync(descriptor)
        cluster.waited_s += time.perf_counter() - started - (time.process_time() - processor)

    os.fsync = timed  # type: ignore[assignment]
    try:
        yield
    finally:
        os.fsync = fsync


@dataclass(frozen=True)
class Simulation:
    """One simulated cluster with enough searches to keep it busy."""

    workers: int
    mean_s: float
    message_s: float

    def __call__(self) -> dict[str, Any]:
        """Its utilisation, probes a second, and the share of the time in which the driver was at work."""
        cluster = Cluster(self.workers, self.mean_s, self.message_s)
        with tempfile.TemporaryDirectory() as folder, _timed_syncs(cluster):
            Sweep(10_000, max(1, 3 * self.workers // 10_000)).run(
                cluster, Path(folder) / "journal.jsonl", stopping=lambda: len(cluster.marks) == 2
            )
        first, last = cluster.marks
        span, verdicts = last.clock - first.clock, last.verdicts - first.verdicts
        return {
            "workers": self.workers,
            "mean s a probe": self.mean_s,
            "probes/s": verdicts / span,
            "utilisation": f"{(last.work_s - first.work_s) / span / self.workers:.1%}",
            "driver at work": f"{(last.driver_s - first.driver_s) / span:.1%}",
            "driver us a probe": 1e6 * (last.driver_s - first.driver_s) / verdicts,
        }


def simulations(workers: Sequence[int], rates: Sequence[float], message_s: float) -> list[dict[str, Any]]:
    """Every cluster, each in a process of its own."""
    return [apart(Simulation(number, number / rate, message_s)) for number in workers for rate in rates]


@click.command()
@quick_option
@json_option
@click.option("--message-us", default=0.0, help="microseconds charged to the driver for each probe it hands out")
def main(quick: bool, json_path: Path | None, message_us: float) -> None:
    """Print the sweeps on one machine, where their time goes, and the clusters."""
    report = Report("scale", json_path, quick)
    sweeps = [Sweep(500, 6)] if quick else [Sweep(10_000, 1)]
    report.table("Look-up models on one machine", [row for sweep in sweeps for row in one_machine(sweep)])
    with tempfile.TemporaryDirectory() as folder:
        profiled = OneMachine(sweeps[-1], Path(folder) / "journal.jsonl").profiled
        report.table("Where the processor time goes, under a profiler", apart(profiled))
    workers, rates = ((1000,), (1000, 8000)) if quick else (WORKERS, RATES)
    report.table("Simulated clusters", simulations(workers, rates, message_us / 1e6))


if __name__ == "__main__":
    main()
