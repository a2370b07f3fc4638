"""Stand-ins for training: what a probe shows is a pure function of its size, replicate and attempt."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

from hypothesis import strategies as st

from emc.engine import Engine
from emc.errors import TrainingError
from emc.estimators.replicated import ReplicatedSearch
from emc.journal import Journal
from emc.results import Evidence, ProbeFailure, ProbeResult, Replicate, RunningProbe, Verdict
from emc.search.base import Ask
from emc.search.path import Bracket, Shown, search_path
from emc.seeds import derive
from emc.sought import Sought
from emc.specs import Probe, Search

Oracle = Callable[[int, int, int], Verdict]
Weigh = Callable[[int, int, int], Evidence]

SHOWN = {Verdict.FITTED: Shown.FITTED, Verdict.NOT_FITTED: Shown.NOT_FITTED, Verdict.DIVERGED: Shown.NOTHING}


@dataclass(frozen=True)
class Outcome:
    """What a run brought: one EMC a replicate, the results used, and whether it was stopped."""

    replicates: tuple[Replicate, ...]
    probes: tuple[ProbeResult, ...]
    interrupted: bool


def memoriser(k: int) -> Oracle:
    """A model that looks up exactly k samples."""
    return lambda n, _replicate, _attempt: Verdict.FITTED if n <= k else Verdict.NOT_FITTED


@dataclass(frozen=True)
class Noisy:
    """Fits with probability Phi(log(centre / n) / width): a step at width 0, coin tosses at a large one."""

    seed: int
    centre: float
    width: float
    diverges: float = 0.0

    def __call__(self, n: int, replicate: int, attempt: int) -> Verdict:
        if self._uniform("diverge", n, replicate, attempt) < self.diverges:
            return Verdict.DIVERGED
        if self.width == 0:
            return Verdict.FITTED if n <= self.centre else Verdict.NOT_FITTED
        fits = NormalDist().cdf(math.log(self.centre / n) / self.width)
        return Verdict.FITTED if self._uniform("fit", n, replicate, attempt) < fits else Verdict.NOT_FITTED

    def _uniform(self, purpose: str, *parts: int) -> float:
        return derive(purpose, self.seed, *parts) / 2**63


def oracles(n_max: int = 400) -> st.SearchStrategy[Noisy]:
    """Steps, noisy thresholds and coin tosses, with and without divergences."""
    return st.builds(
        Noisy,
        seed=st.integers(0, 10**6),
        centre=st.floats(0.5, 1.5 * n_max),
        width=st.sampled_from([0.0, 0.1, 0.5, 3.0, 1e6]),
        diverges=st.sampled_from([0.0, 0.0, 0.1, 0.4]),
    )


GEOMETRIC = st.floats(1.001, 9.0).map("geometric:factor={}".format)
LINEAR = st.integers(1, 60).map("linear:step={}".format)


def searches(growth: st.SearchStrategy[str] = GEOMETRIC | LINEAR) -> st.SearchStrategy[Search]:
    """Rules of every kind; sizes are left to `sizes`."""
    return st.builds(
        Search,
        growth=growth,
        tolerance=st.sampled_from([0.0, 0.0, 0.02, 0.05, 0.5]),
        sections=st.integers(2, 5),
        attempts=st.integers(1, 3),
        verify=st.integers(0, 3),
        retries=st.integers(0, 2),
    )


def sizes(n_max: int = 400) -> st.SearchStrategy[tuple[int, int]]:
    """(n_start, n_max) with 1 <= n_start <= n_max."""
    return st.tuples(st.integers(1, n_max), st.integers(1, n_max)).map(lambda pair: (min(pair), max(pair)))


def walk(
    search: Search, n_start: int, n_max: int, oracle: Oracle, replicate: int = 0
) -> tuple[list[tuple[Ask, str]], Bracket]:
    """The sequential search against an oracle: what was asked with what was shown, and the end."""
    path = search_path(search, n_start, n_max)
    asked: list[tuple[Ask, str]] = []
    try:
        ask = next(path)
        while True:
            assert len(asked) < 10_000, "the search does not end"
            shown = SHOWN[oracle(ask.n, replicate, ask.attempt)]
            asked.append((ask, shown))
            ask = path.send(shown)
    except StopIteration as stop:
        return asked, stop.value


def reachable(search: Search, n_start: int, n_max: int, told: dict[Ask, str]) -> set[Ask]:
    """By brute force, every probe without a verdict that the sequential search could still come to ask."""
    found: set[Ask] = set()
    stack: list[dict[Ask, str]] = [{}]
    while stack:
        guessed = stack.pop()
        missing = _first_missing(search, n_start, n_max, told | guessed)
        if missing is not None:
            found.add(missing)
            stack += [guessed | {missing: shown} for shown in (Shown.FITTED, Shown.NOT_FITTED)]
    return found


def _first_missing(search: Search, n_start: int, n_max: int, known: dict[Ask, str]) -> Ask | None:
    path = search_path(search, n_start, n_max)
    try:
        ask = next(path)
        while ask in known:
            ask = path.send(known[ask])
        return ask
    except StopIteration:
        return None


class OracleExecutor:
    """'Trains' by asking an oracle.

    Args:
        oracle: what probes show.
        weigh: evidence of a failure.
        order: seed of the order and number in which probes end; None ends one at a time, first in first out.
        stop_after: calls of `advance` after which Ctrl-C is pressed.
        slots: probes that train at once without slowing each other.
        raises: whether a probe's training raises.
        wanted: needed probes that it holds at once, at most.

    Attributes:
        waiting: probes in training, by key.
        ahead: keys of those that nobody needs yet.
        added: every probe sent, in order; one sent ahead and then needed, once.
        dropped, results: what became of them.
        closed: whether it was let go of.
    """

    name = "oracle"

    def __init__(
        self,
        oracle: Oracle,
        *,
        weigh: Weigh = lambda _n, _replicate, _attempt: Evidence.NOISE_FLOOR,
        order: int | None = None,
        stop_after: int | None = None,
        slots: int = 1,
        wanted: int = 1000,
        raises: Callable[[Probe], bool] = lambda _probe: False,
    ) -> None:
        self._oracle, self._weigh = oracle, weigh
        self._random = None if order is None else random.Random(order)
        self._left, self._slots, self._wanted = stop_after, slots, wanted
        self._raises = raises
        self.waiting: dict[str, Probe] = {}
        self.ahead: set[str] = set()
        self.added: list[Probe] = []
        self.dropped: list[Probe] = []
        self.results: list[ProbeResult] = []
        self.closed = False

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        if probe.key in self.ahead:
            assert not ahead, "nobody asks ahead for what is out already"
            self.ahead.remove(probe.key)
            return
        assert probe.key not in self.waiting
        assert not ahead or self.room() > 0, "only idle room is filled"
        self.waiting[probe.key] = probe
        self.added.append(probe)
        self.ahead |= {probe.key} if ahead else set()
        assert not self.ahead or len(self.waiting) <= self._slots, "what is needed finds room before what is not"

    def drop(self, probe: Probe) -> RunningProbe | None:
        self.ahead.discard(probe.key)
        self.dropped.append(self.waiting.pop(probe.key))
        return self._running(probe)

    def room(self) -> int:
        return max(0, self._slots - len(self.waiting))

    def wants(self) -> int:
        return max(0, self._wanted - len(self.waiting))

    def save(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def running(self) -> list[RunningProbe]:
        return [self._running(probe) for probe in self.waiting.values()]

    @staticmethod
    def _running(probe: Probe) -> RunningProbe:
        return RunningProbe(probe.n, probe.replicate, probe.attempt, 0, 1, 10, sample_steps=5, seconds=0.5)

    def advance(self) -> list[ProbeResult | ProbeFailure]:
        if self._left == 0:
            raise KeyboardInterrupt
        self._left = None if self._left is None else self._left - 1
        probes = [self.waiting.pop(key) for key in self._pick()]
        self.ahead -= {probe.key for probe in probes}
        failures = [ProbeFailure(probe, TrainingError(f"n={probe.n}")) for probe in probes if self._raises(probe)]
        results = [self._judge(probe) for probe in probes if not self._raises(probe)]
        self.results += results
        return [*results, *failures]

    def _pick(self) -> list[str]:
        keys = list(self.waiting)
        if self._random is None:
            return keys[:1]
        return self._random.sample(keys, self._random.randint(0, len(keys)))

    def _judge(self, probe: Probe) -> ProbeResult:
        where = (probe.n, probe.replicate, probe.attempt)
        verdict = self._oracle(*where)
        evidence = self._weigh(*where) if verdict is Verdict.NOT_FITTED else None
        correct = probe.n if verdict is Verdict.FITTED else probe.n - 1
        return ProbeResult(probe.key, *where, verdict, evidence, correct, loss=0.5, steps=10, detail={"fake": True})


def run_engine(
    executor: OracleExecutor,
    search: Search,
    n_start: int,
    n_max: int,
    *,
    journal: Journal | None = None,
    replicates: int = 1,
    **settings: Any,
) -> Outcome:
    """One run of the loop; without a journal verdicts are kept in memory."""
    base, observer = settings.pop("base", "base"), settings.pop("observer", None)
    engine = Engine(executor, Journal(None) if journal is None else journal, **settings)
    estimator = ReplicatedSearch(replace(search, n_start=n_start, n_max=n_max), replicates, 0.95)
    interrupted = engine.run([Sought(base, one) for one in estimator.searches], observer)
    found = estimator.conclude()
    return Outcome(found.replicates, found.probes, interrupted)


def undisturbed(
    oracle: Oracle, search: Search, n_start: int, n_max: int, *, replicates: int = 1, **settings: Any
) -> Outcome:
    """The measurement without speculation, interruption or any other order than the sequential one."""
    return run_engine(OracleExecutor(oracle, **settings), search, n_start, n_max, replicates=replicates)


def with_sizes(search: Search, **changes: Any) -> Search:
    """The rule with other settings."""
    return replace(search, **changes)
