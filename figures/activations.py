"""Activations: ReLU, tanh and none (paper, section on activations), and GELU beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures import style
from figures.drawing import SERIES, Series, draw_emc, draw_ratios
from figures.scales import Scale
from figures.study import Study, Taken
from figures.tables import RATIO_COLUMNS, frame, mark, ratio

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MODELS = {
    "smoke": ("mlp:width=3",),
    "cpu": ("mlp:width=5", "mlp:width=8"),
    "gpu": ("mlp:width=16", "mlp:width=32", "cnn:width=8,hidden=16"),
    "paper": tuple(f"mlp:width={2**k}" for k in range(2, 11)) + tuple(f"cnn:width={2**k}" for k in range(2, 9)),
}
ACTIVATIONS = ["relu", "tanh", "identity", "gelu"]


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """The same models with other activations, random labels."""
    base = {**scale.base, "data": "cifar10" if scale.name == "paper" else "digits", "labels": "random"}
    return [{"base": base, "grid": {"model": list(MODELS[scale.name]), "activation": ACTIVATIONS}}]


REFERENCE = "relu"
NAMES = {"relu": "ReLU", "tanh": "tanh", "identity": "none", "gelu": "GELU"}


def table(taken: Taken) -> pd.DataFrame:
    """One row a model and activation, with its ratio to ReLU."""
    relu = {cell["model"]: result for cell, result in taken.results if cell["activation"] == REFERENCE}
    rows = []
    for cell, result in taken.results:
        name, reference = str(cell["activation"]), relu.get(cell["model"])
        against = {} if reference is None or name == REFERENCE else ratio(result, reference, REFERENCE)
        names = {"series": name, "family": str(cell["model"]).partition(":")[0], "model": cell["model"]}
        rows.append(names | mark(result) | against)
    return frame(rows, "series", "family", "model", after=RATIO_COLUMNS)


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """A row for each family: EMC against parameters to the left, ratio to ReLU to the right."""
    families = list(table["family"].unique())
    has_ratios = bool((table["ratio"] > 0).any())
    columns = 1 + has_ratios
    width = style.TWO_COLUMNS if has_ratios else style.ONE_COLUMN
    axes = style.panels(figure, columns, len(families), height_mm=15 + 60 * len(families), width=width)
    for place, name in enumerate(families):
        rows, marker = table[table["family"] == name], style.family(name).marker
        series = {
            key: Series(style.Look(text, colour, marker), line)
            for (key, text), colour, line in zip(NAMES.items(), SERIES, ("-", "--", ":", "-."), strict=False)
        }
        axes[columns * place].set_title(style.family(name).text)
        draw_emc(axes[columns * place], rows, series)
        if has_ratios:
            draw_ratios(axes[columns * place + 1], rows, series, y_label="EMC relative to ReLU")
    style.legend_below(figure, style.mark_handles(table))


STUDY = Study(
    name="activations",
    asks="How much does the nonlinearity add?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC of the same networks with other activations, random labels. Right: over the EMC with ReLU, "
    + style.RATIOS
    + ". "
    + style.MARKS,
)
