"""The page's section of curves: one table, each row opening to its pictures and sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emc.curve_record import Curve, CurvePoint
from emc.pages.parts import AT_LEAST, Cell, Column, Detail, Figure, Section, Source, Table, number
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

_CAPTION = (
    "Share of draws that fit, and their mean training accuracy, against the number of samples. Hollow points have "
    "failures that may be a lack of training. The blue band belongs to the fitted curve, the green one to n50."
)
_COVER = " The dashed line is Cover's theorem, the grey band holds its curves."


def curves(found: Sequence[Curve]) -> Section:
    """All curves."""
    rows = [settings_of(curve) for curve in found]
    names = telling(rows)
    cells = [setting_cells(row, names) for row in shortened(rows)]
    lines = [
        (number(place + 1), *own, *_outcome(curve)) for place, (own, curve) in enumerate(zip(cells, found, strict=True))
    ]
    heads = [Column("curve", True), *map(Column, names), *_OUTCOME]
    sources = {f"curve{place}": source(curve) for place, curve in enumerate(found)}
    details = [_detail(curve, name) for curve, name in zip(found, sources, strict=True)]
    return Section("curves", "Curves", (), (), [Table("Curves of P(fit)", heads, lines, details)], sources)


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


def _detail(curve: Curve, name: str) -> Detail:
    sizes = {f"{point.n:,}" for point in curve.points} | {"n"}
    facts = [(key, text) for key, text in curve.rows() if key not in sizes]  # the sizes have a table of their own
    caption = _CAPTION + (_COVER if curve.cover is not None else "")
    return Detail(f"n50 {curve.rows()[0][1]}", facts, [Figure("curve", name, caption)], [_sizes(curve)])


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
    low, high = data.interval or (None, None)
    emc = [] if data.n50 is None else [(data.n50, low, high, "lower bound" if data.censored else "measured")]
    lines = () if data.fitted is None else zip(*data.fitted, strict=True)
    return Source(
        {
            "shares": (_DOT, _dots(data.fits)),
            "accuracies": (_DOT, _dots(data.accuracies)),
            "fitted": (("n", "share", "low", "high"), [tuple(map(_finite, line)) for line in lines]),
            "cover": (("n", "share"), list(zip(*data.cover, strict=True)) if data.cover else []),
            "region": (("n", "low", "high"), list(zip(*data.cover_band, strict=True)) if data.cover_band else []),
            "emc": (("emc", "low", "high", "kind"), emc),
        }
    )


_DOT = ("n", "share", "low", "high", "failures")


def _dots(dots: Iterable[Dot]) -> list[tuple[object, ...]]:
    told = {True: "some failures undertrained", False: "all failures trained to their end"}
    return [(dot.n, dot.share, dot.low, dot.high, told[dot.undertrained]) for dot in dots]


def _finite(value: float) -> float | None:
    return None if value != value else value
