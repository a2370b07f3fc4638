"""Engine throughput: probes a second where training takes no time.

python benchmarks/engine.py                   # 1, 6, 100 and 1,000 searches, five repeats each
python benchmarks/engine.py --quick           # fewer probes

Each search bisects one replicate after the other to the last sample, against a look-up executor that ends everything it
holds at once. With a journal, every verdict is in a file, synced before the run returns. The shares are of one more run
under cProfile: time inside the search, the journal, the look-up, and the rest, which is the engine's.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
from common import Report, Spread, json_option, quick_option

from emc.engine import Engine
from emc.estimators.replicated import MeasuredReplicate
from emc.journal import Journal
from emc.results import Evidence, ProbeResult, Progress, RunningProbe, Status, Verdict
from emc.search.base import Ask
from emc.seeds import derive
from emc.sought import Sought
from emc.specs import Probe, Search

SEARCHES = (1, 6, 100, 1000)
POOL = 100_000
SEARCH = Search(tolerance=0)
PROBES_A_LEG = 20


class LookUp:
    """Ends every probe it holds at the next call; a replicate fits up to a size of its own.

    Args:
        slots: probes that it takes at once without slowing down; beyond those needed they are asked ahead.
        look_up: gives a verdict; by default the capacity depends on the replicate alone.
    """

    name = "look-up"

    def __init__(self, slots: int, look_up: Callable[[Probe], ProbeResult] | None = None) -> None:
        self._slots, self._look_up = slots, look_up or _look_up
        self._held: dict[Probe, None] = {}
        self.trained = 0

    def add(self, probe: Probe, *, ahead: bool = False) -> None:  # noqa: ARG002
        """Take a probe in."""
        self._held[probe] = None

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; it was not under way."""
        self._held.pop(probe, None)
        return None

    def running(self) -> list[RunningProbe]:
        """All it holds."""
        return [RunningProbe(probe.n, probe.replicate, probe.attempt, 0, 0, 1) for probe in self._held]

    def room(self) -> int:
        """Slots left."""
        return max(0, self._slots - len(self._held))

    def wants(self) -> int:
        """As many as it has slots; see `Executor.wants`."""
        return self.room()

    def advance(self) -> list[ProbeResult]:
        """The verdicts of all it holds."""
        held, self._held = self._held, {}
        self.trained += len(held)
        return [self._look_up(probe) for probe in held]

    def save(self) -> None:
        """Nothing is worth saving."""

    def close(self) -> None:
        """Let go of all."""
        self._held = {}


@cache
def capacity_of(replicate: int) -> int:
    """What a replicate fits."""
    return 500 + derive("capacity", replicate) % 5000


def look_up(probe: Probe, capacity: int | None = None) -> ProbeResult:
    """The verdict of a replicate of some capacity, with a detail as long as that of a training."""
    capacity = capacity_of(probe.replicate) if capacity is None else capacity
    fits = probe.n <= capacity
    evidence = None if fits else Evidence.NOISE_FLOOR
    verdict = Verdict.FITTED if fits else Verdict.NOT_FITTED
    detail = {"stop": "fitted" if fits else "stalled", "lr": 0.001, "batch_size": 128, "budget": 25_000, "gain": 1e-4}
    where = (probe.n, probe.replicate, probe.attempt)
    return ProbeResult(
        probe.key, *where, verdict, evidence, min(probe.n, capacity), 0.1, None, 25_000, 3_200_000, 1.5, detail
    )


_look_up = look_up


class Relay:
    """One replicate's search after the other, so that a run is as long as wanted.

    Args:
        replicates: their numbers.
    """

    def __init__(self, replicates: Iterable[int]) -> None:
        self._left = iter(replicates)
        self._current = MeasuredReplicate(SEARCH, 16, POOL, next(self._left))

    def ask(self, most: int) -> list[Ask]:
        """What the current replicate asks."""
        return self._current.ask(most)

    def tell(self, ask: Ask, result: ProbeResult) -> None:
        """Take in a result; with the last one of a replicate go on to the next."""
        self._current.tell(ask, result)
        following = None if self._current.status() is None else next(self._left, None)
        if following is not None:
            self._current = MeasuredReplicate(SEARCH, 16, POOL, following)

    def bounds(self) -> tuple[int, int | None]:
        """Of the current replicate."""
        return self._current.bounds()

    def status(self) -> Status | None:
        """Of the current replicate, which is the last where it has one."""
        return self._current.status()


@dataclass(frozen=True)
class Case:
    """What is timed: searches at once, whether a journal is kept, an observer watches, and guesses a search."""

    searches: int
    journal: bool
    observed: bool = False
    ahead: int = 0

    def run(self, probes: int) -> tuple[int, float, float]:
        """Probes trained, about as many as asked for, and the seconds and processor seconds it took."""
        executor = LookUp(self.searches * (1 + self.ahead))
        legs = max(1, round(probes / self.searches / PROBES_A_LEG))
        step = self.searches
        searches = [Relay(range(first, first + legs * step, step)) for first in range(step)]
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter(), time.process_time()
            with Journal(Path(folder) / "journal.jsonl" if self.journal else None) as journal:
                engine = Engine(executor, journal, speculation=None if self.ahead else 1)
                engine.run([Sought("b" * 24, search) for search in searches], _ignore if self.observed else None)
            return executor.trained, time.perf_counter() - started[0], time.process_time() - started[1]


def _ignore(_: Progress) -> None:
    """An observer that takes no time."""


def cases() -> Iterator[Case]:
    """Every row of the table."""
    for searches in SEARCHES:
        yield Case(searches, journal=False)
        yield Case(searches, journal=True)
    yield Case(1000, journal=True, observed=True)
    yield Case(6, journal=True, ahead=3)


def measured(case: Case, probes: int, repeats: int) -> dict[str, Any]:
    """One row: probes a second over the repeats, and the shares of one more run under a profiler."""
    runs = [case.run(probes) for _ in range(repeats)]
    return {
        "searches": case.searches,
        "journal": "yes" if case.journal else "no",
        "watched": "yes" if case.observed else "no",
        "asked ahead": case.ahead,
        "probes/s": Spread.of(done / seconds for done, seconds, _ in runs),
        "processor us a probe": Spread.of(1e6 * processor / done for done, _, processor in runs),
        **{f"in {part}": f"{share:.0%}" for part, share in shares(case, probes).items()},
    }


def shares(case: Case, probes: int) -> dict[str, float]:
    """Shares of the run's time in search, journal, look-up, and engine (the rest)."""
    profile = cProfile.Profile()
    profile.runcall(case.run, probes)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())
    parts = {
        "search": (("replicated.py", "ask"), ("replicated.py", "tell"), ("replicated.py", "__init__")),
        "journal": (("journal.py", "append"), ("journal.py", "sync"), ("journal.py", "get")),
        "look-up": (("engine.py", "advance"),),
    }
    found = {part: _inside(stats, names) / total for part, names in parts.items()}
    return {**found, "engine": 1 - sum(found.values())}


def _inside(stats: dict[Any, Any], names: tuple[tuple[str, str], ...]) -> float:
    """Seconds inside functions, by file and name, what they call included."""
    return sum(
        cumulative
        for (file, _, function), (_, _, _, cumulative, _) in stats.items()
        if (os.path.basename(file), function) in names
    )


@click.command()
@quick_option
@json_option
def main(quick: bool, json_path: Path | None) -> None:
    """Print one row a case: probes a second, and where the time goes."""
    probes, repeats = (2_000, 3) if quick else (20_000, 5)
    report = Report("engine", json_path, quick)
    report.table(
        f"About {probes:,} probes a run, {repeats} runs", [measured(case, probes, repeats) for case in cases()]
    )


if __name__ == "__main__":
    main()
