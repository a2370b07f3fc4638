"""A sweep under way: what the engine reports of searches, as what it means for cells."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from emc.errors import EmcError
from emc.results import Bracket, Progress
from emc.sweeps import Cell

if TYPE_CHECKING:
    from emc.api import Group
    from emc.sweeping import Bench

#: Seconds between two reports to the observer, and the share of the time that reports may take.
REPORT_EVERY_S, REPORT_SHARE = 0.5, 0.05
#: Cells that a report shows by themselves, at most.
MAX_SHOWN = 60


class CellState(Enum):
    """Where a cell is; the value is what a user reads."""

    WAITING = "waiting"
    RUNNING = "bracket"
    DONE = "done"
    CENSORED = "censored"
    FAILED = "failed"


@dataclass(frozen=True)
class CellProgress:
    """One cell under way.

    Attributes:
        cell: which one.
        state: where it is.
        brackets: of its searches, as in `Progress`.
    """

    cell: Cell
    state: CellState
    brackets: Sequence[Bracket]


@dataclass(frozen=True)
class SweepProgress:
    """A sweep under way.

    Attributes:
        what: it is doing: "preparing", "tuning cell 3" or "measuring".
        counts: cells in each state.
        shown: the cells a view should show first: those in training, then those that ended last.
        engine: what the engine reports; None before there is anything to train.
        left_s: seconds until the last cell ends, if the others take as long as those that ended; None until some have.
        ended: cells that ended while this sweep trained, which `left_s` is reckoned from.
    """

    what: str
    counts: Mapping[CellState, int]
    shown: Sequence[CellProgress] = ()
    engine: Progress | None = None
    left_s: float | None = None
    ended: int = 0


SweepObserver = Callable[[SweepProgress], None]


class Watch:
    """Turns what the engine reports of searches into what it means for cells.

    Args:
        cells: of the sweep, in order.
        observer: told of them, as often as is cheap.
    """

    def __init__(self, cells: Sequence[Cell], observer: SweepObserver | None) -> None:
        self._cells = {cell.number: cell for cell in cells}
        self._observer = observer
        self._next = 0.0
        self._numbers: list[int] = []
        self._by_base: dict[str, list[int]] = {}
        self._started: set[int] = set()
        self._ended: dict[int, CellState] = {}
        self._failed = self._same = 0
        self._first: tuple[float, int] | None = None

    @property
    def observer(self) -> Callable[[Progress], None] | None:
        """For the engine; None where nobody watches."""
        return None if self._observer is None else self._measuring

    def prepared(self, bench: Bench) -> None:
        """Another cell is prepared."""
        done = len(bench.prepared) + len(bench.failures) + len(bench.same)
        self._failed, self._same = len(bench.failures), len(bench.same)
        self._tell(lambda: SweepProgress(f"preparing, {done:,} of {len(self._cells):,} cells", self._counts()))

    def tuning(self, number: int) -> Callable[[Progress], None] | None:
        """What watches the tuning of a cell."""
        if self._observer is None:
            return None

        def watch(progress: Progress) -> None:
            shown = [CellProgress(self._cells[number], CellState.RUNNING, progress.brackets)]
            what = f"cell {number}, {progress.what.rstrip(':')}"
            self._tell(lambda: SweepProgress(what, self._counts(), shown, progress))

        return watch

    def measure(self, bench: Bench, group: Group) -> None:
        """All cells are ready."""
        self._numbers, self._group = list(bench.prepared), group
        self._failed = len(bench.failures)
        for place, prepared in enumerate(bench.prepared.values()):
            self._by_base.setdefault(prepared.base, []).append(place)

    def ended(self, search: int, error: EmcError | None, versions: Mapping[str, Any]) -> dict[str, Any] | None:
        """A search has ended; the record of its cell if that was the last one."""
        record = self._group.ended(search, error, versions)
        place = self._group.searches[search].cell
        if place in self._group.failures:
            self._ended[place] = CellState.FAILED
        elif place in self._group.concluded:
            censored = self._group.concluded[place].censored
            self._ended[place] = CellState.CENSORED if censored else CellState.DONE
        return record

    def _measuring(self, progress: Progress) -> None:
        self._tell(lambda: self._progress(progress))

    def _progress(self, progress: Progress) -> SweepProgress:
        running = {place for probe in progress.running for place in self._by_base.get(probe.base, ())}
        running -= self._ended.keys()
        self._started |= running
        now, ended = progress.seconds, len(self._ended)
        if self._first is None:
            self._first = now, ended
        before, known = self._first
        left = len(self._numbers) - ended
        left_s = (now - before) / (ended - known) * left if ended > known else None
        last = [place for place, _ in zip(reversed(self._ended), range(MAX_SHOWN), strict=False)]
        shown = [self._shown(place, progress) for place in [*sorted(running), *last][:MAX_SHOWN]]
        return SweepProgress("measuring", self._counts(), shown, progress, left_s, ended - known)

    def _shown(self, place: int, progress: Progress) -> CellProgress:
        members = self._group.members[place]
        state = self._ended.get(place, CellState.RUNNING)
        return CellProgress(self._cells[self._numbers[place]], state, progress.brackets[members.start : members.stop])

    def _counts(self) -> dict[CellState, int]:
        found = dict.fromkeys(CellState, 0)
        for state in self._ended.values():
            found[state] += 1
        found[CellState.FAILED] += self._failed
        found[CellState.RUNNING] = len(self._started - self._ended.keys())
        found[CellState.WAITING] = len(self._cells) - self._same - sum(found.values())
        return found

    def _tell(self, make: Callable[[], SweepProgress]) -> None:
        started = time.perf_counter()
        if self._observer is None or started < self._next:
            return
        self._observer(make())
        now = time.perf_counter()
        self._next = now + max(REPORT_EVERY_S, (now - started) / REPORT_SHARE)
