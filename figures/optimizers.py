"""Optimizers: SGD, full-batch GD, Adam and others, rates tuned (paper, section on optimizers)."""

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

MODEL = {"smoke": "mlp:width=3", "cpu": "mlp:width=8", "gpu": "mlp:width=32", "paper": "cnn:width=64"}
#: Each with its batch size; lr=auto is tuned on draws of its own.
OPTIMIZERS = {
    "smoke": (("sgd:lr=0.1", 16), ("gd:lr=0.1", 2048), ("adam", 16)),
    "cpu": (
        ("sgd:lr=auto", 32),
        ("gd:lr=auto", 2048),
        ("adam:lr=auto", 32),
        ("adam:lr=auto", 2048),
        ("lbfgs", 2048),
        ("muon:ends=true", 2048),
    ),
    "gpu": (
        ("sgd:lr=0.1", 128),
        ("gd:lr=0.3", 2048),
        ("adam", 128),
        ("adam", 2048),
        ("lion", 128),
        ("muon:ends=true", 128),
    ),
    "paper": (
        ("sgd:lr=auto", 128),
        ("gd:lr=auto", 65536),
        ("adam:lr=auto", 128),
        ("adamw:lr=auto,weight_decay=0.01", 128),
        ("shampoo:lr=auto", 128),
    ),
}
#: Those that PyTorch's modules train one at a time on a CPU, with a budget of their own there.
SLOW = {"lbfgs": 2_000, "muon": 2_000}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """One model under each optimizer, random labels."""
    base = {**scale.base, "data": "cifar10" if scale.name == "paper" else "digits", "labels": "random"}
    found = []
    for optimizer, batch_size in OPTIMIZERS[scale.name]:
        slow = SLOW.get(optimizer.partition(":")[0]) if scale.name == "cpu" else None
        budget = {} if slow is None else {"min_steps": slow}
        cell = {"model": MODEL[scale.name], "optimizer": optimizer, "batch_size": batch_size, **budget}
        found.append(one({**base, **cell}))
    return found


#: What others are held against: mini-batches of plain descent.
REFERENCE = "sgd"
NAMES = {"sgd": "SGD", "gd": "GD", "adam": "Adam", "adamw": "AdamW", "lbfgs": "L-BFGS", "lion": "Lion", "muon": "Muon"}


def table(taken: Taken) -> pd.DataFrame:
    """One row an optimizer and batch size, with its ratio to SGD."""
    sgd = next((result for cell, result in taken.results if _name(cell) == REFERENCE), None)
    rows = []
    for cell, result in taken.results:
        against = {} if sgd is None or result is sgd else ratio(result, sgd, NAMES[REFERENCE])
        tuned = (result.tuning or {}).get("chosen") or {}
        batch = int(cell["batch_size"])
        full = all(probe.n <= batch for probe in result.probes)
        names = {
            "series": _name(cell),
            "text": f"{NAMES.get(_name(cell), _name(cell))}, {'full batch' if full else f'batches of {batch}'}",
            "model": cell["model"],
            "optimizer": result.procedure["optimizer"],
            "batch_size": batch,
            "lr_tuned": tuned.get("lr"),
            "lr_at_edge": (result.tuning or {}).get("at_edge"),
        }
        rows.append(names | mark(result) | against)
    own = ("series", "text", "model", "optimizer", "batch_size", "lr_tuned", "lr_at_edge")
    return frame(rows, *own, after=RATIO_COLUMNS)


def _name(cell: Cell) -> str:
    return str(cell["optimizer"]).partition(":")[0]


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """Optimizers as rows: EMC, and its ratio to SGD."""
    look = style.family(str(table["model"].iloc[0]))
    draw_rows(figure, table, dict.fromkeys(table["series"], look), ratio_label="EMC relative to SGD")


STUDY = Study(
    name="optimizers",
    asks="Do optimizers differ in how many samples they fit?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC of one network under each optimizer, random labels. Where the table has a rate in `lr_tuned`, it was "
    "tuned on draws of its own; `lr_at_edge` tells whether it is the smallest or largest rate tried, so that a better "
    "one may lie beyond. Right: over the EMC with SGD, " + style.RATIOS + ". " + style.MARKS,
)
