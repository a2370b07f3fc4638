"""Power laws: EMC = a * parameters ** b, with intervals of the exponent b."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

import emc
from emc.errors import ComparisonError
from emc.results import EmcResult
from figures import style
from figures.drawing import dicts
from figures.pools import families, pool
from figures.scales import Scale
from figures.study import Cell, Study, Taken
from figures.tables import frame, mark

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTHS = {
    "smoke": (2, 3, 4),
    "cpu": (2, 3, 4, 5, 8, 11),
    "gpu": (4, 8, 16, 32, 48),
    "paper": tuple(2**k for k in range(1, 12)),
}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """MLPs by width with random labels on digits; MLPs and CNNs of the other studies beside them."""
    base = {**scale.base, "data": "mnist" if scale.name == "paper" else "digits", "labels": "random"}
    shared = {**scale.base, **pool(scale)}
    return [
        {"base": base, "grid": {"model": [f"mlp:width={width}" for width in WIDTHS[scale.name]]}},
        {"base": shared, "grid": {"model": families(scale, "mlp", "cnn"), "labels": ["semantic", "random"]}},
    ]


LAW = (
    "exponent", "exponent_low", "exponent_high", "factor", "r_squared", "fitted_sizes", "left_out", "bound",
    "bound_side", "not_fitted_since",
)  # fmt: skip


def table(taken: Taken) -> pd.DataFrame:
    """One row a model, with the law of its series (one family, data and labels) in each of its rows."""
    groups: dict[tuple[str, str, str], list[tuple[Cell, EmcResult]]] = {}
    for cell, result in taken.results:
        key = (_family(cell), str(cell["data"]).partition(":")[0], str(cell["labels"]))
        groups.setdefault(key, []).append((cell, result))
    rows = []
    for (family, data, labels), members in groups.items():
        law = _law([result for _, result in members])
        text = f"{style.family(family).text}, {data.replace('_', ' ')}, {labels} labels"
        names = {"series": text, "family": family, "data": data, "labels": labels}
        rows += [names | {"model": cell["model"]} | mark(result) | law for cell, result in members]
    return frame(rows, "series", "family", "data", "labels", "model", after=LAW)


def _family(cell: Cell) -> str:
    return str(cell["model"]).partition(":")[0]


def _law(results: Sequence[EmcResult]) -> dict[str, Any]:
    """The fit, or why there is none."""
    try:
        law = emc.power_law(results)
    except ComparisonError as error:
        return {"not_fitted_since": str(error)}
    low, high = law.exponent_interval or (np.nan, np.nan)
    bound = (None, None) if law.bound is None else (law.bound.exponent, law.bound.side)
    values = (law.exponent, low, high, law.factor, law.r_squared, len(law.sizes), len(law.left_out), *bound)
    return dict(zip(LAW, values, strict=False))


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """EMC against parameters with each law through its marks, and the exponents with their intervals."""
    series = list(dict.fromkeys(table["series"]))
    axes, beside = style.panels(figure, 2, height_mm=78, width_ratios=[1.25, 1])
    style.log_axis(axes, "x", table["parameters"], "trained parameters")
    values = [v for name in ("emc", "interval_low", "interval_high") for v in table[name] if np.isfinite(v)]
    style.log_axis(axes, "y", values, "EMC (samples)", room=(1.25, 1.5))
    style.draw_parameter_line(axes)
    for place, name in enumerate(series):
        _draw_law(axes, table[table["series"] == name], 1.02 ** (place - (len(series) - 1) / 2))
    _draw_exponents(beside, table[table["exponent"].notna()])
    style.legend_below(figure, [*_handles(table, series), *style.mark_handles(table)])


def _handles(table: pd.DataFrame, series: Sequence[str]) -> list[Any]:
    from matplotlib.lines import Line2D

    found: list[Any] = []
    for name in series:
        rows = table[table["series"] == name]
        look, line, fill = _look(rows)
        mark: dict[str, Any] = {"marker": look.marker, "markersize": 4.5} | style.filled(look.colour, fill)
        drawn: Any = line if rows["exponent"].notna().all() else "none"
        found.append(Line2D([], [], color=look.colour, linestyle=drawn, label=name, **mark))
    if (table["exponent"].notna() & (table["num_censored"] > 0)).any():
        left = style.Look("", style.pale(style.GREY), "o")
        found.append(style.look_handles([replace(left, text="pale: left out of the law")], line=False)[0])
    return found


def _look(rows: pd.DataFrame) -> tuple[style.Look, Any, style.Fill]:
    """Of a series: the family's look, dashed and tinted for random labels, in a lighter shade on digits."""
    look, kind = style.family(str(rows["family"].iloc[0])), str(rows["labels"].iloc[0])
    if rows["data"].iloc[0] in ("digits", "mnist"):
        look = style.Look(look.text, style.shade(look.colour, 2, 3), "P")
    return look, style.LINES[kind, "natural"], style.FILLS[kind, "natural"]


def _draw_law(axes: Axes, rows: pd.DataFrame, shift: float) -> None:
    look, line, fill = _look(rows)
    law = rows.iloc[0]
    known = law["exponent"] == law["exponent"]
    if known:
        ends = np.array([rows["parameters"].min(), rows["parameters"].max()], dtype=float)
        heights = law["factor"] * ends ** law["exponent"]
        axes.plot(ends * shift, heights, color=look.colour, linestyle=line)
    for row in dicts(rows):
        left = known and row["num_censored"] > 0
        one = replace(look, colour=style.pale(look.colour)) if left else look
        style.draw_mark(axes, row["parameters"] * shift, row, one, fill=fill)


def _draw_exponents(axes: Axes, table: pd.DataFrame) -> None:
    """Each exponent with its interval, and the line of an exponent of 1; series without one are left out."""
    series = list(dict.fromkeys(table["series"]))
    for at, name in enumerate(series):
        rows = table[table["series"] == name]
        look, _, _ = _look(rows)
        law = rows.iloc[0]
        axes.axhline(at, color="#E4E4E4", linewidth=0.5, zorder=0)
        axes.plot([law["exponent_low"], law["exponent_high"]], [at, at], color=look.colour, linewidth=0.9)
        style.draw_value(axes, law["exponent"], at, look)
    axes.axvline(1, color=style.GREY, linewidth=0.7, zorder=1)
    texts = [f"{name}\n{_text(table[table['series'] == name].iloc[0])}" for name in series]
    axes.set_yticks([at - 0.08 for at in range(len(series))], texts)
    axes.set_axisbelow(False)  # the names above the line of an exponent of 1, which they interrupt
    for label in axes.get_yticklabels():  # inside, above its line: beside the axes it would take a third of the picture
        label.set(ha="left", va="bottom", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    axes.set_ylim(max(len(series), 1) - 0.7, -0.8)
    axes.tick_params(axis="y", length=0, pad=-2)
    axes.set_xlabel("exponent b of EMC = a P\N{MODIFIER LETTER SMALL B}")


def _text(law: Any) -> str:
    ends = ""
    if law["exponent_low"] == law["exponent_low"]:
        ends = f" ({law['exponent_low']:.2f} to {law['exponent_high']:.2f})"
    left = ""
    if law["left_out"] > 0:
        left = f", {law['left_out']:.0f} of {law['left_out'] + law['fitted_sizes']:.0f} sizes left out"
    return f"b = {law['exponent']:.2f}{ends}{left}"


STUDY = Study(
    name="power_laws",
    asks="How does the EMC grow with the parameters?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC against parameters, with the power law EMC = a P^b of each series of three sizes or more, by least "
    "squares on logarithms. Right: exponents with 95 % intervals (bootstrap over replicates, paired over sizes, "
    "brackets included). Sizes with censored replicates are left out of a law and pale. An exponent of 1 is an EMC in "
    "proportion to the parameters. " + style.MARKS,
)
