"""Sweeps run: every cell prepared, all searches in one drive, each cell concluded and journaled as it ends."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emc.api import Group, Prepared, prepare
from emc.errors import ClusterError, EmcError, JournalError, SpecError
from emc.journal import Journal
from emc.resolve import Stock
from emc.results import (
    Bracket,
    EmcResult,
    Status,
    Tabular,
    brackets_text,
    cost,
    cost_text,
    failed_record,
    parameters_text,
    unused_text,
)
from emc.session import Driven, drive
from emc.specs import Execution
from emc.stopping import stoppable
from emc.sweep_progress import CellState, SweepObserver, Watch
from emc.sweeps import Cell, Sweep, read_sweep

#: What a cell's record says of its model's size.
SIZES = ("parameters", "stored", "bits", "bits_per_parameter", "bits_per_bit")


@dataclass(frozen=True, repr=False)
class SweepResult(Tabular):
    """What a sweep found; cells that ask for the same measurement share its result.

    Attributes:
        name: of the sweep.
        cells: those that were run.
        varying: the settings that differ between the sweep's cells.
        results: of the cells that have ended, by number.
        unfinished: what is known of cells that an interruption left unfinished, by number.
        brackets: of the searches of those, as in `Progress`: the median of some that ended and some that did not would
            say little.
        failures: why a cell could not be measured, by number.
        same: cells that ask for what an earlier one asks for, with that one's number.
        interrupted: whether Ctrl-C ended it before every cell had ended.
        cost: probes, steps, sample_steps and seconds that this run trained, tuning left out; seconds are each probe's
            own, of which several may pass at once.
        unused: what of it no result uses (`emc.results.unused`).
        seconds: wall time.
    """

    name: str
    cells: tuple[Cell, ...]
    varying: tuple[str, ...]
    results: Mapping[int, EmcResult]
    unfinished: Mapping[int, EmcResult]
    brackets: Mapping[int, Sequence[Bracket]]
    failures: Mapping[int, EmcError]
    same: Mapping[int, int]
    interrupted: bool
    cost: Mapping[str, float]
    unused: Mapping[str, float]
    seconds: float

    def state(self, number: int) -> CellState:
        """Where a cell is."""
        if number in self.failures:
            return CellState.FAILED
        if number in self.results:
            return CellState.CENSORED if self.results[number].censored else CellState.DONE
        started = number in self.unfinished and self.unfinished[number].probes
        return CellState.RUNNING if started else CellState.WAITING

    def counts(self) -> dict[CellState, int]:
        """Cells in each state."""
        found = dict.fromkeys(CellState, 0)
        for cell in self.cells:
            found[self.state(cell.number)] += 1
        return found

    def rows(self) -> list[tuple[str, str]]:
        """The totals a user reads, as (name, text) pairs."""
        counts = ", ".join(f"{count:,} {state.value}" for state, count in self.counts().items() if count)
        same = f" ({len(self.same):,} the same as another)" if self.same else ""
        return [
            ("sweep", self.name or "unnamed"),
            ("cells", f"{counts}{same}"),
            ("trained", f"{cost_text(self.cost)}{unused_text(self.unused)}"),
            ("wall time", f"{self.seconds:,.1f} s"),
        ]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Head and rows of the table of cells."""
        head = ["cell", *self.varying, "state", "parameters", "EMC", "interval", "says"]
        return head, [self._row(cell) for cell in self.cells]

    def _row(self, cell: Cell) -> list[str]:
        settings = [setting_text(cell.settings.get(name)) for name in self.varying]
        start = [str(cell.number), *settings, self.state(cell.number).value]
        if cell.number in self.failures:
            return [*start, "", "", "", " ".join(str(self.failures[cell.number]).split())]
        same = f", the same as cell {self.same[cell.number]}" if cell.number in self.same else ""
        if self.state(cell.number) is CellState.RUNNING:
            says = f"{Status.INTERRUPTED.key}: brackets {brackets_text(self.brackets[cell.number])}"
            return [*start, parameters_text(self.unfinished[cell.number].parameters), "", "", says + same]
        result = self.results.get(cell.number)
        if result is None:
            return [*start, "", "", "", ""]
        number = f"{'>= ' if result.censored else ''}{result.emc:,}"
        ends = "" if result.interval is None else f"{result.interval[0]:.5g} to {result.interval[1]:.5g}"
        return [*start, parameters_text(result.parameters), number, ends, result.status.key + same]

    def to_dict(self) -> dict[str, Any]:
        """The record that `--json` writes: a short summary of each cell, and the totals."""
        return {
            "kind": "sweep",
            "name": self.name,
            "interrupted": self.interrupted,
            "counts": {state.value: count for state, count in self.counts().items()},
            "cells": [self._record(cell) for cell in self.cells],
            "cost": dict(self.cost),
            "unused": dict(self.unused),
            "seconds": self.seconds,
        }

    def _record(self, cell: Cell) -> dict[str, Any]:
        number = cell.number
        record: dict[str, Any] = {"cell": number, "settings": dict(cell.settings), "state": self.state(number).value}
        if number in self.same:
            record["same_as"] = self.same[number]
        if number in self.failures:
            record["error"] = str(self.failures[number])
        if self.state(number) is CellState.RUNNING:
            record["brackets"] = [
                {"lower": lower, "upper": upper, "status": None if status is None else status.key}
                for lower, upper, status in self.brackets[number]
            ]
        result = self.results.get(number)
        if result is None:
            return record
        names = ("emc", "censored", "lower", "upper", *SIZES, "fingerprint")
        ends = None if result.interval is None else list(result.interval)
        numbers = {name: getattr(result, name) for name in names}
        return {**record, **numbers, "status": result.status.key, "interval": ends, "cost": dict(result.cost)}

    def to_json(self) -> str:
        """The record as JSON text; never NaN or infinity."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)


def sweep(
    source: str | os.PathLike[str] | Mapping[str, Any] | Sweep,
    *,
    journal: str | os.PathLike[str] | None = None,
    cells: Iterable[int] | None = None,
    observer: SweepObserver | None = None,
    **execution: Any,
) -> SweepResult:
    """Measure every cell of a sweep, all of them in one drive.

    A probe that several cells ask for is trained once. A cell that cannot be prepared, or whose training raises, is
    among the failures, and the others go on. With a journal, the same call continues after a crash. Cells whose
    learning rate is to be tuned are tuned first, one after the other.

    Args:
        source: a sweep file, or a mapping of the same form (`emc.sweeps.read_sweep`).
        journal: file that keeps every verdict and a record of each cell as it ends; None takes that of the sweep file,
            if it names one.
        cells: numbers of the cells to run; None runs all.
        observer: called about twice a second with a `SweepProgress`.
        execution: settings of `Execution` by name, such as device="cpu"; they beat those of the file.

    Raises:
        EmcError: a mistake in the sweep or the journal, or every cell failed to be prepared.

    >>> import emc
    >>> grid = {"model.width": [2, 3], "n_max": [16], "replicates": [1], "labels": ["random"]}
    >>> {number: result.emc for number, result in emc.sweep({"grid": grid}).results.items()}
    {1: 16, 2: 16}
    """
    found = source if isinstance(source, Sweep) else read_sweep(source)
    given = execution if journal is None else {**execution, "journal": os.fspath(journal)}
    how = Execution.from_dict({**found.execution, **given})
    return run_cells(found, choose_cells(found, cells), how, observer)


def choose_cells(sweep: Sweep, numbers: Iterable[int] | None) -> list[Cell]:
    """The cells of the numbers, all where none are given.

    Raises:
        SpecError: a number of no cell, or none at all.
    """
    if numbers is None:
        return list(sweep)
    numbers = sorted(set(numbers))
    for number in numbers:
        if not 1 <= number <= len(sweep):
            raise SpecError(f"cells are numbered from 1 to {len(sweep):,}, got {number}; name one of them")
    if not numbers:
        raise SpecError("a sweep runs at least one cell, got none; name one")
    return [sweep[number - 1] for number in numbers]


@dataclass(frozen=True)
class Bench:
    """Cells prepared.

    Attributes:
        prepared: one measurement for each fingerprint, by the number of its first cell.
        failures: cells that could not be prepared, by number.
        same: cells that ask for what an earlier one asks for, with that one's number.
    """

    prepared: dict[int, Prepared] = field(default_factory=dict)
    failures: dict[int, EmcError] = field(default_factory=dict)
    same: dict[int, int] = field(default_factory=dict)


def prepare_cells(
    cells: Sequence[Cell],
    execution: Execution,
    told: Callable[[Bench], None] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Bench:
    """Prepare cell after cell, sharing what they have in common.

    Args:
        cells: of a sweep.
        execution: where and how.
        told: called after each cell.
        stopping: whether to prepare no more; asked before each cell.

    Raises:
        EmcError: no cell at all can be prepared, or some would train with TF32 and others without, which PyTorch knows
            for the whole process only.
    """
    if len({bool(cell.settings.get("tf32")) for cell in cells}) > 1:
        raise SpecError("all cells of a run train with TF32 or all without, got both; make two sweeps")
    bench, stock = Bench(), Stock()
    first: dict[str, int] = {}
    for cell in cells:
        if stopping():
            break
        try:
            made = prepare(cell.measurement(), execution=execution, cell=cell.settings, stock=stock)
        except EmcError as error:
            bench.failures[cell.number] = error
        else:
            number = first.setdefault(made.fingerprint, cell.number)
            if number == cell.number:
                bench.prepared[number] = made
            else:
                bench.same[cell.number] = number
        told(bench)
    if bench.failures and not bench.prepared:
        number, reason = next(iter(bench.failures.items()))
        raise type(reason)(f"{reason} (no cell can be measured; this is cell {number})")
    return bench


def run_cells(
    sweep: Sweep, cells: Sequence[Cell], execution: Execution, observer: SweepObserver | None = None
) -> SweepResult:
    """Run some cells of a sweep; see `emc.sweep`."""
    started = time.perf_counter()
    watch = Watch(cells, observer)
    with stoppable() as stopping:
        bench = prepare_cells(cells, execution, watch.prepared, stopping)
        interrupted = _tune(bench, watch) or stopping()
        group = Group(list(bench.prepared.values()))
        watch.measure(bench, group)
        if interrupted or not bench.prepared:
            driven = Driven(interrupted, {})
        else:
            setups = {prepared.base: prepared.setup for prepared in bench.prepared.values()}
            driven = drive(setups, execution, group.searches, watch.observer, ended=watch.ended, lenient=True)
    return _conclude(sweep, cells, bench, group, driven, time.perf_counter() - started)


def _tune(bench: Bench, watch: Watch) -> bool:
    """Tune the cells that have a tuner, one after the other; whether Ctrl-C ended it."""
    for number, prepared in list(bench.prepared.items()):
        if prepared.measurement.tune is None:
            continue
        try:
            tuned = bench.prepared[number] = prepared.tuned(watch.tuning(number))
        except (JournalError, ClusterError):  # nor could the next cell be tuned
            raise
        except EmcError as error:
            bench.failures[number] = error
            del bench.prepared[number]
            with Journal(prepared.execution.journal) as journal:
                journal.note(failed_record(prepared.fingerprint, prepared.cell, error))
            continue
        if tuned.measurement.tune is not None:
            return True
    return False


def _conclude(
    sweep: Sweep, cells: Sequence[Cell], bench: Bench, group: Group, driven: Driven, seconds: float
) -> SweepResult:
    results: dict[int, EmcResult] = {}
    unfinished: dict[int, EmcResult] = {}
    brackets: dict[int, Sequence[Bracket]] = {}
    for place, number in enumerate(bench.prepared):
        if place in group.failures:
            bench.failures[number] = group.failures[place]
        elif place in group.concluded:
            results[number] = group.concluded[place]
        else:
            unfinished[number], brackets[number] = group.result(place, driven.versions), group.brackets(place)
    used = [probe for result in (*results.values(), *unfinished.values()) for probe in result.probes]
    for number, first in bench.same.items():
        for found in (results, unfinished, brackets, bench.failures):
            if first in found:
                found[number] = found[first]  # type: ignore[assignment]
    return SweepResult(
        name=sweep.name,
        cells=tuple(cells),
        varying=sweep.varying,
        results=dict(sorted(results.items())),
        unfinished=dict(sorted(unfinished.items())),
        brackets=dict(sorted(brackets.items())),
        failures=dict(sorted(bench.failures.items())),
        same=bench.same,
        interrupted=driven.interrupted,
        cost=cost(driven.trained),
        unused=driven.unused({probe.key: probe for probe in used}.values()),
        seconds=seconds,
    )


def setting_text(value: Any) -> str:
    """A setting's value as the file has it."""
    return str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value)
