"""Scaling: depth against width at equal numbers of parameters (paper, section on scaling)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emc.registry import PluginSpec
from emc.results import EmcResult
from figures import style
from figures.drawing import Series, draw_emc
from figures.pools import pool
from figures.scales import Scale
from figures.study import Cell, Study, Taken
from figures.tables import RATIO_COLUMNS, frame, mark, ratio

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Rows of members of about equal size, from the shallowest to the deepest.
MEMBERS = {
    "smoke": ("mlp:width=3", "mlp:width=3,depth=2"),
    "cpu": (
        "mlp:width=4", "mlp:width=4,depth=2", "mlp:width=4,depth=3",
        "mlp:width=8", "mlp:width=7,depth=2", "mlp:width=6,depth=3",
    ),
    "gpu": (
        "vit:patch=4,dim=12,depth=2,heads=2", "vit:patch=4,dim=8,depth=4,heads=2",
        "resnet:width=4,blocks=2|2,norm=group", "resnet:width=6,blocks=1|1,norm=group",
    ),
    "paper": (),
}  # fmt: skip
#: (family, recipe) whose members `emc scale` names, for the paper's own grids.
RECIPES = (
    ("resnet", "width"), ("resnet", "depth"), ("resnet_rs", "resnet_rs"), ("efficientnet", "compound"),
    ("vit", "depth"), ("vit", "width"), ("vit:patch=16", "svit"), ("vit:patch=16", "sovit"),
)  # fmt: skip
PARAMETERS = tuple(int(10 ** (k / 2)) for k in range(9, 16))


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Members of equal size; the paper's scale asks for them by recipe."""
    base = {**scale.base, **pool(scale)}
    labels = {"labels": ["semantic", "random"]}
    if scale.name != "paper":
        return [{"base": base, "grid": {"model": list(MEMBERS[scale.name]), **labels}}]
    return [
        {
            "base": {**base, "model": family, "match_recipe": recipe},
            "grid": {"match_parameters": list(PARAMETERS), **labels},
        }
        for family, recipe in RECIPES
    ]


def table(taken: Taken) -> pd.DataFrame:
    """One row a member and kind of labels; members of about equal size have their ratio to the shallowest."""
    rows = []
    shallowest: dict[tuple[str, str], EmcResult] = {}
    for cell, result in taken.results:
        line, key = _line(cell, result), (_size(cell), str(cell["labels"]))
        reference = shallowest.setdefault(key, result)
        against = ratio(result, reference, "shallowest of its size") if reference is not result and key[0] else {}
        names = {"series": line, "model": cell["model"], "labels": cell["labels"], "size": key[0]}
        rows.append(names | mark(result) | against)
    return frame(rows, "series", "model", "labels", "size", after=RATIO_COLUMNS)


def _line(cell: Cell, result: EmcResult) -> str:
    """What a member shares with those that are wider: its family and depth, or its recipe."""
    family = str(cell["model"]).partition(":")[0]
    if "match_recipe" in cell:
        return f"{style.family(family).text}, {cell['match_recipe']}"
    return f"{style.family(family).text}, depth {depth(str(result.procedure['model']))}"


def depth(model: str) -> int:
    """Hidden layers of an MLP, blocks of other families.

    >>> depth("mlp:width=5,depth=2"), depth("resnet:width=6,blocks=1|1,norm=group")
    (2, 2)
    """
    options = dict(PluginSpec.parse(model).options)
    if "blocks" in options:
        return sum(int(count) for count in str(options["blocks"]).split("|"))
    return int(str(options.get("depth", 1)))


def _size(cell: Cell) -> str:
    """The first of the members of about equal size; empty where the scale has none."""
    for members in MEMBERS.values():
        first = ""
        for before, member in zip(("", *members), members, strict=False):
            if not before or depth(member) <= depth(before) or before.partition(":")[0] != member.partition(":")[0]:
                first = member
            if member == cell["model"]:
                return first
    return ""


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """EMC against parameters, a line for each depth or recipe; semantic labels left, random ones right."""
    kinds = [kind for kind in ("semantic", "random") if (table["labels"] == kind).any()]
    axes = style.panels(
        figure, len(kinds), height_mm=75, width=style.TWO_COLUMNS if len(kinds) > 1 else style.ONE_COLUMN
    )
    for one, kind in zip(axes, kinds, strict=True):
        one.set_title(f"{kind} labels")
        draw_emc(one, table[table["labels"] == kind], _looks(table, kind), whole=table)
    style.legend_below(figure, style.mark_handles(table))


def _looks(table: pd.DataFrame, kind: str) -> dict[str, Series]:
    """The family's marker; the deeper or later, the darker."""
    models = dict(zip(table["series"], table["model"], strict=True))
    found = {}
    for name, model in models.items():
        look = style.family(model)
        like = [other for other, its in models.items() if style.family(its) == look]
        colour = style.shade(look.colour, like.index(name), len(like))
        regime = kind, "natural"
        found[name] = Series(style.Look(name, colour, look.marker), style.LINES[regime], style.FILLS[regime])
    return found


STUDY = Study(
    name="scaling",
    asks="Is it better to spend parameters on depth or on width?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC against trained parameters; a line joins members of one depth, or of one recipe, that grow; darker is "
    "deeper. Semantic labels to the left, random ones to the right. " + style.MARKS,
)
