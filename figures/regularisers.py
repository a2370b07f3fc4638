"""Regularisers: weight decay, label smoothing, SAM, dropout (the paper names no directions known here)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures import style
from figures.drawing import draw_rows
from figures.scales import Scale, one
from figures.study import Cell, Study, Taken
from figures.tables import RATIO_COLUMNS, frame, mark, ratio

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MODEL = {"smoke": ("mlp", 3), "cpu": ("mlp", 8), "gpu": ("mlp", 32), "paper": ("cnn", 64)}
#: One budget for all, since some train by PyTorch's modules one at a time: what is compared is the EMC within it.
BUDGET = {"cpu": {"min_steps": 2_000}}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """One model without and with each, random labels."""
    family, width = MODEL[scale.name]
    data = "cifar10" if scale.name == "paper" else "digits"
    base = {
        **scale.base,
        **BUDGET.get(scale.name, {}),
        "data": data,
        "labels": "random",
        "model": f"{family}:width={width}",
    }
    changes: list[dict[str, Any]] = [
        {"optimizer": "adamw:weight_decay=0"},
        {"optimizer": "adamw:weight_decay=0.01"},
        {"optimizer": "adamw:weight_decay=0.1"},
        {"label_smoothing": 0.1},
        {"optimizer": "sam:base=adam"},
        {"model": f"{family}:width={width},dropout=0.1"},
    ]
    if scale.name == "smoke":
        changes = changes[:4]
    return [one({**base, **change}) for change in changes]


def table(taken: Taken) -> pd.DataFrame:
    """One row a regulariser, with its ratio to none."""
    none = next((result for cell, result in taken.results if _text(cell) == "none"), None)
    rows = []
    for cell, result in taken.results:
        against = {} if none is None or result is none else ratio(result, none, "none")
        names = {"series": "all", "text": _text(cell), "model": cell["model"]}
        rows.append(names | mark(result) | against)
    return frame(rows, "series", "text", "model", after=RATIO_COLUMNS)


def _text(cell: Cell) -> str:
    """The one change of a cell."""
    name, _, options = str(cell.get("optimizer", "")).partition(":")
    if cell.get("label_smoothing"):
        return f"label smoothing {cell['label_smoothing']}"
    if "dropout=" in str(cell["model"]):
        return f"dropout {str(cell['model']).rpartition('dropout=')[2]}"
    if name == "sam":
        return "SAM"
    decay = options.rpartition("weight_decay=")[2]
    return "none" if decay in ("", "0") else f"weight decay {decay}"


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """Regularisers as rows: EMC, and its ratio to none."""
    look = style.family(str(table["model"].iloc[0]))
    draw_rows(figure, table, {"all": look}, ratio_label="EMC relative to none")


STUDY = Study(
    name="regularisers",
    asks="Does a regulariser change how many samples are fitted?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC of one network without and with each regulariser, random labels. Right: over the EMC without, "
    + style.RATIOS
    + ". "
    + style.MARKS,
)
