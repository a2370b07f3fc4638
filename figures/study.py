"""What a study is: the cells it asks for, what a journal holds of them, and a picture of that."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from emc.curve_record import Curve
from emc.errors import EmcError
from emc.recorded import Recorded
from emc.resolve import resolve_names
from emc.results import EmcResult
from emc.specs import Measurement
from emc.sweeps import join_options, read_sweep
from figures.scales import Scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Cell = Mapping[str, Any]


@dataclass(frozen=True)
class Taken:
    """What a journal holds of a study's cells.

    Attributes:
        scale: of the study.
        results: each cell with its result, in the study's order.
        curves: each curve's settings with the curve.
        missing: cells and curves that the journal has no result of.
        recorded: all that the journal holds, for studies of other studies' cells.
    """

    scale: Scale
    results: tuple[tuple[Cell, EmcResult], ...]
    curves: tuple[tuple[Cell, Curve], ...]
    missing: tuple[Cell, ...]
    recorded: Recorded


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes:
        name: of its files.
        asks: the question, in one line.
        sweeps: of a scale, as `emc.sweep` takes them.
        table: the numbers of the picture, one row a mark; exact.
        draw: the picture of a table that has rows.
        caption: what the picture shows, in one sentence or two; `settings_text` adds what was measured.
        curves: of a scale, as `emc.curve` takes them.
    """

    name: str
    asks: str
    sweeps: Callable[[Scale], Sequence[Mapping[str, Any]]]
    table: Callable[[Taken], pd.DataFrame]
    draw: Callable[[Figure, pd.DataFrame], None]
    caption: str
    curves: Callable[[Scale], Sequence[Cell]] = lambda _: ()


def cells(study: Study, scale: Scale) -> Iterator[Cell]:
    """The settings of every cell of a study's sweeps."""
    for sweep in study.sweeps(scale):
        for cell in read_sweep(sweep):
            yield cell.settings


def take(study: Study, scale: Scale, recorded: Recorded) -> Taken:
    """What a journal holds of a study."""
    by_identity = {_recorded_identity(recorded.cells[r.fingerprint]): r for r in recorded.results}
    asked = list(cells(study, scale))
    found = [(cell, by_identity.get(identity(cell))) for cell in asked]
    curves = {
        (_recorded_identity(recorded.cells[c.fingerprint]), tuple(sorted(p.n for p in c.points)), c.draws): c
        for c in recorded.curves
    }
    drawn = [(given, curves.get(curve_key(given))) for given in study.curves(scale)]
    return Taken(
        scale,
        tuple((cell, result) for cell, result in found if result is not None),
        tuple((given, curve) for given, curve in drawn if curve is not None),
        tuple(cell for cell, result in (*found, *drawn) if result is None),
        recorded,
    )


def settings_text(taken: Taken) -> str:
    """What the results of a study were measured with: data, replicates, budgets, batches, machine's kind."""
    known: list[EmcResult | Curve] = [result for _, result in taken.results]
    known += [curve for _, curve in taken.curves]
    if not known:
        return ""
    data = _several(f"{one.task['data'].partition(':')[0]} ({one.dataset['rows']:,} rows)" for one in known)
    optimizers = _several(one.procedure["optimizer"].partition(":")[0] for one in known)
    batches = _several(f"{one.procedure['batch_size']:,}" for one in known)
    steps = _several(f"{one.procedure['min_steps']:,}" for one in known)
    counts = _several(str(len(result.replicates)) for _, result in taken.results)
    replicates = f"{counts} replicates, " if counts else ""
    device = _several(str(one.versions.get("device")) for one in known)
    return (
        f"Data: {data}. {replicates}optimizer {optimizers}, batches of up to {batches} samples, at least {steps} steps "
        f"allowed, {device}."
    )


def _several(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def identity(cell: Cell) -> str:
    """A cell's measurement with every option written out: equal for cells that ask for the same in other words."""
    return _resolved(json.dumps(cell, sort_keys=True))


@cache
def _resolved(text: str) -> str:
    cell = join_options(json.loads(text))
    measurement = resolve_names(Measurement.from_flat(cell), own_model=False, own_data=False)
    return json.dumps(measurement.to_dict(), sort_keys=True)


def _recorded_identity(cell: Cell) -> str | None:
    """That of a journal's cell; None where no study can ask for it, as of a model of somebody's own file."""
    try:
        return identity(cell)
    except EmcError:
        return None


def curve_key(given: Cell) -> tuple[str, tuple[int, ...], int]:
    """What a curve is known by: its settings, sizes and draws."""
    settings = {name: value for name, value in given.items() if name not in ("sizes", "draws")}
    return identity(settings), tuple(sorted(given["sizes"])), given["draws"]
