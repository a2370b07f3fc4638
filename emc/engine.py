"""The loop: asks every live search, runs the probes they want, journals the verdicts, tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from emc.executors.base import Executor
from emc.journal import Journal
from emc.results import Evidence, ProbeResult, Progress, Replicate, Status, Verdict
from emc.search.path import Ask, Bracket, Shown
from emc.search.replicate import ReplicateSearch
from emc.specs import Probe, Search

Observer = Callable[[Progress], None]

#: Seconds between two reports to the observer.
REPORT_EVERY_S = 0.2

_SHOWN = {Verdict.FITTED: Shown.FITTED, Verdict.NOT_FITTED: Shown.NOT_FITTED, Verdict.DIVERGED: Shown.NOTHING}


@dataclass(frozen=True)
class Outcome:
    """What a run of the loop brought.

    Attributes:
        replicates: one EMC each.
        probes: verdicts the searches used, by replicate, n, attempt.
        interrupted: whether it was stopped before every search had ended.
    """

    replicates: tuple[Replicate, ...]
    probes: tuple[ProbeResult, ...]
    interrupted: bool


class Engine:
    """One measurement's searches, driven to their end.

    Args:
        base: what all its probes share (`Probe.base`).
        search: the rule.
        n_start, n_max: first and largest size.
        replicates: how many searches.
        executor: trains.
        journal: keeps verdicts; what it holds already is not trained again.
        fresh: train anew, whatever the journal holds.
        speculation: sizes asked at once along a replicate's path.
    """

    def __init__(
        self,
        base: str,
        search: Search,
        *,
        n_start: int,
        n_max: int,
        replicates: int,
        executor: Executor,
        journal: Journal,
        fresh: bool = False,
        speculation: int = 1,
    ) -> None:
        self._base = base
        self._searches = [ReplicateSearch(search, n_start, n_max) for _ in range(replicates)]
        self._executor, self._journal = executor, journal
        self._fresh, self._speculation = fresh, speculation
        self._out: dict[str, Probe] = {}
        self._verdicts: dict[str, ProbeResult] = {}
        self._steps_before = 0
        self._reported = 0.0

    def run(self, observer: Observer | None = None) -> Outcome:
        """Drive every search to its end; Ctrl-C stops asking and returns what is known.

        Raises:
            TrainingError, JournalError: see there; verdicts so far are in the journal.
        """
        started = time.perf_counter()
        interrupted = False
        try:
            self._ask_all()
            while self._out:
                results = self._executor.advance()
                self._take(results)
                self._report(observer, started, force=bool(results))
        except KeyboardInterrupt:
            interrupted = True
        return self._outcome(interrupted)

    def _ask_all(self) -> None:
        for replicate in range(len(self._searches)):
            self._ask(replicate)

    def _ask(self, replicate: int) -> None:
        """Send out what a search wants, answer from the journal what is there, drop what it no longer wants."""
        search = self._searches[replicate]
        while True:
            wanted = {ask: self._probe(replicate, ask) for ask in search.ask(self._speculation)}
            known = {ask: result for ask, probe in wanted.items() if (result := self._known(probe)) is not None}
            for ask, result in known.items():
                self._verdicts[result.key] = result
                search.tell(ask, _SHOWN[result.verdict])
            if not known:
                break
        keys = {probe.key for probe in wanted.values()}
        for key, probe in list(self._out.items()):
            if probe.replicate == replicate and key not in keys:
                self._executor.drop(self._out.pop(key))
        for probe in wanted.values():
            if probe.key not in self._out:
                self._out[probe.key] = probe
                self._executor.add(probe)

    def _known(self, probe: Probe) -> ProbeResult | None:
        return None if self._fresh else self._journal.get(probe.key)

    def _probe(self, replicate: int, ask: Ask) -> Probe:
        return Probe(self._base, ask.n, replicate, ask.attempt)

    def _take(self, results: list[ProbeResult]) -> None:
        """Journal verdicts, then tell them: what was told can always be read again."""
        if not results:
            return
        self._journal.append(results)
        for result in results:
            self._verdicts[result.key] = result
            self._out.pop(result.key, None)
            self._steps_before += result.steps
            self._searches[result.replicate].tell(Ask(result.n, result.attempt), _SHOWN[result.verdict])
        for replicate in sorted({result.replicate for result in results}):
            self._ask(replicate)

    def _report(self, observer: Observer | None, started: float, force: bool) -> None:
        now = time.perf_counter()
        if observer is None or (not force and now - self._reported < REPORT_EVERY_S):
            return
        self._reported = now
        running = tuple(self._executor.running())
        brackets = []
        for number, search in enumerate(self._searches):
            ended = None if search.bracket is None else self._replicate(number).status
            brackets.append((*search.bounds(), ended))
        steps = self._steps_before + sum(probe.steps for probe in running)
        observer(Progress(tuple(brackets), running, len(self._verdicts), steps, now - started))

    def _outcome(self, interrupted: bool) -> Outcome:
        replicates, used = [], []
        for number in range(len(self._searches)):
            replicates.append(self._replicate(number))
            used += sorted(self._results(number), key=lambda result: (result.n, result.attempt))
        return Outcome(tuple(replicates), tuple(used), interrupted)

    def _replicate(self, number: int) -> Replicate:
        return _conclude(number, self._searches[number], self._results(number))

    def _results(self, number: int) -> list[ProbeResult]:
        """The verdicts a search has used."""
        return [self._verdicts[self._probe(number, ask).key] for ask in self._searches[number].path]


def _conclude(number: int, search: ReplicateSearch, path: list[ProbeResult]) -> Replicate:
    """A replicate from its bracket and what its deciding failure is worth."""
    bracket = search.bracket
    if bracket is None:
        lower, upper = search.bounds()
        return Replicate(number, lower, upper, Status.INTERRUPTED)
    deciding = _deciding(bracket, path)
    status = bracket.status
    weak = deciding is not None and deciding.evidence is not None and deciding.evidence.undertrained
    if weak and status in (Status.BRACKETED, Status.CENSORED_BELOW):
        status = Status.UNDERTRAINED
    return Replicate(
        number, bracket.lower, bracket.upper, status, deciding.key if deciding else None, bracket.also_fitted
    )


def _deciding(bracket: Bracket, path: list[ProbeResult]) -> ProbeResult | None:
    """The failure at the upper end; of several attempts the weakest, which says what the size's failure is worth."""
    failures = [r for r in path if r.n == bracket.upper and r.verdict is Verdict.NOT_FITTED]
    return min(failures, key=lambda r: _strength(r.evidence), default=None)


def _strength(evidence: Evidence | None) -> int:
    return 0 if evidence is None or evidence.undertrained else 1
