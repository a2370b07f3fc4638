"""The loop: asks every live search, hands out the probes they want, journals the verdicts, tells.

Probes that are needed wait here and are handed out as the executor can use them, those of earlier searches first, so
that measurements end one after the other. Idle room of the executor is filled with probes asked ahead of need, along
each search's own path. What a search concludes cannot depend on them: its path uses the verdicts of the probes on it
and no others, in whatever order they come.

Other processes may work on the same journal. A probe is claimed before it is handed out; one that another process has
claimed waits until its verdict is in the journal, or the claim is free because that process died.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Any

from emc.errors import EmcError
from emc.executors.base import Executor
from emc.journal import Journal
from emc.results import ProbeFailure, ProbeResult, Progress, RunningProbe, Trained
from emc.search.base import Ask
from emc.sought import Line, Out, Queue, Sought
from emc.specs import Probe

Observer = Callable[[Progress], None]

#: Told of a search that ended, by its number: what went wrong with it, or None. A record it returns is journaled.
Ended = Callable[[int, EmcError | None], Mapping[str, Any] | None]

#: Seconds between two reports to the observer.
REPORT_EVERY_S = 0.2

#: Seconds between two looks at what other processes wrote to the journal.
LOOK_EVERY_S = 0.5

#: Of the time, reports on more than so many searches, which take long, take this share.
REPORT_SHARE, MANY = 0.05, 1000

#: Trainings under way that whoever watches the journal is told of, at most.
MOST_SHOWN = 64

#: Seconds to sleep where everything waited for is trained by other processes.
IDLE_S = 0.05


class Engine:
    """Searches of any kind, driven to their end over one executor and one journal.

    A probe that several searches ask for is trained once.

    Args:
        executor: trains.
        journal: keeps verdicts; what it holds already is not trained again.
        fresh: train anew, whatever the journal held before or other processes add.
        speculation: sizes a search may ask at once, at most, those ahead of need within the executor's idle room only;
            None bounds them by that room alone.
        lenient: whether a training that comes to no verdict ends its own measurement alone, instead of the run.

    Attributes:
        trained: what was trained to a verdict, whether a search used it or not.
        unfinished: trainings that were broken off.
        failures: by the number of each search that came to no end, why.
    """

    def __init__(
        self,
        executor: Executor,
        journal: Journal,
        *,
        fresh: bool = False,
        speculation: int | None = None,
        lenient: bool = False,
    ) -> None:
        self._executor, self._journal = executor, journal
        self._fresh, self._lenient = fresh, lenient
        self._broadest = sys.maxsize if speculation is None else speculation
        self._lines: list[Line] = []
        self._cells: dict[int, list[Line]] = {}
        self._out: dict[str, Out] = {}
        self._queue = Queue()
        self._elsewhere: dict[str, Out] = {}  # those out that other processes have claimed
        self._guessed: dict[str, Out] = {}  # those out that nobody needs yet, in the order they were sent
        self._open: list[tuple[int, int]] = []  # heap of (probes ahead, line) for lines that may guess, some outdated
        self._failed: dict[str, ProbeFailure] = {}
        self._over: deque[Line] = deque()  # lines that ended and whose end is not told yet
        self._seen: set[str] = set()
        self._trained_now: set[str] = set()
        self._steps = 0
        self._news = False
        self._reported = self._looked = self._told = self._report_took = 0.0
        self._unsettled: list[str] = []
        self.trained: list[Trained] = []
        self.unfinished: list[RunningProbe] = []
        self.failures: dict[int, EmcError] = {}

    def run(
        self,
        searches: Sequence[Sought],
        observer: Observer | None = None,
        *,
        ended: Ended | None = None,
        stopping: Callable[[], bool] = lambda: False,
        settled: Callable[[str], None] | None = None,
    ) -> bool:
        """Drive every search to its end.

        Args:
            searches: what to drive, the first ones first.
            observer: told how it goes, a few times a second.
            ended: told of each search that ended, once its verdicts are synced.
            stopping: whether to stop; asked between two calls of the executor.
            settled: told of each verdict that came, by its key, once it is synced.

        Returns:
            Whether it was stopped before, or by Ctrl-C; the searches then know what was known by then.

        Raises:
            EmcError: what a training raised, unless the engine is lenient; the journal or the executor is of no more
                use. Verdicts so far are in the journal.
        """
        started = time.perf_counter()
        self._lines = [Line(number, sought) for number, sought in enumerate(searches)]
        for line in self._lines:
            self._cells.setdefault(line.sought.cell, []).append(line)
        stopped = False
        try:
            self._go_on(self._lines)
            while self._out and not (stopped := stopping()):
                self._fill_room()
                self._advance()
                self._look_around()
                self._tell_ends(ended)
                self._report(observer, started)
                self._settle_verdicts(settled)
            self._journal.sync()
            self._tell_ends(ended)
            self._report(observer, started)
            if stopped:
                self._executor.save()
        except KeyboardInterrupt:
            stopped = True
        if stopped:
            self._break_off(self._executor.running())
        self._journal.sync()
        self._settle_verdicts(settled)
        return stopped

    def _go_on(self, lines: Iterable[Line]) -> None:
        """Find out what searches that were told something want now, and hand out what is needed."""
        while True:
            for line in lines:
                for probe, ask in self._settle(line):
                    self._need(line, probe, ask)
            told: set[Line] = set()
            self._hand_out(told)
            if not told:
                return
            lines = _in_order(told)

    def _settle(self, line: Line) -> list[tuple[Probe, Ask]]:
        """Answer what is known, drop what the search wants no more; what it needs and did not need before."""
        if line.ended:
            return []
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
        line.refused.clear()
        line.exhausted, line.shown = not wanted, None
        line.breadth = line.breadth if line.ahead else 1
        if wanted:
            self._offer(line)
        else:
            self._end(line)
        return [(probe, ask) for probe, ask in wanted if probe.key not in before]

    def _end(self, line: Line, error: EmcError | None = None) -> None:
        line.ended, line.exhausted, line.error, line.shown = True, True, error, None
        line.guesses.clear()
        self._over.append(line)

    def _unknown(self, line: Line, breadth: int) -> list[tuple[Probe, Ask]]:
        """What a search asks for, once it was told all that is known of it."""
        search = line.sought.search
        while True:
            wanted = [(line.probe(ask), ask) for ask in search.ask(breadth)]
            known = [(ask, result) for probe, ask in wanted if (result := self._known(probe.key)) is not None]
            if not known:
                return wanted
            for ask, result in known:
                self._seen.add(result.key)
                search.tell(ask, result)
                if result.key in line.needed or result.key in line.ahead:  # another process's, read before its news
                    line.told.add(result.key)

    def _known(self, key: str) -> ProbeResult | None:
        return None if self._fresh and key not in self._trained_now else self._journal.get(key)

    def _need(self, line: Line, probe: Probe, ask: Ask) -> None:
        """Let a search wait for a probe it needs; one that was a guess is needed now."""
        out = self._out.get(probe.key)
        if out is None:
            out = self._out[probe.key] = Out(probe, {line: ask})
            self._queue.put(out)
            return
        out.lines[line] = ask
        if self._guessed.pop(probe.key, None) is not None:
            self._executor.add(probe)

    def _release(self, line: Line, key: str) -> None:
        """A search wants a probe no more; it is dropped if no other does."""
        out = self._out[key]
        del out.lines[line]
        line.told.discard(key)
        if not out.lines:
            self._withdraw(out)
            self._forget(key)

    def _withdraw(self, out: Out) -> None:
        """Take a probe back from the executor, if it has it."""
        if out.handed:
            under_way = self._executor.drop(out.probe)
            self._break_off([] if under_way is None else [under_way])
            self._journal.release(out.probe.key)

    def _forget(self, key: str) -> Out | None:
        """Nobody waits for a probe any more."""
        self._queue.remove(key)
        self._elsewhere.pop(key, None)
        self._guessed.pop(key, None)
        return self._out.pop(key, None)

    def _break_off(self, trainings: Iterable[RunningProbe]) -> None:
        for training in trainings:
            if training.steps > 0:
                self.unfinished.append(training)
                self._steps += training.steps

    def _hand_out(self, told: set[Line]) -> None:
        """Hand needed probes to the executor as far as it wants any; `told` are searches that it finds verdicts for."""
        while self._queue:
            if self._guessed:
                self._make_room(len(self._queue))
            batch = self._queue.take(self._executor.wants())
            if not batch:
                return
            claimed = [out for out in batch if self._claim(out)]
            self._catch_up(told)  # another process may have ended one between our last look and our claim
            for out in claimed:
                key = out.probe.key
                if key in self._failed:
                    self._fail(self._failed[key])
                if key in self._out:
                    out.handed = True
                    self._executor.add(out.probe)
                else:
                    self._journal.release(key)

    def _claim(self, out: Out) -> bool:
        """Whether a probe is ours to train; else it waits for the process that trains it."""
        if self._fresh or self._journal.claim(out.probe.key):
            return True
        self._elsewhere[out.probe.key] = out
        return False

    def _catch_up(self, told: set[Line]) -> None:
        """Take in what other processes wrote to the journal."""
        for result in [] if self._fresh else self._journal.refresh():
            out = self._out.get(result.key)
            if out is not None:
                self._news = True
                self._withdraw(out)
                self._arrive(result, told)

    def _make_room(self, count: int) -> None:
        """Drop probes asked ahead, the last one first, until so many needed ones find room."""
        for _ in range(min(count - self._executor.room(), len(self._guessed))):
            out = self._guessed[next(reversed(self._guessed))]
            for line, ask in out.lines.items():
                del line.ahead[out.probe.key]
                line.guesses.appendleft((out.probe, ask))
                line.exhausted = False
                self._offer(line)
            self._withdraw(out)
            self._forget(out.probe.key)

    def _offer(self, line: Line) -> None:
        """Let a search ask ahead when there is room."""
        if self._broadest > 1 and line.offered != len(line.ahead) and not line.exhausted:
            line.offered = len(line.ahead)
            heappush(self._open, (line.offered, line.number))

    def _fill_room(self) -> None:
        """Ask ahead as far as there is idle room, first for the searches with the fewest probes ahead."""
        room = self._executor.room() if self._open and not self._queue else 0
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
            out = self._out.get(probe.key)
            if out is None and not self._may_guess(probe.key):
                line.refused.add(probe.key)
                self._offer(line)
                continue
            line.ahead[probe.key] = ask
            self._offer(line)
            if out is None:
                out = self._out[probe.key] = self._guessed[probe.key] = Out(probe, handed=True)
                self._executor.add(probe, ahead=True)
                room -= 1
            out.lines[line] = ask

    def _may_guess(self, key: str) -> bool:
        """Whether a probe that nobody needs yet is ours to train."""
        if key in self._failed or not (self._fresh or self._journal.claim(key)):
            return False
        if self._known(key) is None:
            return True
        self._journal.release(key)  # another process ended it between our last look and our claim
        return False

    def _next_guess(self, line: Line) -> tuple[Probe, Ask] | None:
        """The likeliest probe that a search could need next and that is not out for it; None where there is none."""
        while not line.guesses and not line.exhausted:
            found = self._unknown(line, line.breadth)
            out = line.needed.keys() | line.ahead.keys() | line.refused
            line.guesses.extend(each for each in found if each[0].key not in out)
            if not line.guesses:
                line.exhausted = line.breadth == self._broadest or len(found) < line.breadth
                line.breadth = min(2 * line.breadth, self._broadest)
        return line.guesses.popleft() if line.guesses else None

    def _advance(self) -> None:
        """Let the executor go on, and take in what came; where all is trained by other processes, wait a moment."""
        outcomes = self._executor.advance()
        for outcome in outcomes:
            out = self._out.get(outcome.probe.key if isinstance(outcome, ProbeFailure) else outcome.key)
            if out is not None:
                out.handed = False
        told: set[Line] = set()
        self._take([outcome for outcome in outcomes if isinstance(outcome, ProbeResult)], told)
        for outcome in outcomes:
            if isinstance(outcome, ProbeFailure):
                self._fail(outcome)
        if not outcomes:
            self._journal.sync()
            if len(self._elsewhere) == len(self._out):
                time.sleep(IDLE_S)
        if outcomes or self._queue:
            self._go_on(_in_order(told))

    def _take(self, results: Sequence[ProbeResult], told: set[Line]) -> None:
        """Journal verdicts, then tell the searches; who watches, or waits for the end, is told once they are synced."""
        if not results:
            return
        bases = {result.key: self._out[result.key].probe.base for result in results if result.key in self._out}
        self._journal.append(results, bases=bases, grow=True)
        self._news = True
        for result in results:
            self._journal.release(result.key)
            self.trained.append(Trained.of(result))
            self._unsettled.append(result.key)
            if self._fresh:
                self._trained_now.add(result.key)
            self._steps += result.steps
            self._arrive(result, told)

    def _arrive(self, result: ProbeResult, told: set[Line]) -> None:
        """Tell the searches that wait for a verdict, which are added to `told`."""
        out = self._forget(result.key)
        for line, ask in out.lines.items() if out else ():
            line.needed.pop(result.key, None)
            line.ahead.pop(result.key, None)
            self._seen.add(result.key)
            if result.key not in line.told:
                line.sought.search.tell(ask, result)
            line.told.discard(result.key)
            told.add(line)

    def _fail(self, failure: ProbeFailure) -> None:
        """A training came to no verdict: whoever needs it can come to no end, whoever only guessed goes on.

        Raises:
            EmcError: what the training raised, unless the engine is lenient.
        """
        key = failure.probe.key
        self._failed[key] = failure
        self._journal.release(key)
        out = self._forget(key)
        waiting = list(out.lines) if out else []
        stuck = [line for line in waiting if line.needed.pop(key, None) is not None]
        for line in waiting:
            line.ahead.pop(key, None)
            self._offer(line)
        if stuck and not self._lenient:
            raise failure.error from (_TraceError(failure.trace) if failure.trace else failure.error.__cause__)
        for line in stuck:
            for other in self._cells[line.sought.cell]:
                self._give_up(other, failure.error)

    def _give_up(self, line: Line, error: EmcError) -> None:
        """A search comes to no end."""
        if line.ended:
            return
        for key in line.needed.keys() | line.ahead.keys():
            self._release(line, key)
        line.needed, line.ahead = {}, {}
        self.failures[line.number] = error
        self._end(line, error)

    def _look_around(self) -> None:
        """See what other processes wrote, and whether what they had claimed is free."""
        now = time.perf_counter()
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        told: set[Line] = set()
        self._catch_up(told)
        for key, out in list(self._elsewhere.items()):
            if self._journal.claim(key):
                self._journal.release(key)  # to be claimed when it is handed out
                del self._elsewhere[key]
                self._queue.put(out)
        self._go_on(_in_order(told))

    def _tell_ends(self, ended: Ended | None) -> None:
        """Tell of the searches that ended, once all their verdicts are synced."""
        soon = self._journal.synced or time.perf_counter() - self._told >= REPORT_EVERY_S or not self._out
        if not (self._over and soon):
            return
        self._journal.sync()
        self._told = time.perf_counter()
        while self._over:
            line = self._over.popleft()
            record = None if ended is None else ended(line.number, line.error)
            if record is not None:
                self._journal.note(record)

    def _settle_verdicts(self, settled: Callable[[str], None] | None) -> None:
        """Say which verdicts survive the machine by now."""
        if not self._journal.synced:
            return
        if settled is not None:
            for key in self._unsettled:
                settled(key)
        self._unsettled.clear()

    def _report(self, observer: Observer | None, started: float) -> None:
        """Report verdicts once they are synced; without any, a few times a second."""
        now = time.perf_counter()
        since = now - self._reported
        pause = self._report_took / REPORT_SHARE if len(self._lines) > MANY else 0.0
        news = observer is not None and self._news and self._journal.synced and (since >= pause or not self._out)
        if not (news or (self._out and since >= REPORT_EVERY_S)):
            return
        self._journal.sync()
        self._news, self._reported = False, now
        running = tuple(self._executor.running())
        steps = self._steps + sum(probe.steps for probe in running)
        if observer is not None:
            brackets = tuple(line.bracket() for line in self._lines)
            observer(Progress(brackets, running, len(self._seen), steps, now - started))
            self._report_took = time.perf_counter() - now
        self._journal.show(partial(self._status, running, steps, now - started))

    def _status(self, running: Sequence[RunningProbe], steps: int, seconds: float) -> dict[str, Any]:
        """What this process does, for whoever watches the journal."""
        ended = sum(all(line.ended for line in lines) for lines in self._cells.values())
        cells = {"ended": ended, "going on": len(self._cells) - ended}
        counts = {"probes": len(self._seen), "steps": steps, "seconds": seconds, "trainings": len(running)}
        return {"cells": cells, **counts, "running": [dict(vars(probe)) for probe in running[:MOST_SHOWN]]}


def _in_order(lines: Iterable[Line]) -> list[Line]:
    """By number, so that what is asked does not depend on how a set orders them."""
    return sorted(lines, key=lambda line: line.number)


class _TraceError(Exception):
    """Where a training raised, to be shown as the cause."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'
