"""Datasets: EMC against parameters for tables and images (paper, section on datasets)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emc.results import EmcResult
from figures import style
from figures.drawing import Series, dicts, draw_emc
from figures.pools import IMAGES
from figures.scales import Scale, grid
from figures.study import Cell, Study, Taken, data_text
from figures.tables import frame, mark

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TABLES = {
    "smoke": ("wine",),
    "cpu": ("wine", "breast_cancer"),
    "gpu": ("breast_cancer",),
    "paper": ("covertype", "adult", "credit"),
}
PICTURES = {
    "smoke": ("digits",),
    "cpu": ("digits", IMAGES["cpu"]),
    "gpu": ("digits", "synthetic_images:count=40000,size=8,channels=1"),
    "paper": ("mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet:size=64"),
}
#: Measured too where `--with-data` names their folder (`figures.pools.FILES`): images of as many pixels as the others.
CIFAR10 = "folder:path=cifar10/train,size=8"
ON_DISK_TABLES = ("csv:path=adult.csv,target=Salary", "csv:path=credit.csv,target=class,drop=ID")
#: The least members on 192 features; the `paper` scale has these datasets by their names.
CIFAR10_SIZES = {"smoke": (200,), "cpu": (200, 540), "gpu": (540, 1080)}
#: No family's (`style.FAMILIES`), and told apart by readers who confuse colours (after Tol 2021, "muted").
COLOURS = ("#882255", "#999933", "#332288", "#7FCDBB", "#6B4226", "#E9A3C9", "#B3A2D8", "#DDCC77")
SIZES = {
    "smoke": (140,),
    "cpu": (140, 270, 540),
    "gpu": (270, 540, 1080, 2160),
    "paper": tuple(1000 * 2**k for k in range(12)),
}

#: The members of those sizes where other studies measure some of the same, which are to be asked for in one way.
WIDTHS = {"cpu": {IMAGES["cpu"]: ("mlp:width=2", "mlp:width=4", "mlp:width=7")}}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """MLPs of equal size on every dataset: random labels of two classes, one label space for all; semantic labels.

    Beside them the linear model, of which Cover's theorem says one sample a parameter for two classes.
    """
    data = list(dict.fromkeys((*TABLES[scale.name], *PICTURES[scale.name])))
    base = {**scale.base, "model": "mlp", "test_split": scale.test}
    random = {**base, "labels": "random", "classes": 2}
    semantic = {**base, "labels": "semantic"}
    linear = {**random, "model": "linear", "optimizer": "lbfgs", "min_steps": 2_000}
    sizes = list(SIZES[scale.name])
    shared = [one for one in data if one in WIDTHS.get(scale.name, {})]
    named = [grid({**semantic, "data": one}, model=list(WIDTHS[scale.name][one])) for one in shared]
    on_disk = CIFAR10_SIZES.get(scale.name, ()) if scale.on_disk else ()
    read = [
        {"base": labels, "grid": {"data": list(found), "match_parameters": list(members)}}
        for labels in (random, semantic)
        for found, members in ((ON_DISK_TABLES, sizes), ((CIFAR10,), on_disk))
        if on_disk
    ]
    return [
        {"base": random, "grid": {"data": data, "match_parameters": sizes}},
        {
            "base": semantic,
            "grid": {"data": [one for one in data if one not in shared], "match_parameters": sizes},
        },
        *named,
        *read,
        {"base": linear, "grid": {"data": [*data, *((*ON_DISK_TABLES, CIFAR10) if on_disk else ())]}},
    ]


def table(taken: Taken) -> pd.DataFrame:
    """One row a dataset, size and kind of labels."""
    rows = (
        {
            "series": _name(cell) + (", linear" if cell["model"] == "linear" else ""),
            "dataset": _name(cell),
            "kind": _kind(cell),
            "labels": result.task["labels"],
            "model": result.procedure["model"],
            "size": _size(cell, result, taken.scale),
        }
        | mark(result)
        for cell, result in taken.results
    )
    return frame(rows, "series", "dataset", "kind", "labels", "model", "size")


def _size(cell: Cell, result: EmcResult, scale: Scale) -> int | None:
    """Parameters that the member was chosen for, as the nearest of its family; None of linear models."""
    if cell["model"] == "linear":
        return None
    asked = SIZES[scale.name]
    return int(cell.get("match_parameters") or min(asked, key=lambda size: abs(math.log(size / result.parameters))))


def _name(cell: Cell) -> str:
    return data_text(str(cell["data"]))


def _kind(cell: Cell) -> str:
    tables = {name for names in TABLES.values() for name in names} | set(ON_DISK_TABLES)
    return "table" if cell["data"] in tables else "images"


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """EMC against parameters for either kind of labels, and test accuracy against EMC."""
    looks = _looks(table)
    kinds = [kind for kind in ("random", "semantic") if (table["labels"] == kind).any()]
    tested = table[(table["labels"] == "semantic") & table["test_accuracy"].notna() & (table["emc"] > 0)]
    axes = style.panels(figure, len(kinds) + (len(tested) > 0), height_mm=62)
    for one, kind in zip(axes, kinds, strict=False):
        one.set_title(f"{kind} labels" + (", 2 classes" if kind == "random" else ""))
        draw_emc(one, table[table["labels"] == kind], looks, whole=table, names=False, line_name=False)
    style.label_outer(axes[: len(kinds)], len(kinds))
    if len(tested):
        _draw_accuracy(axes[-1], tested, looks)
    nets = _nets(table)
    handles = style.look_handles(looks[name].look for name in nets["series"].unique())
    if len(nets) < len(table):
        linear = replace(style.FAMILIES["linear"], text="linear model, edged in the dataset's colour")
        handles += style.look_handles([linear], line=False)
    style.legend_below(figure, [*handles, style.parameter_line_handle(), *style.mark_handles(table)])


def _nets(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["series"] == table["dataset"]]


def tells(table: pd.DataFrame) -> str:
    """How far apart the members of a size are, and how many EMCs are those of a dataset fitted whole."""
    nets = _nets(table)
    texts = []
    for labels, rows in nets.groupby("labels", sort=False):
        spans = [f"{size['parameters'].min():,} to {size['parameters'].max():,}" for _, size in rows.groupby("size")]
        most = max(size["parameters"].max() / size["parameters"].min() for _, size in rows.groupby("size")) - 1
        texts.append(f"with {labels} labels {', '.join(spans)} (at most {100 * most:.0f} % apart)")
    whole = nets[nets["emc"] >= nets["rows"]]
    told = f"Parameters of the members of a size: {'; '.join(texts)}."
    if whole.empty:
        return told
    names = ", ".join(f"{name} {rows['rows'].max():,} rows" for name, rows in whole.groupby("dataset", sort=False))
    return f"{told} {len(whole)} of {len(nets)} EMCs of nets are those of a dataset fitted whole ({names})."


def _looks(table: pd.DataFrame) -> dict[str, Series]:
    """A colour for each dataset; tables are circles, images squares, linear models black crosses as everywhere."""
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(table["dataset"].unique())}
    found = {}
    for name, dataset, kind in zip(table["series"], table["dataset"], table["kind"], strict=True):
        if name != dataset:
            found[name] = Series(replace(style.FAMILIES["linear"], text=name, edge=colours[dataset]))
        else:
            found[name] = Series(style.Look(name, colours[dataset], "o" if kind == "table" else "s"))
    return found


def _draw_accuracy(axes: Axes, tested: pd.DataFrame, looks: Mapping[str, Series]) -> None:
    axes.set_title("test, semantic labels")
    style.log_axis(axes, "x", tested["emc"], "EMC (samples)", room=(1.3, 1.3))
    sizes = sorted(tested["parameters"].unique())
    for row in dicts(tested.sort_values("parameters", ascending=False)):
        look, size = looks[row["series"]].look, 3 + 3.5 * sizes.index(row["parameters"]) / max(len(sizes) - 1, 1)
        hollow = row["status"] == "undertrained"
        style.draw_value(axes, row["emc"], row["test_accuracy"], look, hollow=hollow, size=size)
        if row["censored"]:
            style.draw_lower_bound(axes, row["emc"], row["test_accuracy"], look)
    axes.set_ylabel("test accuracy (share)")
    axes.set_ylim(0, 1.05)


STUDY = Study(
    name="datasets",
    asks="Which data let a network fit more samples: tables or images?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="EMC of MLPs with one hidden layer, on each dataset those whose number of parameters is nearest to one of "
    "a few: widths are whole numbers, so that members of a size differ. Random labels are of two classes, one label "
    "space for all; crosses are the linear model. Semantic labels are the dataset's own, whose number of classes "
    "differs, and with it the accuracy of guessing. Last panel: test accuracy of the largest fit, mean over "
    "replicates, against EMC; larger for more parameters. " + style.MARKS,
    tells=tells,
)
