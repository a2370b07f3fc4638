"""Generalisation gap against the rise of EMC from random to semantic labels (paper, section on generalisation)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emc.errors import ComparisonError
from emc.results import EmcResult
from emc.stats.correlate import correlate
from figures import style
from figures.drawing import dicts
from figures.labels import sweeps
from figures.study import Cell, Study, Taken, data_text, settings_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The fewest points that a correlation is told of.
LEAST = 4

COLUMNS = (
    "family", "model", "data", "classes", "parameters", "emc_semantic", "emc_random", "open", "open_below",
    "open_above", "rise_percent", "test_accuracy", "gap", "points", "pearson", "pearson_low", "pearson_high", "kendall",
    "kendall_low", "kendall_high",
)  # fmt: skip


def table(taken: Taken) -> pd.DataFrame:
    """One row a pool and model; correlations are those over the rows of the pool whose rise is known.

    Models on merged classes are left out: of other numbers of classes, other gaps are chance.
    """
    import pandas as pd

    pairs: dict[tuple[str, str], dict[str, EmcResult]] = {}
    for cell, result in taken.results:
        if _drawn(cell, result):
            key = str(cell["data"]), str(cell["model"])
            pairs.setdefault(key, {})[str(cell.get("labels", "semantic"))] = result
    rows = [_row(*key, pair) for key, pair in pairs.items() if {"semantic", "random"} <= pair.keys()]
    rows = [row for row in rows if math.isfinite(row["gap"]) and math.isfinite(row["rise_percent"])]
    told = {data: _correlation([row for row in rows if row["data"] == data]) for data in {row["data"] for row in rows}}
    return pd.DataFrame([row | told[row["data"]] for row in rows], columns=list(COLUMNS))


def _row(data: str, model: str, pair: Mapping[str, EmcResult]) -> dict[str, Any]:
    semantic, random = pair["semantic"], pair["random"]
    tested = [share for share in semantic.test_accuracy if share is not None]
    accuracy = sum(tested) / len(tested) if tested else math.nan
    return {
        "family": model.partition(":")[0],
        "model": model,
        "data": data,
        "classes": len(semantic.dataset.get("classes", ())),
        "parameters": semantic.parameters,
        "emc_semantic": semantic.emc,
        "emc_random": random.emc,
        "open": semantic.censored or random.censored,
        "open_below": random.censored,
        "open_above": semantic.censored,
        "rise_percent": 100 * (semantic.emc / random.emc - 1) if random.emc else math.nan,
        "test_accuracy": accuracy,
        "gap": 1 - accuracy,  # of a fit, whose training accuracy is 1
    }


def _correlation(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    known = [row for row in rows if not row["open"]]
    numbers = {"points": float(len(known)), **dict.fromkeys(("pearson", "kendall"), math.nan)}
    if len(known) < LEAST:
        return numbers
    try:
        found = correlate([row["rise_percent"] for row in known], [row["gap"] for row in known])
    except ComparisonError:  # one side does not vary
        return numbers
    for name in ("pearson", "kendall"):
        one = getattr(found, name)
        numbers |= {name: one.value, f"{name}_low": one.interval[0], f"{name}_high": one.interval[1]}
    return numbers


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """A panel for each pool: generalisation gap against the rise of EMC, one mark a model."""
    pools = list(table["data"].unique())
    width = style.TWO_COLUMNS if len(pools) > 1 else style.ONE_COLUMN
    axes = style.panels(figure, len(pools), height_mm=75, width=width, sharey=True)
    for one, data in zip(axes, pools, strict=True):
        rows = table[table["data"] == data]
        for row in dicts(rows):
            place, look = (row["rise_percent"], row["gap"]), style.family(row["family"])
            style.draw_bound(one, *place, look, below=row["open_below"], above=row["open_above"])
        one.margins(0.15)
        _draw_chance(one, rows)
        one.set_xlabel("rise of EMC from random to semantic labels (%)")
        one.set_ylabel("generalisation gap (share)")
        one.set_title(f"{data_text(data)}, {_correlation_text(rows.iloc[0])}", fontweight="normal")
    style.label_outer(axes, len(axes))
    handles = style.family_handles(table["family"], line=False)
    style.legend_below(figure, [*handles, *([style.open_handle()] if table["open"].any() else [])])


def _draw_chance(axes: Axes, rows: pd.DataFrame) -> None:
    """The gap of a model that guesses among equally frequent classes."""
    (classes,) = rows["classes"].unique()
    if classes:
        axes.axhline(1 - 1 / classes, color=style.GREY, linewidth=0.7, zorder=1)
        axes.annotate(
            "chance", xy=(1, 1 - 1 / classes), xytext=(-2, 2), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="bottom", color=style.GREY, fontsize=6,
        )  # fmt: skip


def _correlation_text(first: Mapping[str, Any]) -> str:
    models = f"{int(first['points'])} models with a known rise"
    if not math.isfinite(first["pearson"]):
        return f"{models}: too few, or too alike, to correlate"
    told = [
        f"{text} {first[name]:.2f} ({first[name + '_low']:.2f} to {first[name + '_high']:.2f})"
        for name, text in (("pearson", "r"), ("kendall", "tau"))
    ]
    return f"{models}\n{', '.join(told)}"


def measured(taken: Taken) -> str:
    """What the models drawn were measured with."""
    return settings_text(replace(taken, results=tuple(one for one in taken.results if _drawn(*one))))


def _drawn(cell: Cell, result: EmcResult) -> bool:
    return cell.get("inputs", "natural") == "natural" and result.task.get("classes") is None


STUDY = Study(
    name="generalisation",
    asks="Do models generalise better whose EMC rises more from random to semantic labels?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="Generalisation gap (training accuracy, 1, less test accuracy of the largest fit, mean over replicates) "
    "against how much larger EMC is with semantic than with random labels, one mark a model, a panel for each "
    "dataset, each with all of its classes; a dotted arrow where a lower bound of an EMC leaves the rise open. Above: "
    "Pearson's r and Kendall's tau over the marks of the panel without such an arrow, with 95 % bootstrap intervals. "
    "The largest fit is larger for models of a larger EMC with semantic labels, and more data alone lowers a gap: a "
    "falling line is no proof that the rise of EMC goes with generalisation at equal n.",
    measured=measured,
)
