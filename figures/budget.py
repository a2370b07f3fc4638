"""EMC against the budget of steps: how far an unfinished training passes for one that cannot fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emc.plotting import OKABE_ITO
from figures import style
from figures.drawing import Series, draw_emc
from figures.scales import FULL_BATCH, Scale, grid
from figures.study import Study, Taken
from figures.tables import frame, mark

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

STEPS = {
    "smoke": [100, 200],
    "cpu": [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000],
    "gpu": [500, 1_000, 2_000, 4_000, 8_000],
    "paper": [10**k * m for k in (3, 4, 5) for m in (1, 2, 5)],
}
MODEL = {"smoke": "mlp:width=3", "cpu": "mlp:width=8", "gpu": "mlp:width=32", "paper": "mlp:width=64"}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """One model with random labels on digits, at one budget after the other, in batches and in one batch."""
    base = {**scale.base, "max_epochs": 1, "data": "digits", "labels": "random", "model": MODEL[scale.name]}
    return [grid(base, batch_size=[64, FULL_BATCH], min_steps=STEPS[scale.name])]


LOOKS = {
    "batches of 64": style.Look("batches of 64", OKABE_ITO["orange"], "D"),
    "full batch": style.Look("full batch", OKABE_ITO["blue"], "o"),
}


def table(taken: Taken) -> pd.DataFrame:
    """One row a budget and batch size."""
    rows = []
    for cell, result in taken.results:
        full = int(cell["batch_size"]) == FULL_BATCH
        names = {"series": list(LOOKS)[full], "model": cell["model"], "budget": int(cell["min_steps"])}
        rows.append(names | {"batch_size": int(cell["batch_size"])} | mark(result))
    return frame(rows, "series", "model", "budget", "batch_size")


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """EMC against budget, a line for each batch size."""
    (axes,) = style.panels(figure, 1, height_mm=72, width=1.35 * style.ONE_COLUMN)
    draw_emc(
        axes, table, {name: Series(look) for name, look in LOOKS.items()},
        x="budget", x_label="budget (optimizer steps a probe)",
    )  # fmt: skip
    style.legend_below(figure, style.mark_handles(table))


STUDY = Study(
    name="budget",
    asks="How far does an unfinished training pass for one that cannot fit?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC of one network with random labels against the steps that a probe may take, in mini-batches and in "
    "one batch. A search whose failures still gained when their budget was over is undertrained: its EMC is a "
    "lower bound. " + style.MARKS,
)
