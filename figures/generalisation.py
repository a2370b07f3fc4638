"""Generalisation gap against the rise of EMC from random to semantic labels (paper, section on generalisation)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emc.errors import ComparisonError
from emc.results import EmcResult
from emc.stats.correlate import correlate
from figures import style
from figures.labels import sweeps
from figures.study import Study, Taken

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The fewest points that a correlation is told of.
LEAST = 4

COLUMNS = (
    "family", "model", "parameters", "emc_semantic", "emc_random", "open", "rise_percent", "test_accuracy", "gap",
    "points", "pearson", "pearson_low", "pearson_high", "kendall", "kendall_low", "kendall_high",
)  # fmt: skip


def table(taken: Taken) -> pd.DataFrame:
    """One row a model; correlations are those over all rows whose rise is known."""
    import pandas as pd

    pairs: dict[str, dict[str, EmcResult]] = {}
    for cell, result in taken.results:
        if cell.get("inputs", "natural") == "natural":
            pairs.setdefault(str(cell["model"]), {})[str(cell.get("labels", "semantic"))] = result
    rows = [_row(model, pair) for model, pair in pairs.items() if {"semantic", "random"} <= pair.keys()]
    rows = [row for row in rows if math.isfinite(row["gap"]) and math.isfinite(row["rise_percent"])]
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    for name, value in _correlation(found).items():
        found[name] = value
    return found


def _row(model: str, pair: Mapping[str, EmcResult]) -> dict[str, Any]:
    semantic, random = pair["semantic"], pair["random"]
    tested = [share for share in semantic.test_accuracy if share is not None]
    accuracy = sum(tested) / len(tested) if tested else math.nan
    return {
        "family": model.partition(":")[0],
        "model": model,
        "parameters": semantic.parameters,
        "emc_semantic": semantic.emc,
        "emc_random": random.emc,
        "open": semantic.censored or random.censored,
        "rise_percent": 100 * (semantic.emc / random.emc - 1) if random.emc else math.nan,
        "test_accuracy": accuracy,
        "gap": 1 - accuracy,  # of a fit, whose training accuracy is 1
    }


def _correlation(table: pd.DataFrame) -> dict[str, float]:
    known = table[~table["open"].astype(bool)]
    empty = dict.fromkeys(("pearson", "kendall"), math.nan)
    if len(known) < LEAST:
        return {"points": len(known), **empty}
    try:
        found = correlate(known["rise_percent"].astype(float), known["gap"].astype(float))
    except ComparisonError:  # one side does not vary
        return {"points": len(known), **empty}
    numbers = {"points": float(len(known))}
    for name in ("pearson", "kendall"):
        one = getattr(found, name)
        numbers |= {name: one.value, f"{name}_low": one.interval[0], f"{name}_high": one.interval[1]}
    return numbers


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """Generalisation gap against the rise of EMC, one mark a model."""
    (axes,) = style.panels(figure, 1, height_mm=75, width=style.ONE_COLUMN)
    for _, row in table.iterrows():
        style.draw_value(axes, row["rise_percent"], row["gap"], style.family(row["family"]), hollow=bool(row["open"]))
    axes.margins(0.12)
    axes.set_xlabel("rise of EMC from random to semantic labels (%)")
    axes.set_ylabel("generalisation gap (share)")
    _tell_correlation(axes, table)
    style.legend_below(figure, style.family_handles(table["family"], line=False))


def _tell_correlation(axes: Axes, table: pd.DataFrame) -> None:
    first = table.iloc[0]
    if not math.isfinite(first["pearson"]):
        axes.set_title(f"{int(first['points'])} models with a known rise: too few to correlate", fontweight="normal")
        return
    told = ", ".join(
        f"{text} {first[name]:.2f} ({first[name + '_low']:.2f} to {first[name + '_high']:.2f})"
        for name, text in (("pearson", "r"), ("kendall", "tau"))
    )
    axes.set_title(told, fontweight="normal")


STUDY = Study(
    name="generalisation",
    asks="Do models generalise better whose EMC rises more from random to semantic labels?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="Generalisation gap (training accuracy, 1, less test accuracy of the largest fit, mean over replicates) "
    "against how much larger EMC is with semantic than with random labels, one mark a model; hollow where either EMC "
    "is a lower bound. Above: Pearson's r and Kendall's tau over the filled marks, with 95 % bootstrap intervals.",
)
