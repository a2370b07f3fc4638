"""Number of classes: classes merged at random, the model kept (paper, section on the number of classes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emc.results import EmcResult
from figures import style
from figures.drawing import Series, draw_emc, draw_ratios
from figures.scales import Scale
from figures.study import Study, Taken
from figures.tables import RATIO_COLUMNS, frame, mark, ratio

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

POOL = {
    "smoke": ("digits", "cnn:width=2,hidden=4", (2, 5)),
    "cpu": ("digits", "cnn:width=2,hidden=4", (2, 5, 10)),
    "gpu": ("synthetic_images:count=40000,size=16,channels=3,classes=50", "cnn:width=12,hidden=16", (2, 5, 10, 25, 50)),
    "paper": ("cifar100", "cnn:width=64", (2, 5, 10, 20, 50, 100)),
}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """One pool, merged to fewer and fewer classes, with semantic and with random labels."""
    data, model, classes = POOL[scale.name]
    base = {**scale.base, "data": data, "test_split": scale.test, "model": model, "n_start": max(classes)}
    return [{"base": base, "grid": {"labels": ["semantic", "random"], "classes": list(classes)}}]


def table(taken: Taken) -> pd.DataFrame:
    """One row a number of classes and kind of labels, with its ratio to the fewest classes of the same labels."""
    fewest: dict[str, tuple[int, EmcResult]] = {}
    for cell, result in taken.results:
        classes, labels = int(cell["classes"]), str(cell["labels"])
        if labels not in fewest or classes < fewest[labels][0]:
            fewest[labels] = classes, result
    rows = []
    for cell, result in taken.results:
        classes, labels = int(cell["classes"]), str(cell["labels"])
        least, reference = fewest[labels]
        against = ratio(result, reference, f"{least} classes") if classes != least else {}
        names = {"series": f"{labels} labels", "labels": labels, "classes": classes, "model": cell["model"]}
        rows.append(names | mark(result) | against)
    return frame(rows, "series", "labels", "classes", "model", after=RATIO_COLUMNS)


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """EMC against the number of classes, and its ratio to that with the fewest."""
    look = style.family(str(table["model"].iloc[0]))
    series = {
        f"{labels} labels": Series(
            style.Look(f"{labels} labels", look.colour, look.marker),
            style.LINES[labels, "natural"],
            style.FILLS[labels, "natural"],
        )
        for labels in ("semantic", "random")
    }
    has_ratios = bool((table["ratio"] > 0).any())
    axes = style.panels(
        figure, 1 + has_ratios, height_mm=68, width=style.TWO_COLUMNS if has_ratios else style.ONE_COLUMN
    )
    options: dict[str, Any] = {"x": "classes", "x_label": "number of classes"}
    draw_emc(axes[0], table, series, **options)
    if has_ratios:
        draw_ratios(
            axes[1], table, series, whole=table, y_label=f"EMC relative to {table['classes'].min()} classes", **options
        )
    style.legend_below(figure, style.mark_handles(table))


def tells(table: pd.DataFrame) -> str:
    """How the network grows with the classes."""
    counts = dict(sorted(zip(table["classes"], table["parameters"], strict=True)))
    known = ", ".join(f"{count:,} with {classes} classes" for classes, count in counts.items())
    return f"Its last layer grows with the classes; its trained parameters: {known}."


STUDY = Study(
    name="classes",
    asks="Does it take more or less to fit samples of more classes?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    tells=tells,
    caption="EMC of one CNN, whose classes are merged at random into fewer, against their number, for semantic labels "
    "(solid) and random ones (dashed, tinted). Right: over the EMC with the fewest classes, "
    + style.RATIOS
    + ". "
    + style.MARKS,
)
