"""Sensitivity: how far every number of the protocol moves the EMC, one changed at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emc.plotting import OKABE_ITO
from emc.results import EmcResult
from figures import style
from figures.drawing import dicts, ratio_values
from figures.scales import Scale, grid, one
from figures.study import Cell, Study, Taken
from figures.tables import RATIO_COLUMNS, frame, mark, ratio

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MODEL = {"smoke": "mlp:width=3", "cpu": "mlp:width=8", "gpu": "mlp:width=32", "paper": "mlp:width=64"}

#: Each setting with the values that stand in the place of the protocol's own.
CHANGES: Mapping[str, Sequence[Any]] = {
    "n_start": (8, 64),
    "growth": ("geometric:factor=1.5", "geometric:factor=4", "linear:step=16"),
    "tolerance": (0.02, 0.2),
    "attempts": (3,),
    "check_steps": (25, 400),
    "stall_share": (0.5,),
    "stall_tolerance": (0.001, 0.05, 0.5),
    "min_steps": (5_000, 100_000),
    "batch_size": (32, 128),
    "optimizer": ("adam:lr=0.001", "adam:lr=0.01"),
    "schedule": ("constant", "cosine", "reactive:ceiling=1", "reactive:ceiling=32", "reactive:patience=20"),
    "init": ("kaiming", "orthogonal"),
    "loss": ("squared",),
    "precision": ("float64",),
    "seed": (1,),
}
#: Within the smoke's largest n.
SMOKE: Mapping[str, Sequence[Any]] = {"n_start": (8,), "tolerance": (0.02, 0.2), "seed": (1,)}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """The protocol itself, then each change of one setting; random labels on digits."""
    base = _base(scale)
    kept = dict(SMOKE if scale.name == "smoke" else CHANGES)
    if scale.name == "gpu":
        del kept["min_steps"]
    return [one(base), *(grid(base, **{name: list(values)}) for name, values in kept.items())]


SAME, OTHER = (
    style.Look("the same estimand", OKABE_ITO["blue"], "o"),
    style.Look("another estimand", OKABE_ITO["orange"], "D"),
)
PROTOCOL = "the protocol"


def table(taken: Taken) -> pd.DataFrame:
    """One row a change, with the ratio of its EMC to the protocol's own; the protocol is the first row."""
    base = one(_base(taken.scale))
    settings = {**base["base"], **{name: values[0] for name, values in base["grid"].items()}}
    own = next((result for cell, result in taken.results if dict(cell) == settings), None)
    rows = []
    for cell, result in taken.results:
        name, value = ("", "") if result is own else _change(cell, settings)
        other = own is not None and result.estimand != own.estimand
        against = {} if own is None or result is own else _ratio(result, own)
        named = {"setting": name, "value": value, "other_estimand": other, "estimand": result.estimand}
        rows.append(named | mark(result) | against)
    columns = ("setting", "value", "other_estimand", "estimand")
    # Without a ratio there is nothing to draw, be the protocol itself measured or not.
    return frame(rows if any("ratio" in row for row in rows) else (), *columns, after=RATIO_COLUMNS)


def _base(scale: Scale) -> dict[str, Any]:
    return {**scale.base, "data": "digits", "labels": "random", "model": MODEL[scale.name]}


def _change(cell: Cell, settings: Cell) -> tuple[str, str]:
    """The setting that a cell changes, and to what."""
    name = next(name for name in CHANGES if name in cell and cell[name] != settings.get(name))
    return name, str(cell[name])


def _ratio(result: EmcResult, own: EmcResult) -> dict[str, Any]:
    """The ratio, of another estimand too: how far apart the two are is what is asked here."""
    return ratio(replace(result, estimand=own.estimand), own, PROTOCOL)


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """A forest of ratios, grouped by setting, with the numbers beside it."""
    rows = table[table["ratio"] > 0]
    names = list(dict.fromkeys(rows["setting"]))
    places = _places(rows, names)
    (axes,) = style.panels(figure, 1, height_mm=22 + 4.2 * (max(places, default=0) + 1), width=1.5 * style.ONE_COLUMN)
    style.log_axis(axes, "x", [*ratio_values(rows), 1.0], f"EMC / EMC under {PROTOCOL}", room=(1.15, 1.35))
    axes.axvline(1, color=style.GREY, linewidth=0.7, zorder=1)
    for at, row in zip(places, dicts(rows), strict=True):
        look = OTHER if row["other_estimand"] else SAME
        style.draw_ratio(axes, at, row, look, upright=False)
        beside: dict[str, Any] = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": 6}
        axes.annotate(_text(row), (1, at), xycoords=("axes fraction", "data"), **beside)
    labels = [f"{_option(row['setting'])} = {row['value']}" for row in dicts(rows)]
    axes.set_yticks(places, labels)
    axes.set_ylim(max(places, default=0) + 0.8, -0.8)
    axes.tick_params(axis="y", length=0)
    _draw_bands(axes, rows, places, names)
    looks = style.look_handles([SAME, OTHER] if rows["other_estimand"].any() else [], line=False)
    style.legend_below(figure, [*looks, *style.ratio_handles(rows)])


def _places(rows: pd.DataFrame, names: Sequence[str]) -> list[float]:
    """Heights from the top down, with a gap between settings."""
    return [place + 0.5 * names.index(name) for place, name in enumerate(rows["setting"])]


def _draw_bands(axes: Any, rows: pd.DataFrame, places: Sequence[float], names: Sequence[str]) -> None:
    """A faint band behind every other setting."""
    for number, name in enumerate(names):
        mine = [at for at, setting in zip(places, rows["setting"], strict=True) if setting == name]
        if number % 2 == 0:
            axes.axhspan(min(mine) - 0.75, max(mine) + 0.75, color="#F3F3F3", zorder=0, linewidth=0)


def _option(setting: str) -> str:
    return setting.replace("_", " ")


def _text(row: Mapping[str, Any]) -> str:
    """The ratio and its interval as text; where censoring moves it to one side it is a bound, to both it is open."""
    low = "0" if row["ratio_low"] == 0 else f"{row['ratio_low']:.2f}"
    high = "\N{INFINITY}" if row["ratio_high"] == float("inf") else f"{row['ratio_high']:.2f}"
    if row["ratio_open_above"] and row["ratio_open_below"]:
        return f"open ({low} to {high})"
    sign = style.AT_LEAST if row["ratio_open_above"] else "\N{LESS-THAN OR EQUAL TO}" if row["ratio_open_below"] else ""
    return f"{sign}{row['ratio']:.2f} ({low} to {high})"


STUDY = Study(
    name="protocol",
    asks="How far does every number of the protocol move the EMC?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC with one setting changed over the EMC under the protocol itself: "
    + style.RATIOS
    + " (the change of seed is not paired). Numbers: the ratio, a bound where lower bounds leave it open to one side, "
    "with its interval at both extremes of what they may be. A change of the search or of the attempts that asks for "
    "another number (another estimand) is marked.",
)
