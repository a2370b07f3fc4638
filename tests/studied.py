"""Results of studies' cells made by hand, and what drawn pictures hold."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from emc.recorded import Recorded
from emc.resolve import resolve_names
from emc.results import EmcResult, ProbeResult, Replicate, Status, Verdict, cost
from emc.specs import Measurement, digest
from emc.stats.intervals import interval, median
from emc.sweeps import join_options
from figures.scales import SCALES, Scale
from figures.study import Study, Taken, cells, take

PAPERS = (
    "datasets", "labels", "classes", "generalisation", "architectures", "scaling", "activations", "optimizers",
    "regularisers", "reparameterisation",
)  # fmt: skip
CPU = SCALES["cpu"]
Cell = Mapping[str, Any]


def study_of(name: str) -> Study:
    study: Study = importlib.import_module(f"figures.{name}").STUDY
    return study


def made(
    cell: Cell,
    lowers: Sequence[int],
    status: Status = Status.BRACKETED,
    *,
    statuses: Mapping[int, Status] | None = None,
    parameters: int = 400,
    tested: float | None = None,
) -> EmcResult:
    """A result of a cell whose replicates end at `lowers`, all by one status but those named by number."""
    measurement = resolve_names(Measurement.from_flat(join_options(cell)), own_model=False, own_data=False)
    replicates = [
        Replicate(r, n, None if kind is Status.CENSORED_ABOVE else n + 5, kind)
        for r, n in enumerate(lowers)
        for kind in [(statuses or {}).get(r, status)]
    ]
    middle, ends = median(replicates), interval(replicates, 0.95)
    detail = {} if tested is None else {"test_rows": 1000, "test_correct": round(1000 * tested)}
    probes = tuple(
        ProbeResult(digest([dict(cell), r.replicate]), r.lower, r.replicate, 0, Verdict.FITTED, None, r.lower,
                    steps=100, seconds=0.5, detail=detail)
        for r in replicates
    )  # fmt: skip
    return EmcResult(
        emc=middle.emc, censored=middle.censored, status=middle.status, lower=middle.emc, upper=middle.upper,
        interval=ends.ends, interval_method=ends.method, confidence=0.95, estimand="n50",
        replicates=tuple(replicates), parameters=parameters, bits_per_parameter=middle.emc / parameters,
        task=measurement.task.to_dict(), procedure=measurement.procedure.to_dict(),
        search=measurement.search.to_dict(), seed=0, fingerprint=digest(dict(cell)), probes=probes,
        dataset={"name": "made", "rows": 3000, "content_hash": "abc"}, cost=cost(probes),
        versions={"results": 4, "device": "cpu"}, stored=parameters, bits=32 * parameters,
        bits_per_bit=middle.emc / parameters / 32,
    )  # fmt: skip


def spread(middle: int) -> list[int]:
    """Ten replicates around a number, whose lower median it is."""
    return [middle + step for step in (-9, -7, -5, -3, 0, 2, 4, 6, 8, 10)]


def taken_of(name: str, make: Callable[[int, Cell], EmcResult | None] | None = None, scale: Scale = CPU) -> Taken:
    """A study of which a journal holds what `make` gives for each cell by its place."""
    study = study_of(name)
    give = make or (lambda place, cell: made(cell, spread(60 + 10 * place), parameters=_parameters(place, cell)))
    found = {}
    for place, cell in enumerate(cells(study, scale)):
        result = give(place, cell)
        if result is not None:
            found[result.fingerprint] = (cell, result)
    recorded = Recorded(
        tuple(result for _, result in found.values()), (), {key: cell for key, (cell, _) in found.items()}, {}
    )
    return take(study, scale, recorded)


def _parameters(place: int, cell: Cell) -> int:
    return int(cell.get("match_parameters", 200 + 50 * (place % 5)))


def marks(axes: Iterable[Axes]) -> list[Line2D]:
    """The single marks of a picture, which stand above its lines."""
    return [line for one in axes for line in one.lines if line.get_zorder() == 4]


def places(lines: Iterable[Line2D]) -> list[tuple[float, float]]:
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]  # type: ignore[index]


def arrows(axes: Iterable[Axes], style: str = "<-") -> list[Annotation]:
    """Arrows from marks; those of style "-" are the dotted ends of intervals."""
    return [
        text
        for one in axes
        for text in one.texts
        if isinstance(text, Annotation) and text.arrowprops and text.arrowprops["arrowstyle"] == style
    ]


def hollow(lines: Iterable[Line2D]) -> list[Line2D]:
    return [line for line in lines if line.get_markerfacecolor() == "white"]


def drawn(study: Study, table: Any) -> Figure:
    figure = Figure()
    study.draw(figure, table)
    return figure
