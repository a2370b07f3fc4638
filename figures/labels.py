"""Inputs and labels: what of an EMC comes from the data's structure (paper, section on inputs and labels)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures import style
from figures.drawing import Series, draw_emc, draw_ratios, emc_values
from figures.pools import families, pool
from figures.scales import Scale
from figures.study import Cell, Study, Taken
from figures.tables import RATIO_COLUMNS, frame, mark, ratio

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Photographs or handwriting beside the synthetic images, with models that their semantic labels can overstrain.
NATURAL = {"smoke": "digits", "cpu": "digits", "gpu": "digits", "paper": "cifar10"}
SMALL = {
    "smoke": ("mlp:width=2",),
    "cpu": (
        "mlp:width=3", "mlp:width=5", "mlp:width=8", "cnn:width=2,hidden=4",
    ),
    "gpu": ("mlp:width=8", "mlp:width=16", "cnn:width=8,hidden=16", "cnn:width=12,hidden=24"),
    "paper": tuple(f"mlp:width={2**k}" for k in range(1, 10)) + tuple(f"cnn:width={2**k}" for k in range(2, 9)),
}  # fmt: skip


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Semantic and random labels on natural inputs, semantic labels on noise and on permuted inputs.

    The linear model is trained by L-BFGS, which ends, on two classes: there its linear program tells at once whether a
    failure could have been a fit (with ten classes it takes a minute a failure).
    """
    base = {**scale.base, **pool(scale)}
    linear = {"model": "linear", "optimizer": "lbfgs", "min_steps": 2_000, "classes": 2}
    given = families(scale, "mlp", "cnn")
    few = [model for model in given if model != given[0]] if len(given) > 4 else given
    labels = {"labels": ["semantic", "random"]}
    digits = {**scale.base, "data": NATURAL[scale.name], "test_split": scale.test}
    inputs = {"inputs": ["gaussian", "permuted"]}
    # Of 768 features a linear program takes a minute a failure too, on a processor that a lent GPU does not wait for.
    beside = [] if scale.name == "gpu" else [{"base": {**base, **linear}, "grid": axis} for axis in (labels, inputs)]
    return [
        {"base": base, "grid": {"model": given, **labels}},
        {"base": base, "grid": {"model": few, **inputs}},
        *beside,
        {"base": digits, "grid": {"model": list(SMALL[scale.name]), **labels}},
    ]


#: Panels, from left to right.
PANELS = ("mlp", "cnn", "linear")


def table(taken: Taken) -> pd.DataFrame:
    """One row a model and regime, with its ratio to semantic labels on natural inputs."""
    natural = {_model(cell): result for cell, result in taken.results if _regime(cell) == style.NATURAL}
    rows = []
    for cell, result in taken.results:
        reference = natural.get(_model(cell)) if _regime(cell) != style.NATURAL else None
        against = {} if reference is None else ratio(result, reference, style.REGIMES[style.NATURAL])
        labels, inputs = _regime(cell)
        names = {"series": style.REGIMES[labels, inputs], "family": _family(cell), "model": _model(cell)}
        rows.append(names | {"labels": labels, "inputs": inputs} | mark(result) | against)
    return frame(rows, "series", "family", "model", "labels", "inputs", after=RATIO_COLUMNS)


def _model(cell: Cell) -> str:
    return str(cell["model"])


def _family(cell: Cell) -> str:
    return _model(cell).partition(":")[0]


def _regime(cell: Cell) -> tuple[str, str]:
    return str(cell.get("labels", "semantic")), str(cell.get("inputs", "natural"))


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """A column for each family: EMC against parameters above, ratio to semantic labels below."""
    families = [name for name in PANELS if (table["family"] == name).any()]
    has_ratios = bool((table["ratio"] > 0).any())
    widths = [0.55 if table[table["family"] == name]["parameters"].nunique() == 1 else 1 for name in families]
    axes = style.panels(
        figure,
        len(families),
        1 + has_ratios,
        height_mm=72 + 48 * has_ratios,
        width_ratios=widths,
        sharey="row",
        width=style.TWO_COLUMNS if len(families) > 1 else style.ONE_COLUMN,
    )
    for place, name in enumerate(families):
        rows, look = table[table["family"] == name], style.family(name)
        series = {
            text: Series(
                style.Look(text.partition(" ")[0], look.colour, look.marker), style.LINES[regime], regime[0] == "random"
            )
            for regime, text in style.REGIMES.items()
        }
        axes[place].set_title(look.text)
        draw_emc(axes[place], rows, series, heights=[*emc_values(table), *_line_heights(table)])
        if has_ratios:
            draw_ratios(
                axes[len(families) + place], rows, series, y_label="EMC relative to semantic labels", whole_y=table
            )
    style.label_outer(axes, len(families))
    style.legend_below(figure, style.mark_handles(table))


def _line_heights(table: pd.DataFrame) -> list[float]:
    """Heights that let every panel show its half of the line "one sample a parameter"."""
    return [math.sqrt(rows["parameters"].min() * rows["parameters"].max()) for _, rows in table.groupby("family")]


STUDY = Study(
    name="labels",
    asks="What of an EMC comes from the structure of labels and inputs?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC for semantic and for random labels on natural inputs, and for semantic labels on Gaussian noise and "
    "on inputs under one fixed permutation of pixels, for MLPs, CNNs and the linear model. Below: each over the EMC "
    "with semantic labels and natural inputs, Hodges-Lehmann ratios paired by replicate with 95 % intervals; hollow "
    "with an arrow where lower bounds leave the ratio open.",
)
