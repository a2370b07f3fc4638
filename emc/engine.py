"""The loop: asks every live search, runs the probes they want, journals the verdicts, tells."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from emc.executors.base import Executor
from emc.journal import Journal
from emc.results import ProbeResult, Progress
from emc.search.base import Ask, AskTell
from emc.specs import Probe

Observer = Callable[[Progress], None]

#: Seconds between two reports to the observer.
REPORT_EVERY_S = 0.2


@dataclass
class _Line:
    """A search, what its probes share, and the probes it waits for, by key."""

    base: str
    search: AskTell
    waiting: dict[str, Ask] = field(default_factory=dict)


class Engine:
    """Searches of any kind, driven to their end over one executor and one journal.

    A probe that several searches ask for is trained once.

    Args:
        executor: trains.
        journal: keeps verdicts; what it holds already is not trained again.
        fresh: train anew, whatever the journal held before.
        speculation: probes a search may ask at once, ahead of need.
    """

    def __init__(self, executor: Executor, journal: Journal, *, fresh: bool = False, speculation: int = 1) -> None:
        self._executor, self._journal = executor, journal
        self._fresh, self._speculation = fresh, speculation
        self._lines: list[_Line] = []
        self._out: dict[str, Probe] = {}
        self._verdicts: dict[str, ProbeResult] = {}
        self._steps_before = 0
        self._reported = 0.0

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
        self._lines = [_Line(base, search) for base, search in searches]
        try:
            for line in self._lines:
                self._ask(line)
            while self._out:
                results = self._executor.advance()
                self._take(results)
                self._report(observer, started, force=bool(results))
        except KeyboardInterrupt:
            return True
        return False

    def _ask(self, line: _Line) -> None:
        """Send out what a search wants, answer what is known, drop what no search wants any more."""
        while True:
            wanted = {self._probe(line, ask): ask for ask in line.search.ask(self._speculation)}
            known = {probe: result for probe in wanted if (result := self._known(probe)) is not None}
            for probe, result in known.items():
                self._verdicts[result.key] = result
                line.search.tell(wanted[probe], result)
            if not known:
                break
        before, line.waiting = line.waiting, {probe.key: ask for probe, ask in wanted.items()}
        self._drop(before)
        for probe in wanted:
            if probe.key not in self._out:
                self._out[probe.key] = probe
                self._executor.add(probe)

    def _drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key in self._out and not any(key in line.waiting for line in self._lines):
                self._executor.drop(self._out.pop(key))

    def _known(self, probe: Probe) -> ProbeResult | None:
        found = self._verdicts.get(probe.key)
        return self._journal.get(probe.key) if found is None and not self._fresh else found

    @staticmethod
    def _probe(line: _Line, ask: Ask) -> Probe:
        return Probe(line.base, ask.n, ask.replicate, ask.attempt)

    def _take(self, results: list[ProbeResult]) -> None:
        """Journal verdicts, then tell them: what was told can always be read again."""
        if not results:
            return
        self._journal.append(results)
        told: dict[int, _Line] = {}
        for result in results:
            self._verdicts[result.key] = result
            self._out.pop(result.key, None)
            self._steps_before += result.steps
            for place, line in enumerate(self._lines):
                ask = line.waiting.pop(result.key, None)
                if ask is not None:
                    line.search.tell(ask, result)
                    told[place] = line
        for _, line in sorted(told.items()):
            self._ask(line)

    def _report(self, observer: Observer | None, started: float, force: bool) -> None:
        now = time.perf_counter()
        if observer is None or (not force and now - self._reported < REPORT_EVERY_S):
            return
        self._reported = now
        running = tuple(self._executor.running())
        brackets = tuple((*line.search.bounds(), line.search.status()) for line in self._lines)
        steps = self._steps_before + sum(probe.steps for probe in running)
        observer(Progress(brackets, running, len(self._verdicts), steps, now - started))
