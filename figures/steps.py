"""Steps to fit against n / EMC: what a probe near the EMC costs; of the cells of other studies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from emc.results import EmcResult, Status, Verdict
from figures import style
from figures.power_laws import sweeps
from figures.study import Study, Taken, data_text, models_text, training_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["STUDY", "sweeps"]

COLUMNS = ("family", "model", "data", "labels", "replicate", "emc", "n", "steps")

#: The fewest probes of a family that a panel is made of.
LEAST = 30

#: Bins of n / EMC over which medians run, and fewest probes of one.
BINS, FEWEST = 12, 5


def table(taken: Taken) -> pd.DataFrame:
    """One row a fitted probe of a replicate whose EMC is known, of every result of the study's own procedure.

    Results of every model, dataset and kind of labels in the journal count; families of few probes are left out.
    """
    import pandas as pd

    if not taken.results:
        return pd.DataFrame(columns=list(COLUMNS))
    own = _settings(taken.results[0][1])
    rows = [row for result in taken.recorded.results if _settings(result) == own for row in _rows(result)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).drop_duplicates()  # measurements may share probes
    many = frame.groupby("family")["family"].transform("size") >= LEAST
    return frame[many].reset_index(drop=True)


def _settings(result: EmcResult) -> dict[str, Any]:
    """What makes steps comparable: all of the procedure but the model."""
    return {name: value for name, value in result.procedure.items() if name != "model"}


def _rows(result: EmcResult) -> Iterator[Mapping[str, Any]]:
    known = {r.replicate: r.emc for r in result.replicates if r.status is Status.BRACKETED and r.emc > 0}
    model = str(result.procedure["model"])
    names = {"family": model.partition(":")[0], "model": model} | {k: result.task[k] for k in ("data", "labels")}
    for probe in result.probes:
        if probe.replicate in known and probe.verdict is Verdict.FITTED and probe.steps > 0:
            own = {"replicate": probe.replicate, "emc": known[probe.replicate], "n": probe.n, "steps": probe.steps}
            yield names | own


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """A panel for each family: every probe, and the running median with quartiles."""
    families = [name for name in style.FAMILIES if (table["family"] == name).any()]
    axes = style.panels(figure, max(len(families), 1), height_mm=65, sharey=True)
    share = table["n"] / table["emc"]
    for one, name in zip(axes, families, strict=False):
        rows, look = table[table["family"] == name], style.family(name)
        one.set_title(f"{look.text}, {len(rows):,} probes")
        place = rows["n"] / rows["emc"]
        one.plot(place, rows["steps"], linestyle="none", marker=".", markersize=2, color=style.tint(look.colour, 0.35))
        style.log_axis(one, "x", share, "n / EMC of the replicate", room=(1.1, 1.1))
        style.log_axis(one, "y", table["steps"], "steps to fit", room=(1.3, 1.3))
        _draw_median(one, place, rows["steps"], look)
        one.axvline(1, color=style.GREY, linewidth=0.7, zorder=1)
    style.label_outer(axes, len(axes))


def _draw_median(axes: Axes, share: pd.Series, steps: pd.Series, look: style.Look) -> None:
    """Median and quartiles of the steps over bins of equal length in log n / EMC."""
    import numpy as np

    logs = np.log(share.to_numpy(dtype=float))
    edges = np.linspace(logs.min(), logs.max() + 1e-9, BINS + 1)
    found = []
    for low, high in pairwise(edges):
        held = steps.to_numpy(dtype=float)[(logs >= low) & (logs < high)]
        if len(held) >= FEWEST:
            at = float(np.exp(np.median(logs[(logs >= low) & (logs < high)])))
            found.append((at, *np.quantile(held, [0.25, 0.5, 0.75])))
    if found:
        at, low, middle, high = np.array(found).T
        axes.fill_between(at, low, high, color=look.colour, alpha=0.25, linewidth=0, zorder=2)
        axes.plot(at, middle, color=look.colour, linewidth=1.5, zorder=3)


def tells(table: pd.DataFrame) -> str:
    """Of the rows drawn: how many probes of each dataset and kind of labels, and the models."""
    texts = {data: data_text(data) for data in table["data"].unique()}
    named = {data: text if list(texts.values()).count(text) == 1 else data for data, text in texts.items()}
    data, labels = (
        ", ".join(f"{count:,} on {name}" for name, count in column.value_counts().items())
        for column in (table["data"].map(named), table["labels"] + " labels")
    )
    return f"Probes: {data}; {labels}. Models: {models_text(list(table['model']))}."


def measured(taken: Taken) -> str:
    """The one procedure of the rows drawn."""
    return f"Training: {training_text([taken.results[0][1]])}."


STUDY = Study(
    name="steps",
    asks="How many steps does a fit take as n nears the EMC?",
    sweeps=sweeps,
    table=table,
    draw=draw,
    caption="Optimizer steps until all n samples are right against n over the EMC of the same replicate, for every "
    "fitted probe of the journal under one procedure, whose replicate is bracketed: a replicate of a lower bound has "
    f"no such n. Families of fewer than {LEAST} probes are left out; steps are counted at checks. "
    "The line is the median over bins, the band the quartiles.",
    tells=tells,
    measured=measured,
)
