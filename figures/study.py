"""What a study is: the cells it asks for, what a journal holds of them, and a picture of that."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emc.curve_record import Curve
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
        missing: cells that the journal has no result of.
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
        draw: the picture of a table.
        caption: of the picture, in one sentence or two.
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
    by_identity = {_identity(recorded.cells[r.fingerprint]): r for r in recorded.results}
    asked = list(cells(study, scale))
    found = [(cell, by_identity.get(_identity(cell))) for cell in asked]
    curves = {
        _curve_identity(recorded.cells[c.fingerprint], [p.n for p in c.points], c.draws): c for c in recorded.curves
    }
    wanted = []
    for given in study.curves(scale):
        sizes, draws = given["sizes"], given["draws"]
        settings = {name: value for name, value in given.items() if name not in ("sizes", "draws")}
        curve = curves.get(_curve_identity(settings, sizes, draws))
        if curve is not None:
            wanted.append((given, curve))
    return Taken(
        scale,
        tuple((cell, result) for cell, result in found if result is not None),
        tuple(wanted),
        tuple(cell for cell, result in found if result is None),
        recorded,
    )


def _identity(cell: Cell) -> str:
    """A cell's measurement with every option written out: equal for cells that ask for the same in other words."""
    measurement = resolve_names(Measurement.from_flat(join_options(cell)), own_model=False, own_data=False)
    return json.dumps(measurement.to_dict(), sort_keys=True)


def _curve_identity(settings: Cell, sizes: Sequence[int], draws: int) -> tuple[str, tuple[int, ...], int]:
    return _identity(settings), tuple(sorted(sizes)), draws
