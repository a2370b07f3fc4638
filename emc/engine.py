"""The loop: asks every live search, runs the probes they want, journals the verdicts, tells.

Idle room of the executor is filled with probes asked ahead of need, along each search's own path. What a search
concludes cannot depend on them: its path uses the verdicts of the probes on it and no others, in whatever order they
come.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from emc.executors.base import Executor
from emc.journal import Journal
from emc.results import ProbeFailure, ProbeResult, Progress, RunningProbe, Status
from emc.search.base import Ask, AskTell
from emc.specs import Probe

Observer = Callable[[Progress], None]

#: Seconds between two reports to the observer.
REPORT_EVERY_S = 0.2


@dataclass(eq=False)
class _Line:
    """A search with the probes it waits for, by key.

    Attributes:
        number: its place among the searches.
        base: what its probes share.
        needed, ahead: probes that are out for it.
        guesses: the next ones to be asked ahead, the likeliest first.
        breadth: of what was asked of the search last, guesses included.
        exhausted: whether it has no more guesses.
        offered: probes ahead when it was last offered for more; -1 once it was taken up.
        shown: its bracket as the observer sees it; None where it is to be made anew.
    """

    number: int
    base: str
    search: AskTell
    needed: dict[str, Ask] = field(default_factory=dict)
    ahead: dict[str, Ask] = field(default_factory=dict)
    guesses: deque[tuple[Probe, Ask]] = field(default_factory=deque)
    breadth: int = 1
    exhausted: bool = False
    offered: int = -1
    shown: tuple[int, int | None, Status | None] | None = None

    def probe(self, ask: Ask) -> Probe:
        return Probe(self.base, ask.n, ask.replicate, ask.attempt)

    def bracket(self) -> tuple[int, int | None, Status | None]:
        if self.shown is None:
            self.shown = (*self.search.bounds(), self.search.status())
        return self.shown


@dataclass(eq=False)
class _Out:
    """A probe in training, and the searches that wait for it."""

    probe: Probe
    lines: dict[_Line, Ask] = field(default_factory=dict)


class Engine:
    """Searches of any kind, driven to their end over one executor and one journal.

    A probe that several searches ask for is trained once.

    Args:
        executor: trains.
        journal: keeps verdicts; what it holds already is not trained again.
        fresh: train anew, whatever the journal held before.
        speculation: sizes a search may ask at once, at most, those ahead of need within the executor's idle room only;
            None bounds them by that room alone.

    Attributes:
        trained: verdicts that were trained for, whether a search used them or not.
        unfinished: trainings that were broken off.
    """

    def __init__(
        self, executor: Executor, journal: Journal, *, fresh: bool = False, speculation: int | None = None
    ) -> None:
        self._executor, self._journal = executor, journal
        self._fresh = fresh
        self._broadest = sys.maxsize if speculation is None else speculation
        self._lines: list[_Line] = []
        self._out: dict[str, _Out] = {}
        self._guessed: dict[str, _Out] = {}  # those out that nobody needs yet, in the order they were sent
        self._open: list[tuple[int, int]] = []  # heap of (probes ahead, line) for lines that may guess, some outdated
        self._verdicts: dict[str, ProbeResult] = {}
        self._steps = 0
        self._news, self._reported = False, 0.0
        self.trained: list[ProbeResult] = []
        self.unfinished: list[RunningProbe] = []

    def run(self, searches: Sequence[tuple[str, AskTell]], observer: Observer | None = None) -> bool:
        """Drive every search to its end.

        Args:
            searches: each with what its probes share (`Probe.base`).
            observer: told how it goes, a few times a second.

        Returns:
            Whether Ctrl-C stopped it before; the searches then know what was known by then.

        Raises:
            TrainingError, JournalError: see there; verdicts so far are in the journal.
        """
        started = time.perf_counter()
        self._lines = [_Line(number, base, search) for number, (base, search) in enumerate(searches)]
        try:
            self._go_on(self._lines)
            while self._out:
                self._fill_room()
                results = _verdicts(self._executor.advance())
                self._take(results)
                if not results:
                    self._journal.sync()
                self._report(observer, started)
            self._journal.sync()
            self._report(observer, started)
        except KeyboardInterrupt:
            self._break_off(self._executor.running())
            self._journal.sync()
            return True
        return False

    def _go_on(self, lines: Sequence[_Line]) -> None:
        """Find out what searches that were told something want now, and send out what they need."""
        needed = [(line, *each) for line in lines for each in self._settle(line)]
        new = [each for each in needed if not self._join(*each)]
        if new and self._guessed:
            self._make_room(len({probe.key for _, probe, _ in new}))
        for line, probe, ask in new:
            if not self._join(line, probe, ask):
                self._out[probe.key] = _Out(probe, {line: ask})
                self._executor.add(probe)

    def _settle(self, line: _Line) -> list[tuple[Probe, Ask]]:
        """Answer what is known, drop what the search wants no more; what it needs and did not need before."""
        wanted = self._unknown(line, 1)
        before, line.needed = line.needed, {probe.key: ask for probe, ask in wanted}
        out, likely = before | line.ahead, line.needed
        if line.ahead:
            likely = {probe.key: ask for probe, ask in self._unknown(line, line.breadth)}
            line.ahead = {key: ask for key, ask in line.ahead.items() if key in likely and key not in line.needed}
        for key in out:
            if key not in likely and key not in line.needed:
                self._release(line, key)
        line.guesses.clear()
        line.exhausted, line.shown = not wanted, None
        line.breadth = line.breadth if line.ahead else 1
        self._offer(line)
        return [(probe, ask) for probe, ask in wanted if probe.key not in before]

    def _unknown(self, line: _Line, breadth: int) -> list[tuple[Probe, Ask]]:
        """What a search asks for, once it was told all that is known of it."""
        while True:
            wanted = [(line.probe(ask), ask) for ask in line.search.ask(breadth)]
            known = [(ask, result) for probe, ask in wanted if (result := self._known(probe.key)) is not None]
            if not known:
                return wanted
            for ask, result in known:
                self._verdicts[result.key] = result
                line.search.tell(ask, result)

    def _known(self, key: str) -> ProbeResult | None:
        found = self._verdicts.get(key)
        return self._journal.get(key) if found is None and not self._fresh else found

    def _join(self, line: _Line, probe: Probe, ask: Ask) -> bool:
        """Let a search wait for a probe it needs, if that is out already; one that was a guess is needed now."""
        out = self._out.get(probe.key)
        if out is None:
            return False
        out.lines[line] = ask
        if self._guessed.pop(probe.key, None) is not None:
            self._executor.add(probe)
        return True

    def _release(self, line: _Line, key: str) -> None:
        """A search wants a probe no more; it is dropped if no other does."""
        out = self._out[key]
        del out.lines[line]
        if not out.lines:
            self._drop(out)

    def _drop(self, out: _Out) -> None:
        del self._out[out.probe.key]
        self._guessed.pop(out.probe.key, None)
        under_way = self._executor.drop(out.probe)
        self._break_off([] if under_way is None else [under_way])

    def _break_off(self, trainings: Iterable[RunningProbe]) -> None:
        for training in trainings:
            if training.steps > 0:
                self.unfinished.append(training)
                self._steps += training.steps

    def _make_room(self, count: int) -> None:
        """Drop probes asked ahead, the last one first, until so many needed ones find room."""
        for _ in range(min(count - self._executor.room(), len(self._guessed))):
            out = self._guessed[next(reversed(self._guessed))]
            for line, ask in out.lines.items():
                del line.ahead[out.probe.key]
                line.guesses.appendleft((out.probe, ask))
                line.exhausted = False
                self._offer(line)
            self._drop(out)

    def _offer(self, line: _Line) -> None:
        """Let a search ask ahead when there is room."""
        if self._broadest > 1 and line.offered != len(line.ahead) and not line.exhausted:
            line.offered = len(line.ahead)
            heappush(self._open, (line.offered, line.number))

    def _fill_room(self) -> None:
        """Ask ahead as far as there is idle room, first for the searches with the fewest probes ahead."""
        room = self._executor.room() if self._open else 0
        while room > 0 and self._open:
            count, number = heappop(self._open)
            line = self._lines[number]
            if count != len(line.ahead):
                continue
            line.offered = -1
            guess = self._next_guess(line)
            if guess is None:
                continue
            probe, ask = guess
            line.ahead[probe.key] = ask
            self._offer(line)
            out = self._out.get(probe.key)
            if out is None:
                out = self._out[probe.key] = self._guessed[probe.key] = _Out(probe)
                self._executor.add(probe, ahead=True)
                room -= 1
            out.lines[line] = ask

    def _next_guess(self, line: _Line) -> tuple[Probe, Ask] | None:
        """The likeliest probe that a search could need next and that is not out for it; None where there is none."""
        while not line.guesses and not line.exhausted:
            found = self._unknown(line, line.breadth)
            out = line.needed.keys() | line.ahead.keys()
            line.guesses.extend(each for each in found if each[0].key not in out)
            if not line.guesses:
                line.exhausted = line.breadth == self._broadest or len(found) < line.breadth
                line.breadth = min(2 * line.breadth, self._broadest)
        return line.guesses.popleft() if line.guesses else None

    def _take(self, results: list[ProbeResult]) -> None:
        """Journal verdicts, then tell the searches; who watches, or waits for the end, is told once they are synced."""
        if not results:
            return
        self._journal.append(results, grow=True)
        self._news = True
        self.trained += results
        told: dict[int, _Line] = {}
        for result in results:
            self._verdicts[result.key] = result
            self._steps += result.steps
            self._guessed.pop(result.key, None)
            out = self._out.pop(result.key, None)
            for line, ask in out.lines.items() if out else ():
                line.needed.pop(result.key, None)
                line.ahead.pop(result.key, None)
                line.search.tell(ask, result)
                told[line.number] = line
        self._go_on([line for _, line in sorted(told.items())])

    def _report(self, observer: Observer | None, started: float) -> None:
        """Report verdicts once they are synced; without any, a few times a second."""
        now = time.perf_counter()
        news = self._news and self._journal.synced
        if observer is None or not (news or (self._out and now - self._reported >= REPORT_EVERY_S)):
            return
        self._journal.sync()
        self._news, self._reported = False, now
        running = tuple(self._executor.running())
        brackets = tuple(line.bracket() for line in self._lines)
        steps = self._steps + sum(probe.steps for probe in running)
        observer(Progress(brackets, running, len(self._verdicts), steps, now - started))


def _verdicts(outcomes: Iterable[ProbeResult | ProbeFailure]) -> list[ProbeResult]:
    """The verdicts among what an executor gave.

    Raises:
        EmcError: what a training raised.
    """
    results = []
    for outcome in outcomes:
        if isinstance(outcome, ProbeFailure):
            raise outcome.error
        results.append(outcome)
    return results
