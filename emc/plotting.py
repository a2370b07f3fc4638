"""Pictures of results: for each a data function, which is exact, and a drawing function. No torch."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emc.errors import OutputError, printable
from emc.files import replacing
from emc.results import EmcResult, ProbeResult, Verdict
from emc.specs import procedure_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from emc.curve_record import Curve

FORMATS = ("png", "pdf", "svg")


class Outcome(Enum):
    """What a point stands for; the value is its legend."""

    FITTED = "fitted"
    NOT_FITTED = "not fitted"
    UNDERTRAINED = "not fitted, undertrained"
    NO_EVIDENCE = "diverged or failed\n(no accuracy)"

    @classmethod
    def of(cls, probe: ProbeResult) -> Outcome:
        """The outcome of one probe."""
        if probe.verdict is Verdict.FITTED:
            return cls.FITTED
        if probe.verdict is not Verdict.NOT_FITTED:
            return cls.NO_EVIDENCE
        undertrained = probe.evidence is not None and probe.evidence.undertrained
        return cls.UNDERTRAINED if undertrained else cls.NOT_FITTED


@dataclass(frozen=True)
class Point:
    """One probe in the picture: n, training accuracy (correct / n), outcome and replicate."""

    n: int
    accuracy: float
    outcome: Outcome
    replicate: int


@dataclass(frozen=True)
class AccuracyData:
    """Training accuracy against n.

    Attributes:
        points: every probe, in the order of the result.
        emc: where the vertical line stands.
        censored: whether the EMC is only known to be at least that.
        interval: ends of the band; None where there is no interval.
        confidence: of the interval.
        title: procedure and task in one line.
    """

    points: tuple[Point, ...]
    emc: int
    censored: bool
    interval: tuple[float, float] | None
    confidence: float
    title: str


def accuracy_data(result: EmcResult) -> AccuracyData:
    """The numbers of the picture of accuracy against n."""
    points = tuple(
        Point(probe.n, probe.correct / probe.n, Outcome.of(probe), probe.replicate)
        for probe in result.probes
        if probe.trained
    )
    return AccuracyData(points, result.emc, result.censored, result.interval, result.confidence, _title(result))


def picture_format(path: str | Path) -> str:
    """The format a path's suffix asks for.

    Raises:
        OutputError: a suffix that no picture can have.
    """
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        known = ", ".join("." + name for name in FORMATS)
        raise OutputError(f'a picture ends in one of {known}, got "{path}"; change its suffix')
    return suffix


@dataclass(frozen=True)
class Dot:
    """What one size showed: n, the share and its interval, and whether any failure behind it is undertrained."""

    n: int
    share: float
    low: float
    high: float
    undertrained: bool


@dataclass(frozen=True)
class CurveData:
    """P(fit) and mean training accuracy against n.

    Attributes:
        fits: P(fit) of the draws at each size that has one, with Wilson intervals.
        accuracies: mean training accuracy there.
        fitted: (4, sizes) n, P(fit) and the ends of its band (nan where there is none) of the fitted curve.
        cover: (2, sizes) n and the probability by Cover's theorem; None where it says nothing.
        cover_band: (3, sizes) n and the ends of the band that holds whole curves of such draws.
        n50, censored, interval, confidence: as in `FittedCurve`.
        title: procedure and task in one line.
    """

    fits: tuple[Dot, ...]
    accuracies: tuple[Dot, ...]
    fitted: tuple[tuple[float, ...], ...] | None
    cover: tuple[tuple[float, ...], ...] | None
    cover_band: tuple[tuple[float, ...], ...] | None
    n50: float | None
    censored: bool
    interval: tuple[float, float] | None
    confidence: float
    title: str


def curve_data(curve: Curve) -> CurveData:
    """The numbers of the picture of a curve."""
    fits, accuracies = [], []
    for point in curve.points:
        weak = point.undertrained > 0
        if point.fit_share is not None:
            fits.append(Dot(point.n, point.fit_share, *(point.fit_interval or (0.0, 1.0)), weak))
        if point.accuracy is not None:
            ends = point.accuracy_interval or (point.accuracy, point.accuracy)
            accuracies.append(Dot(point.n, point.accuracy, *ends, weak))
    fitted = curve.fitted
    lines = None
    if fitted is not None:
        open_ = (math.nan,) * len(fitted.sizes)
        lines = (fitted.sizes, fitted.values, fitted.low or open_, fitted.high or open_)
    theorem = band = None
    if curve.cover is not None:
        regions = curve.cover.regions
        band = _columns((r.n, r.fewest / r.draws, r.most / r.draws) for r in regions)
        theorem = _columns(curve.cover.line())
    return CurveData(
        fits=tuple(fits),
        accuracies=tuple(accuracies),
        fitted=lines,
        cover=theorem,
        cover_band=band,
        n50=curve.n50,
        censored=fitted is not None and fitted.censored,
        interval=curve.interval,
        confidence=curve.confidence,
        title=_title(curve),
    )


def _columns(rows: Iterable[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(zip(*rows, strict=True))


def _title(result: EmcResult | Curve) -> str:
    what = result.procedure.get("model") or procedure_text(result.procedure)
    return f"{what} on {result.task['data']}, {result.task['labels']} labels"


def plot_result(result: EmcResult | Curve, path: str | Path) -> None:
    """Draw training accuracy, and of a curve P(fit), against n into a file, whole or not at all.

    Raises:
        OutputError: an unknown suffix, or the file cannot be written.
    """
    picture_format(path)
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        if isinstance(result, EmcResult):
            figure = Figure(figsize=(6.6, 3.7), layout="constrained")
            draw_accuracy(figure.subplots(), accuracy_data(result))
        else:
            figure = Figure(figsize=(6.6, 5.2), layout="constrained")
            draw_curve(figure.subplots(2, sharex=True, height_ratios=(3, 2)), curve_data(result))
        save_figure(figure, path)


def save_figure(figure: Figure, path: str | Path, dpi: int = 200) -> None:
    """Write a figure in the format of the path's suffix, whole or not at all, without what drew it and when.

    Args:
        figure: to write.
        path: of the file.
        dpi: dots an inch of a PNG.

    Raises:
        OutputError: an unknown suffix, or the file cannot be written.
    """
    kind = picture_format(path)
    unsigned: dict[str, dict[str, None]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=dpi, metadata=unsigned[kind])


STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.fontsize": 8,
    "text.parse_math": False,  # a path may hold dollar signs
    "svg.hashsalt": "emc",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}

#: Colours that colour-blind readers tell apart; markers differ too, so that grey print does.
#: M. Okabe and K. Ito (2008), Color Universal Design, https://jfly.uni-koeln.de/color/
OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}
GREY = "#6E6E6E"

#: Families of models in the order of legends, each with its colour in every picture; others are grey.
FAMILY_COLOURS = {
    "mlp": OKABE_ITO["blue"],
    "cnn": OKABE_ITO["vermillion"],
    "vit": OKABE_ITO["green"],
    "mixer": OKABE_ITO["purple"],
    "resnet": OKABE_ITO["orange"],
    "linear": OKABE_ITO["black"],
    "efficientnet": OKABE_ITO["sky"],
    "resnet_rs": GREY,
}
_BLUE, _VERMILLION, _GREEN = OKABE_ITO["blue"], OKABE_ITO["vermillion"], OKABE_ITO["green"]
_MARKERS: dict[Outcome, dict[str, Any]] = {
    Outcome.FITTED: {"marker": "o", "facecolors": _BLUE, "edgecolors": "white", "linewidths": 0.5, "s": 30},
    Outcome.NOT_FITTED: {"marker": "v", "facecolors": _VERMILLION, "edgecolors": "white", "linewidths": 0.5, "s": 34},
    Outcome.UNDERTRAINED: {"marker": "v", "facecolors": "none", "edgecolors": _VERMILLION, "linewidths": 1.1, "s": 28},
    Outcome.NO_EVIDENCE: {"marker": "x", "color": "black", "linewidths": 1.1, "s": 26, "clip_on": False},
}


def draw_accuracy(axes: Axes, data: AccuracyData) -> None:
    """Draw training accuracy against n on a log axis, with the EMC as a line and its interval as a band."""
    floor, top = _accuracy_range(data)
    axes.set_ylim(floor, top)
    _draw_emc(axes, data)
    for outcome, look in _MARKERS.items():
        points = [point for point in data.points if point.outcome is outcome]
        if points:
            # A diverged training has no accuracy worth a place on the axis, so its cross stands at the foot.
            heights = [floor if outcome is Outcome.NO_EVIDENCE else point.accuracy for point in points]
            axes.scatter([point.n for point in points], heights, label=outcome.value, zorder=3, **look)
    _set_size_axis(axes, [point.n for point in data.points] + [data.emc, *(data.interval or ())])
    axes.set_ylabel("training accuracy")
    axes.set_title(textwrap.fill(printable(data.title), 72), loc="left", parse_math=False)
    # Beside the axes, where no probe can be hidden.
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _accuracy_range(data: AccuracyData) -> tuple[float, float]:
    seen = [point.accuracy for point in data.points if point.outcome is not Outcome.NO_EVIDENCE]
    span = max(1 - min(seen, default=1.0), 0.05)
    return 1 - 1.12 * span, 1 + 0.08 * span


def _draw_emc(axes: Axes, data: AccuracyData) -> None:
    sign, stroke = ("\N{GREATER-THAN OR EQUAL TO}", "--") if data.censored else ("=", "-")
    if data.interval is not None:
        text = f"{100 * data.confidence:.4g} % interval"
        axes.axvspan(*data.interval, color=_GREEN, alpha=0.18, linewidth=0, label=text, zorder=1)
    if data.emc > 0:
        axes.axvline(
            data.emc, color=_GREEN, linewidth=1.4, linestyle=stroke, label=f"EMC {sign} {data.emc:,}", zorder=2
        )


def draw_curve(axes: Sequence[Axes], data: CurveData) -> None:
    """Draw P(fit) on the first axes and mean training accuracy on the second, both against n on a log axis."""
    shares, accuracies = axes
    if data.cover is not None and data.cover_band is not None:
        shares.plot(*data.cover, "--", color="black", linewidth=1.2, label="Cover's theorem", zorder=3)
        n, low, high = data.cover_band
        text = f"{100 * data.confidence:.4g} % of its curves,\nall sizes at once"
        shares.fill_between(n, low, high, color="black", alpha=0.1, linewidth=0, label=text, zorder=0)
    if data.fitted is not None:
        n, values, low, high = data.fitted
        shares.plot(n, values, color=_BLUE, linewidth=1.2, label="fitted curve", zorder=2)
        shares.fill_between(n, low, high, color=_BLUE, alpha=0.18, linewidth=0, zorder=1)
    _draw_half(shares, data)
    _draw_dots(shares, data.fits, f"share of draws, {100 * data.confidence:.4g} % interval")
    _draw_dots(accuracies, data.accuracies, "")
    _set_size_axis(accuracies, [dot.n for dot in data.fits] + list(data.interval or ()))
    shares.set_ylim(-0.04, 1.04)
    shares.set_ylabel("P(fit)")
    shares.tick_params(labelbottom=False)
    accuracies.set_ylabel("mean training accuracy")
    shares.set_title(textwrap.fill(printable(data.title), 72), loc="left", parse_math=False)
    if shares.get_legend_handles_labels()[0]:
        shares.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    shares.set_xlabel("")


def _draw_half(axes: Axes, data: CurveData) -> None:
    if data.n50 is None:
        return
    sign, stroke = ("\N{GREATER-THAN OR EQUAL TO}", "--") if data.censored else ("=", "-")
    if data.interval is not None:
        text = f"{100 * data.confidence:.4g} % interval"
        axes.axvspan(*data.interval, color=_GREEN, alpha=0.18, linewidth=0, label=text, zorder=1)
    label = f"EMC (n50) {sign} {data.n50:.4g}"
    axes.axvline(data.n50, color=_GREEN, linewidth=1.4, linestyle=stroke, label=label, zorder=2)


def _draw_dots(axes: Axes, dots: Sequence[Dot], label: str) -> None:
    """Dots with their intervals, hollow where a failure behind them is undertrained."""
    for weak, suffix in ((False, ""), (True, ",\nwith undertrained failures")):
        kept = [dot for dot in dots if dot.undertrained is weak]
        if not kept:
            continue
        reach = [[dot.share - dot.low for dot in kept], [dot.high - dot.share for dot in kept]]
        axes.errorbar(
            [dot.n for dot in kept],
            [dot.share for dot in kept],
            [[max(part, 0.0) for part in side] for side in reach],
            fmt="o",
            color=_VERMILLION,
            markerfacecolor="white" if weak else _VERMILLION,
            markersize=4.5,
            linewidth=1.0,
            label=label + suffix if label else None,
            zorder=4,
        )


def _set_size_axis(axes: Axes, sizes: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    low, high = min(filter(None, sizes), default=1), max(sizes, default=1)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.15, high * 1.15)
    axes.set_xticks(readable_ticks(low / 1.15, high * 1.15))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("samples n")


def readable_ticks(low: float, high: float) -> list[int]:
    """Round whole numbers between two sizes for a log axis, between three and nine of them where that is possible.

    >>> readable_ticks(14, 1200)
    [20, 50, 100, 200, 500, 1000]
    >>> readable_ticks(29, 55)
    [30, 40, 50]
    """
    decades = range(math.floor(math.log10(max(low, 1))), math.ceil(math.log10(high)) + 1)
    ticks: list[int] = []
    for steps in ((1,), (1, 2, 5), range(1, 10)):
        ticks = [step * 10**decade for decade in decades for step in steps if low <= step * 10**decade <= high]
        if len(ticks) >= 3:
            return ticks
    first, last = math.ceil(low), math.floor(high)
    stride = max((last - first) // 5, 1)
    return list(range(first, last + 1, stride)) if last - first < 10 * stride else ticks
