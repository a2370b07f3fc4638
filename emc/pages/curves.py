"""The page's section of curves: one table, each row opening to its pictures and sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from emc.curve_record import Curve, CurvePoint
from emc.pages.parts import AT_LEAST, Cell, Column, Detail, Figure, Section, Source, Table, number, ticks
from emc.pages.settings import setting_cells, settings_of, shortened, telling
from emc.plotting import Dot, curve_data

_OUTCOME = (
    Column("parameters", True),
    Column("EMC (n50)", True),
    Column("interval from", True),
    Column("interval to", True),
    Column("sizes", True),
    Column("draws", True),
    Column("probes", True),
    Column("steps", True),
    Column("seconds", True),
    Column("fingerprint"),
)

#: So few curves are open at first.
OPENED = 5

_CAPTION = (
    "Share of draws that fit, and their mean training accuracy, against the number of samples. Hollow points have "
    "failures that may be a lack of training. The blue band belongs to the fitted curve, the green one to n50."
)
_COVER = " The dashed line is Cover's theorem, the grey band holds its curves."


def curves(found: Sequence[Curve]) -> Section:
    """All curves."""
    rows = [settings_of(curve) for curve in found]
    names = telling(rows)
    always = [name for name in ("model", "data") if name not in names]
    names = [*always, *names]
    # A plug-in that all share stands there with its options, unless one of them differs and has its own column.
    bare = [name for name in always if any(other.startswith(f"{name}.") for other in names)]
    cells = [
        setting_cells(row | {name: full[name] for name in always if name in full and name not in bare}, names)
        for row, full in zip(shortened(rows), rows, strict=True)
    ]
    lines = [
        (number(place + 1), *own, *_outcome(curve)) for place, (own, curve) in enumerate(zip(cells, found, strict=True))
    ]
    heads = [Column("no.", True), *map(Column, names), *_OUTCOME]
    sources = {f"curve{place}": source(curve) for place, curve in enumerate(found)}
    details = [_detail(curve, place, name) for place, (curve, name) in enumerate(zip(found, sources, strict=True), 1)]
    table = Table("Curves of P(fit)", heads, lines, details, opened=len(found) <= OPENED)
    return Section("curves", "Curves", (), (), [table], sources)


def _outcome(curve: Curve) -> tuple[Cell, ...]:
    low, high = curve.interval or (None, None)
    censored = curve.fitted is not None and curve.fitted.censored
    return (
        number(curve.parameters),
        number(curve.n50, ",.4g", AT_LEAST if censored else ""),
        number(low, ",.4g"),
        number(high, ",.4g"),
        number(len(curve.points)),
        number(curve.draws),
        number(curve.cost["probes"], ",.0f"),
        number(curve.cost["steps"], ",.0f"),
        number(curve.cost["seconds"], ",.1f"),
        Cell(curve.fingerprint),
    )


def _detail(curve: Curve, place: int, name: str) -> Detail:
    sizes = {f"{point.n:,}" for point in curve.points} | {"n"}
    facts = [(key, text) for key, text in curve.rows() if key not in sizes]  # the sizes have a table of their own
    caption = _CAPTION + (_COVER if curve.cover is not None else "")
    return Detail(f"Curve {place}: n50 {curve.rows()[0][1]}", facts, [Figure("curve", name, caption)], [_sizes(curve)])


def _sizes(curve: Curve) -> Table:
    heads = ("n", "fitted", "not fitted", "undertrained", "diverged", "P(fit)", "from", "to", "accuracy", "from", "to")
    rows = [_size(point) for point in curve.points]
    return Table("Sizes", [Column(head, True) for head in heads], rows, sortable=False)


def _size(point: CurvePoint) -> tuple[Cell, ...]:
    fit, accuracy = point.fit_interval or (None, None), point.accuracy_interval or (None, None)
    counts = (point.n, point.fits, point.failures, point.undertrained, point.diverged)
    shares = (point.fit_share, *fit, point.accuracy, *accuracy)
    return (*map(number, counts), *(number(share, ".4f") for share in shares))


def source(curve: Curve) -> Source:
    """The numbers behind a curve's figure, those of `emc.plotting`."""
    data = curve_data(curve)
    emc = [] if data.n50 is None else [(data.n50, "lower bound" if data.censored else "measured")]
    lines = [] if data.fitted is None else list(zip(*data.fitted, strict=True))
    sizes = [dot.n for dot in (*data.fits, *data.accuracies)]
    return Source(
        {
            "shares": (_DOT, _dots(data.fits)),
            "accuracies": (_DOT, _dots(data.accuracies)),
            "fitted": (("n", "share"), [line[:2] for line in lines]),
            "band": (("n", "low", "high"), [(n, low, high) for n, _, low, high in lines if not math.isnan(low)]),
            "cover": (("n", "share"), list(zip(*data.cover, strict=True)) if data.cover else []),
            "region": (("n", "low", "high"), list(zip(*data.cover_band, strict=True)) if data.cover_band else []),
            "emc": (("emc", "kind"), emc),
            "interval": (("low", "high"), [data.interval] if data.interval else []),
        },
        ticks(n=[*sizes, *(data.interval or ())]),
    )


_DOT = ("n", "share", "low", "high", "failures")


def _dots(dots: Iterable[Dot]) -> list[tuple[object, ...]]:
    told = {True: "some failures undertrained", False: "all failures trained to their end"}
    return [(dot.n, dot.share, dot.low, dot.high, told[dot.undertrained]) for dot in dots]
