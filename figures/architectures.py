"""Architectures: CNN, ViT and MLP at equal numbers of parameters (paper, section on architectures)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures import style
from figures.drawing import Series, draw_emc
from figures.pools import FAMILIES, families, pool
from figures.scales import Scale
from figures.study import Study, Taken
from figures.tables import frame, mark

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Transformers train by PyTorch's modules on a CPU; a budget of their own keeps them to minutes there.
BUDGET = {"cpu": {"min_steps": 2_000}}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Every family, with semantic and random labels; MLP and CNN as in the study of labels."""
    base = {**scale.base, **pool(scale)}
    labels = {"labels": ["semantic", "random"]}
    others = [name for name in FAMILIES[scale.name] if name not in ("mlp", "cnn")]
    beside = {**base, **BUDGET.get(scale.name, {})}
    return [
        {"base": base, "grid": {"model": families(scale, "mlp", "cnn"), **labels}},
        {"base": beside, "grid": {"model": families(scale, *others), **labels}},
    ]


def table(taken: Taken) -> pd.DataFrame:
    """One row a model and kind of labels."""
    rows = (
        {"series": str(cell["model"]).partition(":")[0], "model": cell["model"], "labels": cell["labels"]}
        | mark(result)
        for cell, result in taken.results
    )
    return frame(rows, "series", "model", "labels")


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """EMC against parameters, semantic labels to the left and random ones to the right."""
    kinds = [kind for kind in ("semantic", "random") if (table["labels"] == kind).any()]
    axes = style.panels(
        figure, len(kinds), height_mm=75, width=style.TWO_COLUMNS if len(kinds) > 1 else style.ONE_COLUMN
    )
    for one, kind in zip(axes, kinds, strict=True):
        series = {
            name: Series(style.family(name), style.LINES[kind, "natural"], style.FILLS[kind, "natural"])
            for name in table["series"].unique()
        }
        one.set_title(f"{kind} labels")
        draw_emc(one, table[table["labels"] == kind], series, whole=table)
    style.legend_below(figure, style.mark_handles(table))


STUDY = Study(
    name="architectures",
    asks="Which family fits most samples with as many parameters?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC against trained parameters for the families of networks, with semantic labels (left) and random ones "
    "(right), on the same samples. " + style.MARKS,
)
