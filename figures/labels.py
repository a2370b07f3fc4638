"""Inputs and labels: what of an EMC comes from the data's structure (paper, section on inputs and labels)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures import style
from figures.drawing import Series, draw_emc, draw_ratios, emc_values
from figures.pools import NATURAL_FAMILIES, families, members, natural_pool, pool
from figures.scales import Scale
from figures.study import Cell, Study, Taken, data_text
from figures.tables import RATIO_COLUMNS, frame, mark, ratio

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Nets that fit nearly all of the natural images: what inputs without structure do to their EMC would be cut off there.
FIT_MOST = {"cpu": ("mlp:width=8", "cnn:width=2,hidden=9")}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Semantic and random labels on natural inputs, semantic labels on noise and on permuted inputs.

    The linear model is trained by L-BFGS, which ends, on two classes: there its linear program tells at once whether a
    failure could have been a fit (with ten classes it takes a minute a failure).
    """
    base = {**scale.base, **pool(scale)}
    linear = {"model": "linear", "optimizer": "lbfgs", "min_steps": 2_000, "classes": 2}
    given = families(scale, "mlp", "cnn")
    few = given[1:-1] if len(given) > 4 else given
    labels = {"labels": ["semantic", "random"]}
    natural = {**scale.base, **natural_pool(scale)}
    small = members(NATURAL_FAMILIES[scale.name], "mlp", "cnn")
    learning = [model for model in small if model not in FIT_MOST.get(scale.name, ())]
    inputs = {"inputs": ["gaussian", "permuted"]}
    # Of 768 features a linear program takes a minute a failure too, on a processor that a lent GPU does not wait for.
    beside = [] if scale.name == "gpu" else [{"base": {**base, **linear}, "grid": axis} for axis in (labels, inputs)]
    return [
        {"base": base, "grid": {"model": given, **labels}},
        {"base": base, "grid": {"model": few, **inputs}},
        *beside,
        {"base": natural, "grid": {"model": small, **labels}},
        {"base": natural, "grid": {"model": learning, **inputs}},
    ]


#: Panels, from left to right.
PANELS = ("mlp", "cnn", "linear")


def table(taken: Taken) -> pd.DataFrame:
    """One row a pool, model and regime, with its ratio to semantic labels on natural inputs of the same pool."""
    natural = {_key(cell): result for cell, result in taken.results if _regime(cell) == style.NATURAL}
    rows = []
    for cell, result in taken.results:
        reference = natural.get(_key(cell)) if _regime(cell) != style.NATURAL else None
        against = {} if reference is None else ratio(result, reference, style.REGIMES[style.NATURAL])
        labels, inputs = _regime(cell)
        names = {"series": style.REGIMES[labels, inputs], "family": _family(cell), "model": str(cell["model"])}
        rows.append(names | {"data": str(cell["data"]), "labels": labels, "inputs": inputs} | mark(result) | against)
    return frame(rows, "series", "family", "model", "data", "labels", "inputs", after=RATIO_COLUMNS)


def _key(cell: Cell) -> tuple[str, str]:
    """What the two results of a ratio share."""
    return str(cell["data"]), str(cell["model"])


def _family(cell: Cell) -> str:
    return str(cell["model"]).partition(":")[0]


def _regime(cell: Cell) -> tuple[str, str]:
    return str(cell.get("labels", "semantic")), str(cell.get("inputs", "natural"))


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """A column for each family and pool: EMC against parameters above, ratio to semantic labels below."""
    parts = _parts(table)
    has_ratios = bool((table["ratio"] > 0).any())
    narrow = [rows["parameters"].nunique() == 1 for _, rows in parts]
    axes = style.panels(
        figure,
        len(parts),
        1 + has_ratios,
        height_mm=72 + 48 * has_ratios,
        width_ratios=[0.75 if one else 1 for one in narrow],
        sharey="row",
        width=style.TWO_COLUMNS if len(parts) > 1 else style.ONE_COLUMN,
    )
    heights = [*emc_values(table), *_line_heights(table)]
    shared: dict[str, Any] = {"names": False, "apart": 0.2 if len(parts) > 3 else 0.11}
    for place, (title, rows) in enumerate(parts):
        series = _series(style.family(str(rows["family"].iloc[0])))
        axes[place].set_title(title)
        draw_emc(axes[place], rows, series, heights=heights, line_name=not narrow[place], **shared)
        if has_ratios:
            below = axes[len(parts) + place]
            draw_ratios(below, rows, series, y_label="EMC relative to semantic labels", whole_y=table, **shared)
    style.label_outer(axes, len(parts))
    style.legend_below(figure, [*_handles(table), *style.mark_handles(table)])


def _parts(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows of each panel with its title: families from left to right, the pools of one beside each other."""
    found = []
    for family in PANELS:
        rows = table[table["family"] == family]
        found += [
            (f"{style.family(family).text}\n{data_text(data)}", rows[rows["data"] == data])
            for data in rows["data"].unique()
        ]
    return found


def _series(look: style.Look) -> dict[str, Series]:
    """The family's look in each regime."""
    return {
        text: Series(style.Look(text, look.colour, look.marker), style.LINES[regime], style.FILLS[regime])
        for regime, text in style.REGIMES.items()
    }


def _handles(table: pd.DataFrame) -> list[Any]:
    """Legend entries of the regimes, in no family's colour."""
    from matplotlib.lines import Line2D

    found = []
    for text, one in _series(style.Look("", style.GREY, "o")).items():
        if (table["series"] == text).any():
            look: dict[str, Any] = {"color": style.GREY, "marker": "o", "markersize": 4.5}
            look |= style.filled(style.GREY, one.fill)
            found.append(Line2D([], [], linestyle=one.line, label=text, **look))
    return found


def _line_heights(table: pd.DataFrame) -> list[float]:
    """Heights that let every panel show its half of the line "one sample a parameter"."""
    return [math.sqrt(rows["parameters"].min() * rows["parameters"].max()) for _, rows in _parts(table)]


STUDY = Study(
    name="labels",
    asks="What of an EMC comes from the structure of labels and inputs?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC for semantic and for random labels on natural inputs, and for semantic labels on Gaussian noise and "
    "on inputs under one fixed permutation of pixels; a column for each family and dataset; the "
    "linear model is on two classes. Below: each over the EMC "
    "with semantic labels and natural inputs of the same dataset, " + style.RATIOS + ". " + style.MARKS,
)
