"""What all pictures share: sizes, fonts, colours, and how a mark is drawn. A picture is drawn inside `applied()`."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from emc.plotting import OKABE_ITO, STYLE, readable_ticks, save_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MM = 1 / 25.4

#: Width of a mark with its edge.
MARK_POINTS = 5.4

#: Widths of a journal's columns, in inches.
ONE_COLUMN, TWO_COLUMNS = 89 * MM, 183 * MM

#: Beside what all of emc's pictures have; points.
JOURNAL: dict[str, Any] = STYLE | {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "axes.axisbelow": True,
}

GREY = "#6E6E6E"
ONE_A_PARAMETER = "one sample a parameter"
#: What the marks of `draw_mark` say, for the captions of pictures that have them.
MARKS = (
    "Marks are the median over replicates with its 95 % interval; an arrow leads from a lower bound, a hollow mark is "
    "one since training may have ended too soon, and a dotted end is one that lower bounds among the replicates leave "
    "open. Marks that would hide one another stand beside each other; the table has their places."
)
#: What the marks of `draw_ratio` say.
RATIOS = (
    "Hodges-Lehmann ratios paired by replicate with 95 % intervals, as if lower bounds were EMCs; dotted as far as "
    "lower bounds may move the interval, cut at the axes, with an arrow where nothing ends it"
)
AT_LEAST = "\N{GREATER-THAN OR EQUAL TO}"


@dataclass(frozen=True)
class Look:
    """How a kind of thing is drawn in every picture.

    Attributes:
        text: its name for a reader.
        colour: of mark and line.
        marker: of matplotlib's.
        edge: colour of the mark's edge and of its bar, where it is another one.
    """

    text: str
    colour: str
    marker: str
    edge: str | None = None


FAMILIES = {
    "mlp": Look("MLP", OKABE_ITO["blue"], "o"),
    "cnn": Look("CNN", OKABE_ITO["vermillion"], "s"),
    "vit": Look("ViT", OKABE_ITO["green"], "^"),
    "mixer": Look("Mixer", OKABE_ITO["purple"], "D"),
    "resnet": Look("ResNet", OKABE_ITO["orange"], "v"),
    "linear": Look("linear", OKABE_ITO["black"], "X"),
    "efficientnet": Look("EfficientNet", OKABE_ITO["sky"], "P"),
    "resnet_rs": Look("ResNet-RS", GREY, "p"),
}

#: Line of each regime of labels and inputs.
LINES = {
    ("semantic", "natural"): "-",
    ("random", "natural"): (0, (4, 1.5)),
    ("semantic", "gaussian"): (0, (1, 1)),
    ("semantic", "permuted"): (0, (5, 1, 1, 1)),
}
NATURAL = ("semantic", "natural")
#: How marks are filled: whole, with a tint, or one half.
Fill = Literal["full", "tint", "left", "bottom"]
FILLS: dict[tuple[str, str], Fill] = {
    ("semantic", "natural"): "full",
    ("random", "natural"): "tint",
    ("semantic", "gaussian"): "left",
    ("semantic", "permuted"): "bottom",
}
REGIMES = {
    ("semantic", "natural"): "semantic labels",
    ("random", "natural"): "random labels",
    ("semantic", "gaussian"): "noise inputs",
    ("semantic", "permuted"): "permuted inputs",
}


def applied() -> AbstractContextManager[None]:
    """Matplotlib's settings for all that is drawn and saved inside."""
    import matplotlib

    return matplotlib.rc_context(cast(Any, JOURNAL))


def family(model: str) -> Look:
    """Look of a model's family; one that is not in the table is grey and keeps its name."""
    name = model.partition(":")[0]
    return FAMILIES.get(name, Look(name, GREY, "h"))


def shade(colour: str, place: int, count: int) -> str:
    """A colour from light to dark: of the things that share it, this one is at that place."""
    from matplotlib.colors import to_hex, to_rgb

    if count == 1:
        return colour
    if place < count / 2:
        return to_hex(tint(colour, 0.55 + 0.45 * 2 * place / (count - 1)))
    dark = 2 * place / (count - 1) - 1
    red, green, blue = (part * (1 - 0.65 * dark) for part in to_rgb(colour))
    return to_hex((red, green, blue))


def tint(colour: str, share: float = 0.35) -> tuple[float, float, float]:
    """A colour mixed with white, of which `1 - share`."""
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def pale(colour: str) -> str:
    """A colour for what is shown but not counted."""
    from matplotlib.colors import to_hex

    return to_hex(tint(colour, 0.45))


def panels(
    figure: Figure, columns: int, rows: int = 1, *, height_mm: float = 65, width: float = TWO_COLUMNS, **options: Any
) -> list[Axes]:
    """Axes of a figure of one or two columns' width, row by row; options are those of `Figure.subplots`."""
    figure.set_layout_engine("constrained", w_pad=MM, h_pad=MM)
    figure.set_size_inches(width, height_mm * MM)
    return [axes for row in figure.subplots(rows, columns, squeeze=False, **options) for axes in row]


def draw_mark(
    axes: Axes, at: float, row: Mapping[str, Any], look: Look, *, upright: bool = True, fill: Fill = "full"
) -> None:
    """Draw one EMC with its interval.

    The bar is the interval; an end that censored replicates leave open is a dotted line without a head. The mark is
    hollow where the EMC is a bound since training ended too soon; an arrow leads from an EMC that is a lower bound for
    whatever reason; an EMC of 0 has no place on a log axis and stands at its foot, arrow down.

    Args:
        axes: where.
        at: place on the other axis.
        row: columns of `figures.tables.MARK_COLUMNS`: `emc`, `interval_low` and `interval_high` (nan where there is
            none), `censored`, `status`.
        look: colour and marker.
        upright: whether the EMC is on the y axis.
        fill: of a mark that is not hollow.
    """
    emc = float(row["emc"])
    hollow = row["status"] == "undertrained"
    mark = _mark(look, "white") if hollow else _mark(look, look.colour) | filled(look.colour, fill)
    if emc <= 0:
        foot = axes.get_xaxis_transform() if upright else axes.get_yaxis_transform()
        axes.plot(*((at, 0) if upright else (0, at)), transform=foot, clip_on=False, **mark)
        _draw_arrow(axes, (at, 0) if upright else (0, at), look.colour, upright, -1, "axes fraction")
        return
    low, high = (float(row[name]) for name in ("interval_low", "interval_high"))
    edge = look.edge or look.colour
    _draw_bar(axes, at, (emc if math.isnan(low) else low, high if math.isfinite(high) else emc), edge, upright)
    axes.plot(*((at, emc) if upright else (emc, at)), **mark)
    if row["censored"]:
        _draw_arrow(axes, (at, emc) if upright else (emc, at), edge, upright, 1)
    elif math.isinf(high):
        _draw_arrow(axes, (at, emc) if upright else (emc, at), edge, upright, 1, headed=False, dotted=True)


def draw_ratio(
    axes: Axes, at: float, row: Mapping[str, Any], look: Look, *, upright: bool = True, fill: Fill = "full"
) -> None:
    """Draw a ratio with its interval; dotted as far as censoring may move it, with an arrow where that has no end.

    Args:
        axes: where.
        at: place on the other axis.
        row: columns of `figures.tables.RATIO_COLUMNS`; nothing is drawn where there is no ratio above 0.
        look: colour and marker.
        upright: whether the ratio is on the y axis.
        fill: of the mark.
    """
    value = float(row["ratio"])
    if not value > 0:
        return
    bar = float(row["ratio_bar_low"]), float(row["ratio_bar_high"])
    bar = bar[0] if bar[0] > 0 else value, bar[1] if math.isfinite(bar[1]) else value
    _draw_bar(axes, at, bar, look.colour, upright)
    low, high = float(row["ratio_low"]), float(row["ratio_high"])
    for end, solid, direction, endless in ((low, bar[0], -1, low <= 0), (high, bar[1], 1, math.isinf(high))):
        if endless:
            _draw_arrow(axes, (at, solid) if upright else (solid, at), look.colour, upright, direction, dotted=True)
        else:
            ends = (end, solid) if direction < 0 else (solid, end)
            _draw_bar(axes, at, ends, look.colour, upright, dotted=True)
    mark = _mark(look, look.colour) | filled(look.colour, fill)
    axes.plot(*((at, value) if upright else (value, at)), **mark)


def filled(colour: str, fill: Fill) -> dict[str, Any]:
    """Matplotlib's options of a mark's inside."""
    if fill in ("left", "bottom"):
        return {"fillstyle": fill, "markerfacecolor": colour, "markerfacecoloralt": tint(colour, 0.12)}
    return {"markerfacecolor": tint(colour) if fill == "tint" else colour}


def _mark(look: Look, face: Any) -> dict[str, Any]:
    return {
        "marker": look.marker,
        "markersize": 4.5 if look.edge is None else 6,
        "markerfacecolor": face,
        "markeredgecolor": look.edge or look.colour,
        "markeredgewidth": 0.9,
        "linestyle": "none",
        "zorder": 4,
    }


def _draw_bar(
    axes: Axes, at: float, ends: tuple[float, float], colour: str, upright: bool, *, dotted: bool = False
) -> None:
    if ends[0] < ends[1]:
        bar: dict[str, Any] = {"color": colour, "linewidth": 0.9, "zorder": 3, "solid_capstyle": "butt"}
        bar |= {"linestyle": ":"} if dotted else {}
        axes.plot(*(([at, at], ends) if upright else (ends, [at, at])), **bar)


def _draw_arrow(
    axes: Axes,
    foot: tuple[float, float],
    colour: str,
    upright: bool,
    direction: int,
    other: str = "data",
    *,
    headed: bool = True,
    dotted: bool = False,
) -> None:
    """An arrow from a mark, 10 points long, along the axis of the EMC."""
    way = (0, 10 * direction) if upright else (10 * direction, 0)
    coords = ("data", other) if upright else (other, "data")
    axes.annotate(
        "",
        xy=foot,
        xytext=way,
        xycoords=coords,
        textcoords="offset points",
        annotation_clip=False,
        zorder=3,
        arrowprops={
            "arrowstyle": "<-" if headed else "-",
            "color": colour,
            "linewidth": 0.9,
            "shrinkA": 0,
            "shrinkB": 2,
            "linestyle": ":" if dotted else "-",
        },
    )


def log_axis(
    axes: Axes,
    which: Literal["x", "y"],
    values: Iterable[float],
    label: str,
    room: tuple[float, float] = (1.2, 1.3),
    apart: float = 0.11,
) -> None:
    """A log axis around values, with readable ticks and a label that names the unit.

    Args:
        axes: whose.
        which: axis.
        values: all that it has to hold; those that are missing or not above 0 count for nothing.
        label: of the axis.
        room: factors by which the axis reaches below the smallest value and above the largest.
        apart: share of the axis that ticks keep between them; more where panels are narrow.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    known = [float(value) for value in values if value is not None and value > 0]
    low, high = min(known, default=1) / room[0], max(known, default=10) * room[1]
    axis = axes.xaxis if which == "x" else axes.yaxis
    if which == "x":
        axes.set_xscale("log")
        axes.set_xlim(low, high)
    else:
        axes.set_yscale("log")
        axes.set_ylim(low, high)
    axis.set_major_locator(FixedLocator([float(tick) for tick in ticks(low, high, apart)]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_label_text(label)


def ticks(low: float, high: float, apart: float = 0.11) -> list[float]:
    """Readable ticks of a log axis: `readable_ticks`, or round steps where the axis spans less than they need.

    Ticks are no nearer to each other than a share of the axis' length; round ones go first.

    >>> ticks(290, 9800)
    [500, 1000, 2000, 5000]
    >>> ticks(0.3, 4)
    [0.5, 1.0, 2.0]
    >>> ticks(134, 304)
    [150.0, 200.0, 250.0, 300.0]
    """
    if low < 1:
        # Ratios: as whole numbers of tenths or hundredths.
        scale = 10.0 ** -math.floor(math.log10(low))
        return [value / scale for value in ticks(low * scale, high * scale, apart)]
    found: list[float] = [tick for tick in readable_ticks(low, high) if _first_digit(tick) in (1, 2, 5)]
    if len(found) < 3 or any(tick != float(f"{tick:.0e}") for tick in found):
        from matplotlib.ticker import MaxNLocator

        steps = MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values(low, high)
        found = [float(tick) for tick in steps if low <= tick <= high]
    kept: list[float] = []
    length = math.log(high / low)
    for tick in sorted(found, key=lambda tick: (_first_digit(tick) != 1, tick)):
        if all(abs(math.log(tick / other)) >= apart * length for other in kept):
            kept.append(tick)
    return sorted(kept)


def _first_digit(tick: float) -> int:
    return int(f"{tick:e}"[0])


def count_text(value: float) -> str:
    """A number on an axis.

    >>> [count_text(x) for x in (0.5, 1, 1000, 20_000, 3_000_000)]
    ['0.5', '1', '1,000', '20k', '3M']
    """
    for unit, letter in ((1e9, "G"), (1e6, "M")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    if value >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:,.0f}" if value >= 10 else f"{value:.4g}"


def draw_parameter_line(axes: Axes, *, named: bool = True) -> None:
    """Draw the line "one sample a parameter" over log axes of parameters (x) and samples (y), and its name along it.

    The y axis is widened where the line would cross less than half of the picture.

    Args:
        axes: with limits that are set.
        named: whether to write its name.
    """
    from matplotlib.patheffects import Normal, Stroke

    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    middle = math.sqrt(left * right)
    if not bottom < middle < top / 1.3:
        log_axis(axes, "y", (min(bottom, middle), max(top, 1.3 * middle)), axes.get_ylabel(), room=(1, 1))
    axes.plot([left, right], [left, right], color=GREY, linewidth=0.7, zorder=1, label="_" + ONE_A_PARAMETER)
    if not named:
        return
    start = max(left, axes.get_ylim()[0]) * (right / left) ** 0.02
    axes.text(
        start, start, ONE_A_PARAMETER, rotation=45, rotation_mode="anchor", transform_rotates_text=True, ha="left",
        va="bottom", color=GREY, fontsize=6, zorder=5,
    ).set_path_effects([Stroke(linewidth=1.5, foreground="white"), Normal()])  # fmt: skip


def draw_parameter_curve(axes: Axes, counts: Mapping[float, float]) -> None:
    """Draw "one sample a parameter" over axes of another number, of which parameters are a function; and its name."""
    places = sorted(counts)
    ends = axes.get_xlim()
    known = [counts[place] for place in places]
    axes.plot([ends[0], *places, ends[1]], [known[0], *known, known[-1]], color=GREY, linewidth=0.7, zorder=1)
    axes.annotate(
        ONE_A_PARAMETER, xy=(ends[1], known[-1]), xytext=(-2, 2), textcoords="offset points", ha="right", va="bottom",
        color=GREY, fontsize=6,
    )  # fmt: skip


def draw_parameter_count(axes: Axes, parameters: float) -> None:
    """Draw "one sample a parameter" across rows whose EMCs are on the x axis, with its name above the axes."""
    low, high = axes.get_xlim()
    right = math.log(parameters / low) > 0.6 * math.log(high / low)
    axes.axvline(parameters, color=GREY, linewidth=0.7, zorder=1)
    axes.annotate(
        ONE_A_PARAMETER, xy=(parameters, 1), xytext=(0, 2), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="right" if right else "left", va="bottom", color=GREY, fontsize=6,
    )  # fmt: skip


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], line_mm: float = 3.0) -> None:
    """Name lines to the right of the axes at the height where they end, moved apart where they would touch.

    Args:
        axes: with a log y axis and limits that are set.
        ends: height of each line's last mark, its name and its colour.
        line_mm: height of a line of text.
    """
    if not ends:
        return
    figure, grid = axes.get_figure(root=True), axes.get_gridspec()
    height = 3.0 if figure is None else figure.get_size_inches()[1] / (1 if grid is None else grid.nrows)
    low, high = axes.get_ylim()
    places = sorted((math.log(max(y, low) / low) / math.log(high / low), text, colour) for y, text, colour in ends)
    heights = _apart([place for place, _, _ in places], line_mm * MM / (0.75 * height))
    for (_, text, colour), at in zip(places, heights, strict=True):
        axes.annotate(
            text, xy=(1, at), xytext=(2, 0), xycoords="axes fraction", textcoords="offset points",
            va="center", ha="left", color=colour, fontsize=6.5, annotation_clip=False,
        )  # fmt: skip


def _apart(places: Sequence[float], step: float) -> list[float]:
    """Ascending places moved as little as a few sweeps need to be a step apart, and within the axes."""
    found = list(places)
    for _ in range(50):
        for low in range(len(found) - 1):
            lack = step - (found[low + 1] - found[low])
            if lack > 0:
                found[low] -= lack / 2
                found[low + 1] += lack / 2
    shift = min(0.0, 1 - found[-1])
    return [place + shift for place in found]


def draw_value(axes: Axes, x: float, y: float, look: Look, *, hollow: bool = False, size: float = 4.5) -> None:
    """Draw one point without an interval; hollow where training may have ended too soon."""
    axes.plot(x, y, **_mark(look, "white" if hollow else look.colour) | {"markersize": size})


def draw_lower_bound(axes: Axes, x: float, y: float, look: Look) -> None:
    """Draw the arrow of a lower bound on the x axis."""
    _draw_arrow(axes, (x, y), look.colour, False, 1)


def draw_bound(axes: Axes, x: float, y: float, look: Look, *, below: bool, above: bool) -> None:
    """Draw one point whose x may be open, with a dotted arrow to each side where it may lie."""
    draw_value(axes, x, y, look)
    for open_, direction in ((below, -1), (above, 1)):
        if open_:
            _draw_arrow(axes, (x, y), look.colour, False, direction, dotted=True)


def look_handles(looks: Iterable[Look], *, line: bool = True) -> list[Artist]:
    """Legend entries of looks."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=look.colour, marker=look.marker, markersize=4.5, linewidth=line, label=look.text)
        for look in looks
    ]


def family_handles(names: Iterable[str], *, line: bool = True) -> list[Artist]:
    """Legend entries of families, in the order of `FAMILIES`."""
    wanted = set(names)
    looks = [look for name, look in FAMILIES.items() if name in wanted]
    return look_handles([*looks, *(family(name) for name in sorted(wanted - FAMILIES.keys()))], line=line)


def label_outer(axes: Sequence[Axes], columns: int) -> None:
    """Keep the names of axes at the left and at the foot of a grid of panels only."""
    for place, one in enumerate(axes):
        if place % columns:
            one.set_ylabel("")
        if place < len(axes) - columns:
            one.set_xlabel("")


def hollow_handle(text: str) -> Artist:
    """Legend entry of hollow marks."""
    from matplotlib.lines import Line2D

    return Line2D([], [], marker="o", markerfacecolor="white", markersize=4.5, color=GREY, linestyle="none", label=text)


def mark_handles(table: pd.DataFrame) -> list[Artist]:
    """Legend entries of what hollow marks, arrows and dotted bars mean, as far as a table has them."""
    found: list[Artist] = []
    if (table["status"] == "undertrained").any():
        found.append(hollow_handle("undertrained"))
    if table["censored"].any():
        found.append(_arrow_handle("lower bound"))
    if ((table["interval_high"] == math.inf) & ~table["censored"].astype(bool)).any():
        return [*found, open_handle()]
    return [*found, *ratio_handles(table)]


def ratio_handles(table: pd.DataFrame) -> list[Artist]:
    """Legend entry of dotted bars of ratios, as far as a table has them."""
    if "ratio" not in table:
        return []
    moved = (table["ratio_low"] < table["ratio_bar_low"]) | (table["ratio_high"] > table["ratio_bar_high"])
    return [open_handle()] if (moved & (table["ratio"] > 0)).any() else []


def parameter_line_handle() -> Artist:
    """Legend entry of the line "one sample a parameter", where panels have no room for its name."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=GREY, linewidth=0.7, label=ONE_A_PARAMETER)


def _arrow_handle(text: str) -> Artist:
    from matplotlib.lines import Line2D
    from matplotlib.path import Path

    arrow = Path([(0, -1), (0, 1), (-0.45, 0.4), (0, 1), (0.45, 0.4)], [1, 2, 1, 2, 2])
    plain: dict[str, Any] = {"color": GREY, "linestyle": "none", "markersize": 4.5, "markerfacecolor": "none"}
    return Line2D([], [], marker=arrow, label=text, **plain)


def open_handle() -> Artist:
    """Legend entry of dotted bars and arrows."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=GREY, linestyle=":", label="left open by lower bounds")


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int = 8) -> None:
    """A legend under all panels, which hides nothing, of so many columns at most."""
    if handles:
        # About 100 characters of legend fit beside each other on two columns' width.
        length = sum(len(str(handle.get_label())) + 6 for handle in handles)
        rows = math.ceil(length / (100 * figure.get_size_inches()[0] / TWO_COLUMNS))
        figure.legend(
            handles=list(handles), loc="outside lower center", ncols=min(columns, math.ceil(len(handles) / rows)),
            handlelength=2.6,  # a dash pattern shows whole
            columnspacing=1.5,
        )  # fmt: skip


def note(figure: Figure, text: str) -> None:
    """A line for the reader above all panels, as how many cells are missing."""
    figure.suptitle(text, fontsize=6.5, color=OKABE_ITO["vermillion"], x=0.01, ha="left")


def save(figure: Figure, folder: pathlib.Path, stem: str) -> tuple[pathlib.Path, pathlib.Path]:
    """Write a picture as PNG of 300 dots an inch and as PDF; the same picture gives the same bytes.

    Raises:
        OutputError: a file cannot be written.
    """
    paths = folder / f"{stem}.png", folder / f"{stem}.pdf"
    for path in paths:
        save_figure(figure, path, dpi=300)
    return paths
