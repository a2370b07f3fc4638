"""Architectures: CNN, ViT and MLP at equal numbers of parameters (paper, section on architectures)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from figures import style
from figures.drawing import Series, draw_emc
from figures.pools import FAMILIES, NATURAL_FAMILIES, members, natural_pool, pool
from figures.scales import Scale
from figures.study import Cell, Study, Taken, data_text
from figures.tables import frame, mark

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Transformers train by PyTorch's modules on a CPU: there a budget of their own keeps them to minutes, and a CNN of
#: about the size of each has it too.
BUDGET = {"cpu": {"min_steps": 2_000}}
PEERS = {
    "cpu": {
        "vit:patch=4,dim=4,depth=1,heads=1,mlp_ratio=1.5": "cnn:width=3,hidden=8",
        "vit:patch=4,dim=3,depth=1,heads=1,mlp_ratio=2.5": "cnn:width=2,hidden=9",
    }
}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Every family, with semantic and random labels; MLP and CNN as in the study of labels."""
    pools = [(pool(scale), FAMILIES[scale.name])]
    if NATURAL_FAMILIES[scale.name].keys() - {"mlp", "cnn"}:
        pools.append((natural_pool(scale), NATURAL_FAMILIES[scale.name]))
    labels = {"labels": ["semantic", "random"]}
    found = []
    for images, known in pools:
        base = {**scale.base, **images}
        beside = {**base, **BUDGET.get(scale.name, {})}
        others = members(known, *(name for name in known if name not in ("mlp", "cnn")))
        peers = [PEERS[scale.name][model] for model in others] if scale.name in PEERS else []
        found += [
            {"base": base, "grid": {"model": members(known, "mlp", "cnn"), **labels}},
            {"base": beside, "grid": {"model": [*others, *peers], **labels}},
        ]
    return found


def table(taken: Taken) -> pd.DataFrame:
    """One row a pool, model, budget and kind of labels."""
    rows = (
        {"series": _series(cell, taken), "model": cell["model"], "data": cell["data"], "labels": cell["labels"]}
        | mark(result)
        for cell, result in taken.results
    )
    return frame(rows, "series", "model", "data", "labels")


def _series(cell: Cell, taken: Taken) -> str:
    """The family; where another budget than the scale's is asked for, that too."""
    family, steps = str(cell["model"]).partition(":")[0], cell.get("min_steps")
    return family if steps == taken.scale.base.get("min_steps") else f"{family}, {steps:,} steps"


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """EMC against parameters, semantic labels to the left and random ones to the right, a row of panels a pool."""
    kinds = [kind for kind in ("semantic", "random") if (table["labels"] == kind).any()]
    pools = list(dict.fromkeys(table["data"]))
    axes = style.panels(
        figure,
        len(kinds),
        len(pools),
        height_mm=15 + 60 * len(pools),
        width=style.TWO_COLUMNS if len(kinds) > 1 else style.ONE_COLUMN,
    )
    for place, one in enumerate(axes):
        data, kind = pools[place // len(kinds)], kinds[place % len(kinds)]
        whole = table[table["data"] == data]
        series = {name: _look(name, kind) for name in whole["series"].unique()}
        one.set_title(f"{data_text(data)}, {kind} labels")
        draw_emc(one, whole[whole["labels"] == kind], series, whole=whole)
    style.label_outer(axes, len(kinds))
    style.legend_below(figure, style.mark_handles(table))


def _look(name: str, kind: str) -> Series:
    family, _, budget = name.partition(", ")
    look = style.family(family)
    text = f"{look.text}, {budget}" if budget else look.text
    return Series(replace(look, text=text), style.LINES[kind, "natural"], style.FILLS[kind, "natural"])


STUDY = Study(
    name="architectures",
    asks="Which family fits most samples with as many parameters?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC against trained parameters for the families of networks, with semantic labels (left) and random ones "
    "(right), on the same samples, a row for each dataset. What names a number of steps has that budget; a CNN has it "
    "beside a transformer of its size. " + style.MARKS,
)
