"""Pictures that several studies share: EMC against a number, ratios against it, and rows of kinds side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from emc.plotting import OKABE_ITO
from figures import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours of things that are no families, from the same palette.
SERIES = tuple(
    OKABE_ITO[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky", "black", "yellow")
)

#: A bar's width over a mark's.
BAR = 1 / 6

#: Factor by which a dotted end may widen an axis of ratios; a pool's rows, which end it, may be far off.
DOTTED = 2.5


@dataclass(frozen=True)
class Series:
    """How marks that belong together are drawn.

    Attributes:
        look: colour, marker and name.
        line: of matplotlib's, that joins them.
        fill: of marks that are not hollow.
    """

    look: style.Look
    line: Any = "-"
    fill: style.Fill = "full"


def emc_values(table: pd.DataFrame) -> list[float]:
    """Every EMC and finite end of an interval: what an axis has to hold."""
    return _finite(table, "emc", "interval_low", "interval_high")


def _finite(table: pd.DataFrame, *columns: str) -> list[float]:
    return [float(value) for name in columns for value in table[name] if math.isfinite(float(value))]


def draw_emc(
    axes: Axes,
    table: pd.DataFrame,
    series: Mapping[str, Series],
    *,
    whole: pd.DataFrame | None = None,
    heights: Sequence[float] | None = None,
    x: str = "parameters",
    x_label: str = "trained parameters",
    names: bool = True,
    apart: float = 0.11,
    line_name: bool = True,
) -> None:
    """EMC against a number on log axes, with a line for each value of the column `series`.

    Args:
        axes: where.
        table: one row a mark.
        series: looks by the value of that column.
        whole: rows that set the axes' limits, so that panels agree; `table` where not given.
        heights: what the y axis has to hold; the EMCs of `whole` where not given.
        x, x_label: column and name of the other axis.
        names: whether to name the lines at their ends.
        apart: share of the x axis that its ticks keep between them.
        line_name: whether the line of one sample a parameter is named; a narrow panel has no room for it.
    """
    whole = table if whole is None else whole
    _number_axis(axes, whole, x, x_label, apart)
    held = emc_values(whole) if heights is None else list(heights)
    counts = {} if x == "parameters" else dict(zip(whole[x], whole["parameters"], strict=True))
    style.log_axis(axes, "y", [*held, *counts.values()], "EMC (samples)", room=(1.25, 1.5))
    if counts:
        style.draw_parameter_curve(axes, counts)
    else:
        style.draw_parameter_line(axes, named=line_name)
    ends = []
    beside = _beside(axes, table, x, ("emc", "interval_low", "interval_high"))
    for name, rows in _groups(table):
        one = series[name]
        rows = rows.sort_values(x)
        places = list(beside[rows.index])
        joined = [emc if emc > 0 else math.nan for emc in rows["emc"]]
        axes.plot(places, joined, color=one.look.colour, linestyle=one.line)
        for at, row in zip(places, dicts(rows), strict=True):
            style.draw_mark(axes, at, row, one.look, fill=one.fill)
        ends.append((float(rows["emc"].iloc[-1]), one.look.text, one.look.colour))
    if names:
        style.label_ends(axes, ends)


def draw_ratios(
    axes: Axes,
    table: pd.DataFrame,
    series: Mapping[str, Series],
    *,
    y_label: str,
    whole: pd.DataFrame | None = None,
    whole_y: pd.DataFrame | None = None,
    x: str = "parameters",
    x_label: str = "trained parameters",
    names: bool = True,
    apart: float = 0.11,
) -> None:
    """Ratios of EMCs against a number on log axes, with the line of no difference; rows without one are left out."""
    if not (table["ratio"] > 0).any():
        axes.set_axis_off()
        return
    whole = table if whole is None else whole
    _number_axis(axes, whole, x, x_label, apart)
    _ratio_axis(axes, whole if whole_y is None else whole_y, "y", y_label)
    ends = []
    table = table[table["ratio"] > 0]
    beside = _beside(axes, table, x, ("ratio", "ratio_low", "ratio_high"))
    for name, rows in _groups(table):
        one = series[name]
        rows = rows.sort_values(x)
        places = list(beside[rows.index])
        axes.plot(places, list(rows["ratio"]), color=one.look.colour, linestyle=one.line)
        for at, row in zip(places, dicts(rows), strict=True):
            style.draw_ratio(axes, at, row, one.look, fill=one.fill)
        ends.append((float(rows["ratio"].iloc[-1]), one.look.text, one.look.colour))
    if names:
        style.label_ends(axes, ends)


def _ratio_axis(axes: Axes, table: pd.DataFrame, which: Any, label: str, apart: float = 0.11) -> None:
    style.log_axis(axes, which, [*ratio_values(table), 1.0], label, room=(1.3, 1.3), apart=apart)
    draw = axes.axhline if which == "y" else axes.axvline
    draw(1, color=style.GREY, linewidth=0.7, zorder=1)


def ratio_values(table: pd.DataFrame) -> list[float]:
    """What an axis of ratios has to hold: marks, bars, and dotted ends up to `DOTTED` times as far out as those."""
    drawn = table[table["ratio"] > 0]
    held = [value for value in _finite(drawn, "ratio", "ratio_bar_low", "ratio_bar_high") if value > 0]
    low, high = min(held, default=1.0) / DOTTED, max(held, default=1.0) * DOTTED
    ends = _finite(drawn, "ratio_low", "ratio_high")
    return [*held, *(min(max(end, low), high) for end in ends if end > 0)]


def _groups(table: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    return [(str(name), rows) for name, rows in table.groupby("series", sort=False)]


def _number_axis(axes: Axes, table: pd.DataFrame, x: str, label: str, apart: float) -> None:
    """The axis that EMCs are drawn against, with room for the series beside each other at its ends."""
    values = table[x]
    share = _width(axes) * (min(table["series"].nunique(), 4) + 1) / 2
    length = math.log(float(values.max()) / float(values.min()) * 1.15**2)
    room = 1.5 if values.nunique() == 1 else max(1.15, math.exp(share * length / (1 - 2 * share)))
    style.log_axis(axes, "x", values, label, room=(room, room), apart=apart)
    if values.nunique() == 1:
        axes.set_xticks([float(values.iloc[0])])


def _width(axes: Axes) -> float:
    """About the share of an axes' width that a mark takes."""
    figure, spec = axes.get_figure(root=True), axes.get_subplotspec()
    if figure is None or spec is None:
        return 0.04
    grid = spec.get_gridspec()
    parts: list[float] = list(grid.get_width_ratios())  # type: ignore[arg-type]  # its stub allows any number
    held = 0.75 * parts[spec.colspan.start] / sum(parts)
    return style.MARK_POINTS / (72 * held * float(figure.get_size_inches()[0]))


def _beside(axes: Axes, table: pd.DataFrame, x: str, columns: Sequence[str]) -> pd.Series[float]:
    """Places of the rows: marks that would lie on one another, or on a bar, stand beside each other.

    Args:
        axes: with limits that are set.
        table: one row a mark.
        x: column of the other axis.
        columns: the mark's height and the ends of its bar.
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width = math.log(right / left) * (0.12 if len(axes.get_xticks()) == 1 else _width(axes))
    height = 0.05 * math.log(top / bottom)
    order = {name: place for place, name in enumerate(table["series"].unique())}
    groups: list[list[dict[str, Any]]] = []
    for row in dicts(table.assign(row=table.index).sort_values(x, kind="stable")):
        ends = [math.log(row[name]) for name in columns if 0 < row[name] < math.inf] or [math.log(bottom)]
        mark = math.log(max(row[columns[0]], bottom))
        one = {"row": row["row"], "order": order[row["series"]], "at": math.log(row[x]), "mark": mark}
        one |= {"low": min(ends), "high": max(ends)}
        touched = [group for group in groups if any(_hide(one, other, width, height) for other in group)]
        groups = [group for group in groups if all(group is not each for each in touched)]
        groups.append([one, *(other for group in touched for other in group)])
    places: dict[Any, float] = {}
    for group in groups:
        middle = sum(one["at"] for one in group) / len(group)
        near = any(_hide_marks(a, b, width, height) for a, b in combinations(group, 2))
        step = width if near else 0.6 * width
        for at, one in enumerate(sorted(group, key=lambda one: (one["at"], one["order"]))):
            places[one["row"]] = math.exp(middle + step * (at - (len(group) - 1) / 2))
    return table.index.to_series().map(places)


def _hide(one: Mapping[str, float], other: Mapping[str, float], width: float, height: float) -> bool:
    """Whether a mark would lie on another one, or a bar on a bar."""
    bars = one["low"] < other["high"] and other["low"] < one["high"]
    return _hide_marks(one, other, width, height) or (bars and abs(one["at"] - other["at"]) < BAR * width)


def _hide_marks(one: Mapping[str, float], other: Mapping[str, float], width: float, height: float) -> bool:
    return abs(one["at"] - other["at"]) < width and abs(one["mark"] - other["mark"]) < height


def draw_rows(
    figure: Figure,
    table: pd.DataFrame,
    looks: Mapping[str, style.Look],
    *,
    ratio_label: str,
    scaled: Sequence[tuple[str, str]] = (),
) -> None:
    """Kinds as rows (column `text`): EMC, further numbers in proportion to it, and the ratio to the reference.

    Args:
        figure: an empty one.
        table: one row a kind, from the top down, with its look's key in the column `series`.
        looks: by that key.
        ratio_label: of the last panel.
        scaled: columns that hold the unit of further panels, by which the EMC is multiplied, and their labels; rows
            without one are left out there.
    """
    scaled = [(name, label) for name, label in scaled if table[name].notna().any()]
    ratios = bool((table["ratio"] > 0).any())
    count = 1 + len(scaled) + ratios
    axes = style.panels(figure, count, height_mm=24 + 6 * len(table), sharey=True)
    heights = range(len(table))
    apart = 0.24 if count > 3 else 0.14
    for place, (name, label) in enumerate([("", "EMC (samples)"), *scaled]):
        rows = [_times(row, 1.0 if not name else float(row[name])) for row in dicts(table)]
        values = [row[column] for row in rows for column in ("emc", "interval_low", "interval_high")]
        line = _one_a_parameter(table, name)
        style.log_axis(
            axes[place], "x", [value for value in [*values, *line] if math.isfinite(value)], label, apart=apart
        )
        for at, row in zip(heights, rows, strict=True):
            if math.isfinite(row["emc"]):
                style.draw_mark(axes[place], at, row, looks[row["series"]], upright=False)
        for at_line in line:
            style.draw_parameter_count(axes[place], at_line)
    if ratios:
        _ratio_axis(axes[-1], table, "x", ratio_label, apart)
        for at, row in zip(heights, dicts(table), strict=True):
            style.draw_ratio(axes[-1], at, row, looks[row["series"]], upright=False)
            if not isinstance(row["reference"], str):
                _name_reference(axes[-1], at)
    _name_rows(axes, list(table["text"]))
    style.legend_below(figure, style.mark_handles(table))


def _name_reference(axes: Axes, at: float) -> None:
    """Say beside the line of no difference that this row is what others are held against."""
    low, high = axes.get_xlim()
    left = math.log(1 / low) > 0.6 * math.log(high / low)
    axes.annotate(
        "reference", xy=(1, at), xytext=(-3 if left else 3, 2), textcoords="offset points", color=style.GREY,
        ha="right" if left else "left", fontsize=6,
    )  # fmt: skip


def _one_a_parameter(table: pd.DataFrame, unit: str) -> list[float]:
    """Where a panel has its line of one sample a parameter, if it has one."""
    if unit == "per_parameter":
        return [1.0]
    same = table["parameters"].nunique() == 1 and not unit
    return [float(table["parameters"].iloc[0])] if same else []


def dicts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table by column."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _times(row: Mapping[str, Any], unit: float) -> dict[str, Any]:
    return {**row, **{name: float(row[name]) * unit for name in ("emc", "interval_low", "interval_high")}}


def _name_rows(axes: Sequence[Axes], texts: Sequence[str]) -> None:
    """Names of rows beside the first panel, and faint lines that lead the eye through all."""
    axes[0].set_yticks(range(len(texts)), texts)
    axes[0].set_ylim(len(texts) - 0.4, -0.6)
    for one in axes:
        one.tick_params(axis="y", length=0)
        one.grid(axis="y", color="#E4E4E4", linewidth=0.5)
        one.spines["left"].set_visible(False)
