"""The learning rate, and on request the batch size, chosen before a measurement on draws that it does not use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from emc.engine import Observer
from emc.estimators.replicated import ReplicatedSearch
from emc.registry import PluginSpec
from emc.resolve import shared_key, with_procedure
from emc.results import ProbeResult, Status, Verdict, cost
from emc.seeds import derive
from emc.session import drive
from emc.sought import Sought
from emc.specs import Execution, Measurement, Procedure, Search
from emc.training.samples import Pool
from emc.training.setup import Setup
from emc.tuners import TUNERS, Candidate, Halving

#: Bisection of a trial's search ends at this: a candidate's rank needs no sharper bracket.
TOLERANCE = 0.2


@dataclass(frozen=True)
class Trial:
    """One candidate in one rung.

    Attributes:
        rung: from 0.
        candidate: what was tried.
        min_steps, max_epochs: the budget.
        fitted: samples fitted by each tuning replicate: the lower end of its coarse search.
        diverged: replicates whose search ended because every fresh seed diverged.
        score: mean logarithm of the samples fitted, none counted as one; those that diverged least are ranked by it.
        right: share of right answers in the trainings that failed, which decides between equal scores; then the cost.
        cost: probes, steps, sample_steps, seconds.
    """

    rung: int
    candidate: Candidate
    min_steps: int
    max_epochs: int
    fitted: tuple[int, ...]
    diverged: int
    score: float
    right: float
    cost: dict[str, float]


@dataclass(frozen=True)
class Tuning:
    """How the candidate was chosen.

    Attributes:
        tuner: with its options.
        seed: that every tuning probe was trained with; never the measurement's.
        trials: the whole table, rung by rung.
        chosen: the best of the last rung; None where tuning was interrupted.
        unused: what was trained beside the trials' probes (`emc.results.unused`).
    """

    tuner: str
    seed: int
    trials: tuple[Trial, ...]
    chosen: Candidate | None
    unused: Mapping[str, float] = field(default_factory=dict)

    @property
    def at_edge(self) -> bool:
        """Whether the chosen rate is the smallest or largest tried, so that a better one may lie beyond."""
        rates = [trial.candidate.lr for trial in self.trials]
        return self.chosen is not None and len(set(rates)) > 1 and self.chosen.lr in (min(rates), max(rates))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        total = {name: sum(trial.cost[name] for trial in self.trials) for name in cost([])}
        chosen = None if self.chosen is None else asdict(self.chosen)
        trials = [{**asdict(trial), "fitted": list(trial.fitted)} for trial in self.trials]
        return {
            "tuner": self.tuner,
            "seed": self.seed,
            "chosen": chosen,
            "at_edge": self.at_edge,
            "cost": total,
            "unused": dict(self.unused),
            "trials": trials,
        }


def tuning_seed(seed: int) -> int:
    """The seed of a measurement's tuning: other orders, labels, inits and batches than any the measurement draws."""
    return derive("tune", seed)


def choose(procedure: Procedure, candidate: Candidate) -> Procedure:
    """The procedure with the candidate's settings written out."""
    optimizer = procedure.optimizer
    options = tuple((key, candidate.lr if key == "lr" else value) for key, value in optimizer.options)
    return replace(procedure, optimizer=PluginSpec(optimizer.name, options), batch_size=candidate.batch_size)


def tune(
    measurement: Measurement, setup: Setup, num_classes: int, execution: Execution, observer: Observer | None = None
) -> Tuning:
    """Choose among the candidates of the measurement's tuner by the samples they fit within the budget.

    In each rung every candidate's coarse searches run side by side; those that fit the most samples enter the next
    one, where the budget is larger, and is the measurement's own in the last. Ctrl-C ends it without a choice.

    Args:
        measurement: resolved, with a tuner.
        setup: what it trains with.
        num_classes: K.
        execution: where and how; the probes are journaled like any others.
        observer: told how it goes.

    Raises:
        JournalError: the journal cannot be read or written.
        TrainingError: a training raised.
    """
    if measurement.tune is None:
        raise RuntimeError("a measurement without a tuner has nothing to be tuned")
    halving = TUNERS.build(measurement.tune)
    bench = _Bench(measurement, setup, num_classes, halving.replicates, execution, observer)
    trials: list[Trial] = []
    entering = halving.candidates(_rate(measurement.procedure, setup), measurement.procedure.batch_size)
    try:
        for rung, divisor in enumerate(halving.divisors()):
            first, done = bench.run(rung, divisor, entering), trials
            for ranked in _widened(bench, halving, divisor, first) if rung == 0 else [first]:
                trials = [*done, *ranked]
            entering = [trial.candidate for trial in ranked[: halving.survivors(len(ranked))]]
    except _InterruptedError:
        return Tuning(str(measurement.tune), bench.seed, tuple(trials), None, bench.unused())
    return Tuning(str(measurement.tune), bench.seed, tuple(trials), ranked[0].candidate, bench.unused())


def _rate(procedure: Procedure, setup: Setup) -> float:
    """The named learning rate; the plan's where the name leaves it to another optimizer, as `sam` does."""
    rate = procedure.optimizer.get("lr")
    return rate if isinstance(rate, float) else setup.plan.lr


def _widened(bench: _Bench, halving: Halving, divisor: int, ranked: list[Trial]) -> Iterator[list[Trial]]:
    """The ranking, and again with each rate further out that is tried while the best is at an end of those tried."""
    yield ranked
    for _ in range(halving.widen):
        further = halving.beyond([trial.candidate for trial in ranked], ranked[0].candidate)
        if further is None:
            return
        ranked = _ranked([*ranked, *bench.run(0, divisor, [further])])
        yield ranked


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The best first: whoever diverged last; of equals the quickest, then the smallest rate."""

    def place(trial: Trial) -> tuple[float, ...]:
        return trial.diverged, -trial.score, -trial.right, trial.cost["sample_steps"], trial.candidate.lr

    return sorted(trials, key=place)


class _InterruptedError(Exception):
    """Ctrl-C ended a rung."""


@dataclass(frozen=True)
class _Bench:
    """What every trial of a tuning shares."""

    measurement: Measurement
    setup: Setup
    num_classes: int
    replicates: int
    execution: Execution
    observer: Observer | None
    aside: list[dict[str, float]] = field(default_factory=list)

    @property
    def seed(self) -> int:
        return tuning_seed(self.measurement.seed)

    def unused(self) -> dict[str, float]:
        """What all rungs trained beside the probes they used."""
        spent = [each for each in self.aside if each]
        return {name: sum(each[name] for each in spent) for name in spent[0]} if spent else {}

    def run(self, rung: int, divisor: int, candidates: Sequence[Candidate]) -> list[Trial]:
        """Try candidates side by side on a part of the budget; the best first."""
        pool = self.setup.pool
        pool = Pool(pool.dataset, pool.task, self.seed, pool.device, pool.dtype, like=pool)
        n_start, n_max = self.measurement.search.sizes
        retries = self.measurement.search.retries
        search = Search(n_start=n_start, n_max=n_max, tolerance=TOLERANCE, retries=retries)
        setups: dict[str, Setup] = {}
        tried = []
        for candidate in candidates:
            found = ReplicatedSearch(search, self.replicates, self.measurement.confidence)
            procedure = _shortened(choose(self.measurement.procedure, candidate), divisor)
            measurement, setup = with_procedure(replace(self.measurement, seed=self.seed), self.setup, procedure)
            base = shared_key(measurement, pool.dataset, self.num_classes, pool.device)
            setups[base] = replace(setup, pool=pool, seed=self.seed)
            tried.append((candidate, procedure, base, found))
        searches = [Sought(base, each) for _, _, base, found in tried for each in found.searches]
        driven = drive(setups, self.execution, searches, self._observing(rung))
        self.aside.append(driven.unused(probe for _, _, _, found in tried for probe in found.conclude().probes))
        if driven.interrupted:
            raise _InterruptedError
        return _ranked([_trial(rung, candidate, procedure, found) for candidate, procedure, _, found in tried])

    def _observing(self, rung: int) -> Observer | None:
        observer = self.observer
        if observer is None:
            return None
        return lambda progress: observer(replace(progress, what=f"tuning, rung {rung + 1}:"))


def _shortened(procedure: Procedure, divisor: int) -> Procedure:
    """On a part of the budget. How a failure is examined changes no verdict, unless the training escapes saddles."""
    certify = procedure.certify if procedure.escape else "none"
    steps, epochs = (max(1, number // divisor) for number in (procedure.min_steps, procedure.max_epochs))
    return replace(procedure, min_steps=steps, max_epochs=epochs, certify=certify)


def _trial(rung: int, candidate: Candidate, procedure: Procedure, found: ReplicatedSearch) -> Trial:
    replicates = [search.conclude() for search in found.searches]
    probes = [result for search in found.searches for result in search.results()]
    return Trial(
        rung=rung,
        candidate=candidate,
        min_steps=procedure.min_steps,
        max_epochs=procedure.max_epochs,
        fitted=tuple(replicate.lower for replicate in replicates),
        diverged=sum(replicate.status is Status.DIVERGED for replicate in replicates),
        score=sum(math.log(max(replicate.lower, 1)) for replicate in replicates) / len(replicates),
        right=_share_right(probe for probe in probes if probe.verdict is Verdict.NOT_FITTED),
        cost=cost(probes),
    )


def _share_right(probes: Iterable[ProbeResult]) -> float:
    counts = [(probe.correct, probe.n) for probe in probes if probe.trained]
    return sum(correct for correct, _ in counts) / max(sum(n for _, n in counts), 1)
