"""What a sweep has still to do: each cell's searches replayed against the journal, the rest reckoned from it.

A search is told the verdicts that the journal holds. What it would still ask for is reckoned by letting it go on as if
every probe up to the middle of its replicates' brackets fitted and none above; where no bracket has an upper end yet,
the dearest course that the search could take is given instead, as a bound. Steps are the budgets of those probes, times
the share of their budgets that the cell's known probes took.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from emc.api import Prepared
from emc.errors import EmcError
from emc.estimators import make_estimator
from emc.journal import Journal, read
from emc.results import MEASUREMENT_KIND, ProbeResult, Verdict
from emc.search.base import AskTell
from emc.specs import Execution, Measurement, Probe
from emc.sweeping import Bench, prepare_cells
from emc.sweeps import Cell

#: Probes that a reckoned course may have, for searches that would not end.
MAX_PROBES = 10_000


@dataclass(frozen=True)
class CellPlan:
    """What is known of a cell before it is run.

    Attributes:
        cell: which one.
        state: "new", "part" or "done" by the journal; "same" as another cell; "failed" to be prepared.
        parameters: trainable ones; None where they are not known, 0 where it failed.
        probes: verdicts of the journal that it will use.
        left_probes, left_steps: reckoned to be trained still.
        bound: whether these are at most that many, rather than about.
        left_s: seconds of training reckoned for them, one probe at a time; None where no comparable probe is known.
        note: why it failed, which cell it is the same as, or that it is to be tuned first.
    """

    cell: Cell
    state: str
    parameters: int | None = 0
    probes: int = 0
    left_probes: int = 0
    left_steps: int = 0
    bound: bool = False
    left_s: float | None = 0.0
    note: str = ""


@dataclass(frozen=True)
class _Known:
    """A cell replayed: its plan but for the time, what it uses of the journal, and what its probes cost."""

    plan: CellPlan
    kind: Hashable = None
    size: int = 0
    left_work: float = 0.0
    seconds: float = 0.0
    work: float = 0.0


def plan_cells(
    cells: Sequence[Cell], execution: Execution, told: Callable[[Bench], None] = lambda _: None
) -> list[CellPlan]:
    """What each cell has still to do; nothing is trained or written.

    Args:
        cells: of a sweep.
        execution: its journal is read, where there is one.
        told: called after each cell.

    Raises:
        EmcError: no cell can be prepared, or the journal cannot be read.
    """
    bench = prepare_cells(cells, execution, told)
    found: list[_Known] = []
    path = execution.journal
    there = path is not None and Path(path).exists() and not execution.fresh
    tuners = any(prepared.measurement.tune is not None for prepared in bench.prepared.values())
    tuned = _tuned(path) if there and tuners and path is not None else {}
    with Journal(path if there else None, read_only=True) as journal:
        for cell in cells:
            if cell.number in bench.failures:
                found.append(_Known(CellPlan(cell, "failed", note=_sentence(bench.failures[cell.number]))))
            elif cell.number in bench.same:
                found.append(_Known(CellPlan(cell, "same", note=f"as cell {bench.same[cell.number]}")))
            else:
                prepared = bench.prepared[cell.number]
                known = tuned.get(prepared.fingerprint)
                done = CellPlan(cell, "done", prepared.parameters, known or 0)
                found.append(_replayed(cell, prepared, journal) if known is None else _Known(done))
    return list(_with_seconds(found))


def _sentence(error: EmcError) -> str:
    return " ".join(str(error).split())


def _tuned(journal: str) -> dict[str, int]:
    """Probes of the measurements that were tuned first, by their fingerprints before that."""
    records = read(journal, MEASUREMENT_KIND)
    return {record["untuned"]: len(record["probes"]) for record in records if record.get("untuned")}


def _replayed(cell: Cell, prepared: Prepared, journal: Journal) -> _Known:
    estimator = make_estimator(prepared.measurement)
    tuner = prepared.measurement.tune
    used = [] if tuner is not None else [each for s in estimator.searches for each in _replay(s, prepared, journal)]
    done = tuner is None and all(search.status() is not None for search in estimator.searches)
    plan = CellPlan(cell, "done" if done else "part" if used else "new", prepared.parameters, len(used))
    size = prepared.parameters or 1
    procedure = prepared.measurement.procedure
    named = procedure.train or procedure.model
    kind = procedure.command or named.name, prepared.measurement.task.data, prepared.setup.pool.device.type
    seconds, work = sum(each.seconds for each in used), float(sum(each.sample_steps for each in used)) * size
    known = _Known(plan, kind, size, 0.0, seconds, work)
    if done:
        return known
    split = _split(estimator.searches)
    share = sum(each.steps for each in used) / max(sum(prepared.setup.budget(each.n) for each in used), 1)
    if split is None or share == 0:
        sizes, share = _worst_course(prepared, len(used)), 1.0
    else:
        sizes = [n for search in estimator.searches for n in _course(search, split)]
    budgets = [(prepared.setup.budget(n), prepared.setup.step_size(n)) for n in sizes]
    note = "" if tuner is None else f"tuned first by {tuner.name}, which is not reckoned here"
    plan = replace(
        plan,
        left_probes=len(sizes),
        left_steps=round(share * sum(steps for steps, _ in budgets)),
        bound=split is None or share == 1.0,
        note=note,
    )
    return replace(known, plan=plan, left_work=share * size * sum(steps * batch for steps, batch in budgets))


def _replay(search: AskTell, prepared: Prepared, journal: Journal) -> Iterator[ProbeResult]:
    """Tell a search what the journal knows of it; those verdicts."""
    while True:
        wanted = [(ask, Probe(prepared.base, ask.n, ask.replicate, ask.attempt)) for ask in search.ask(1)]
        known = [(ask, result) for ask, probe in wanted if (result := journal.get(probe.key)) is not None]
        if not known:
            return
        for ask, result in known:
            search.tell(ask, result)
            yield result


def _split(searches: Iterable[AskTell]) -> float | None:
    """Where fits are taken to end: the middle, in log n, of the median bracket that has both ends."""
    brackets = sorted(
        math.sqrt(max(lower, 1) * upper)
        for lower, upper in (search.bounds() for search in searches)
        if upper is not None
    )
    return brackets[len(brackets) // 2] if brackets else None


def _course(search: AskTell, split: float) -> list[int]:
    """Sizes that a search would still ask for if all up to a size fitted and none above."""
    sizes: list[int] = []
    while len(sizes) < MAX_PROBES and (asked := search.ask(1)):
        for ask in asked:
            verdict = Verdict.FITTED if ask.n <= split else Verdict.NOT_FITTED
            search.tell(ask, ProbeResult("", ask.n, ask.replicate, ask.attempt, verdict, sample_steps=ask.n))
            sizes.append(ask.n)
    return sizes


def _worst_course(prepared: Prepared, known: int) -> list[int]:
    """Sizes of the dearest course, without as many as are known, the smallest."""
    paths = [sorted(path) for path in _worst_paths(prepared.measurement)]
    return max((path[known:] for path in paths), key=lambda path: sum(map(prepared.setup.budget, path)), default=[])


def _worst_paths(measurement: Measurement) -> Sequence[Sequence[int]]:
    return _paths_of(measurement.search, measurement.replicates, measurement.confidence)


@cache
def _paths_of(search: Any, replicates: int, confidence: float) -> Sequence[Sequence[int]]:
    measurement = Measurement(search=search, replicates=replicates, confidence=confidence)
    return make_estimator(measurement).worst_paths()


def _with_seconds(found: Sequence[_Known]) -> Iterator[CellPlan]:
    """The plans with the time their steps would take, by their own probes' rate, else by those of their kind.

    Work is counted in samples seen times parameters.
    """
    kinds: dict[Hashable, tuple[float, float]] = {}
    for each in found:
        seconds, work = kinds.get(each.kind, (0.0, 0.0))
        kinds[each.kind] = seconds + each.seconds, work + each.work
    for each in found:
        own = each.seconds > 0 and each.work > 0
        seconds, work = (each.seconds, each.work) if own else kinds[each.kind]
        if each.plan.left_probes == 0:
            yield each.plan
        else:
            yield replace(each.plan, left_s=each.left_work * seconds / work if work > 0 else None)


def totals(plans: Sequence[CellPlan]) -> Mapping[str, Any]:
    """Probes, steps and seconds left in all; seconds None where they are not known of every cell."""
    seconds = [plan.left_s for plan in plans]
    states = Counter(plan.state for plan in plans)
    return {
        "cells": len(plans),
        "states": dict(states),
        "probes": sum(plan.left_probes for plan in plans),
        "steps": sum(plan.left_steps for plan in plans),
        "seconds": None if None in seconds else sum(each for each in seconds if each is not None),
        "bound": any(plan.bound for plan in plans),
    }
