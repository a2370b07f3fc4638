"""Flatness: the Hessian of the fitted model beside the EMC, for each optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from emc.curve_record import Curve
from emc.registry import PluginSpec
from emc.results import EmcResult, Verdict
from figures import style
from figures.drawing import dicts
from figures.optimizers import NAMES, sweeps
from figures.scales import Scale
from figures.study import Cell, Study, Taken
from figures.tables import mark

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["STUDY", "curves", "sweeps"]

#: Each optimizer with its batch size, at rates near those that tuning finds; the size that all of them fit.
OPTIMIZERS = (
    ("sgd:lr=0.1", 32), ("gd:lr=0.3", 2048), ("adam", 32), ("adam", 2048), ("adamw:weight_decay=0.01", 32),
    ("lbfgs", 2048), ("sam:lr=0.1,base=sgd", 32),
)  # fmt: skip
GRID = {
    "smoke": ("mlp:width=3", 12, 2),
    "cpu": ("mlp:width=8", 40, 4),
    "gpu": ("mlp:width=32", 300, 7),
    "paper": ("mlp:width=64", 1000, 7),
}


def curves(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Every optimizer at one size well below the EMC, with the curvature where it fitted."""
    model, n, count = GRID[scale.name]
    kept = {name: value for name, value in scale.base.items() if name not in ("replicates", "n_max")}
    given = {
        **kept,
        "data": "digits",
        "labels": "random",
        "flatness": True,
        "draws": scale.draws,
        "model": model,
        "sizes": [n],
    }
    return [
        {**given, "optimizer": optimizer, "batch_size": batch_size}
        for optimizer, batch_size in OPTIMIZERS[: None if scale.name != "smoke" else count]
    ]


#: What is shown of the Hessian, with the names of its panels.
MEASURES = {
    "largest": "largest eigenvalue",
    "trace": "trace of the Hessian",
    "loss": "training loss at the fit (nats)",
}
OWN = ("text", "model", "optimizer", "batch_size", "n", "draws", "fitted")
FLAT = tuple(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high"))
EMC = ("emc_optimizer", "emc", "interval_low", "interval_high", "censored", "status")


def table(taken: Taken) -> pd.DataFrame:
    """One row an optimizer: medians over the draws that fitted, with the EMC of the study of optimizers beside them."""
    import pandas as pd

    rows = []
    for cell, curve in taken.curves:
        batch = int(cell["batch_size"])
        full = "full batch" if batch >= curve.points[0].n else f"batches of {batch}"
        name = _name(cell)
        fitted = [p for p in curve.probes if p.verdict is Verdict.FITTED and "flatness" in p.detail]
        own = {
            "text": f"{NAMES.get(name, name.upper())}, {full}",
            "model": cell["model"],
            "optimizer": curve.procedure["optimizer"],
            "batch_size": batch,
            "n": curve.points[0].n,
            "draws": curve.draws,
            "fitted": len(fitted),
        }
        flat = [row for measure in MEASURES for row in _median(measure, curve, fitted)]
        rows.append(own | dict(flat) | _emc(cell, taken.results))
    return pd.DataFrame(rows, columns=[*OWN, *FLAT, *EMC])


def _name(cell: Cell) -> str:
    return str(cell["optimizer"]).partition(":")[0]


def _median(measure: str, curve: Curve, fitted: Sequence[Any]) -> list[tuple[str, float]]:
    """Median over draws and its interval by order statistics; without ends where there are too few draws for one."""
    known = [probe.detail["flatness"][measure] for probe in fitted]
    values = np.sort([value for value in known if value is not None])
    if not len(values):
        return []
    k = int(stats.binom.ppf((1 - curve.confidence) / 2, len(values), 0.5))
    ends = [(f"{measure}_low", float(values[k - 1])), (f"{measure}_high", float(values[-k]))] if k >= 1 else []
    return [(measure, float(np.median(values))), *ends]


def _emc(cell: Cell, results: Sequence[tuple[Cell, EmcResult]]) -> dict[str, Any]:
    """The EMC of the same optimizer and batch, whatever its rate."""
    for other, result in results:
        if _name(other) == _name(cell) and other["batch_size"] == cell["batch_size"]:
            found = mark(result)
            return {"emc_optimizer": result.procedure["optimizer"]} | {name: found[name] for name in EMC[1:]}
    return {}


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """Optimizers as rows: EMC, largest eigenvalue, trace, and the loss that both depend on."""
    look = style.family(str(table["model"].iloc[0]))
    known = table["emc"].notna()
    count = len(MEASURES) + bool(known.any())
    axes = style.panels(figure, count, height_mm=24 + 6 * len(table), sharey=True)
    rows = dicts(table)
    if known.any():
        emcs = table[known]
        values = [value for name in EMC[1:4] for value in emcs[name] if np.isfinite(value)]
        style.log_axis(axes[0], "x", values, "EMC (samples)", room=(1.15, 1.6), apart=0.2)
        for at, row in enumerate(rows):
            if row["emc"] == row["emc"]:
                style.draw_mark(axes[0], at, row, look, upright=False)
    for one, (name, label) in zip(axes[count - len(MEASURES) :], MEASURES.items(), strict=True):
        _draw_measure(one, rows, name, label, look)
    texts = [_text(row) for row in rows]
    axes[0].set_yticks(range(len(texts)), texts)
    axes[0].set_ylim(len(texts) - 0.4, -0.6)
    for one in axes:
        one.tick_params(axis="y", length=0)
        one.grid(axis="y", color="#E4E4E4", linewidth=0.5)
    if known.any():
        style.legend_below(figure, style.mark_handles(table[known]))


def _text(row: Mapping[str, Any]) -> str:
    short = "" if row["fitted"] == row["draws"] else f" ({row['fitted']} of {row['draws']} fitted)"
    return f"{row['text']}{short}"


def _power_text(value: float) -> str:
    """A power of ten; matplotlib's own needs its formula parser, which pictures have switched off.

    >>> [_power_text(value) for value in (1e-4, 0.01, 100.0)]
    ['10⁻⁴', '0.01', '100']
    """
    if 0.01 <= value < 1000:
        return f"{value:g}"
    raised = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
    return "10" + str(round(np.log10(value))).translate(raised)


def _draw_measure(axes: Axes, rows: Sequence[Mapping[str, Any]], name: str, label: str, look: style.Look) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    values = [row[f"{name}{end}"] for row in rows for end in ("", "_low", "_high")]
    known = [value for value in values if value == value]
    style.log_axis(axes, "x", known, label, room=(1.4, 1.4), apart=0.2)
    if known and max(known) > 1e3 * min(known):  # powers of ten, few enough to stand beside each other
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _power_text(value)))
    for at, row in enumerate(rows):
        if row[name] > 0:
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            axes.plot([low, high], [at, at], color=look.colour, linewidth=0.9)
            style.draw_value(axes, row[name], at, look)


def tells(table: pd.DataFrame) -> str:
    """The one number of samples, whose EMC is not above it, and how far the rates of EMC and Hessian are apart."""
    n = int(table["n"].iloc[0])
    below = [f"{row['text']} ({row['emc']:.0f})" for row in dicts(table) if row["emc"] <= n]
    known = [(_rate(row["optimizer"]), _rate(row["emc_optimizer"])) for row in dicts(table)]
    apart = [max(a, b) / min(a, b) for a, b in known if a and b and a != b]
    texts = [f"Samples: {n:,}" + (f", no fewer than the EMC of {', '.join(below)}." if below else ", below every EMC.")]
    if apart:
        texts.append(
            f"The EMC's learning rate is another one than the Hessian's for {len(apart)} of "
            f"{sum(bool(a and b) for a, b in known)} optimizers, by a factor of up to {max(apart):.3g}."
        )
    lacking = list(table.loc[table["emc"].isna(), "text"])
    return " ".join([*texts, *([f"No EMC is measured of {', '.join(lacking)}."] if lacking else [])])


def _rate(optimizer: object) -> float:
    """The learning rate of a resolved optimizer; 0 where there is none."""
    options = dict(PluginSpec.parse(optimizer).options) if isinstance(optimizer, str) else {}
    return float(str(options.get("lr", 0)))


STUDY = Study(
    name="flatness",
    asks="How sharp is the loss where each optimizer stops, and what is its EMC?",
    sweeps=sweeps,
    curves=curves,
    table=table,
    draw=draw,
    caption="Largest eigenvalue and trace of the Hessian of the mean training loss where each optimizer fitted one "
    "number of samples: medians over the draws that it fitted, with 95 % intervals by order statistics. Beside "
    "them the EMC under the same optimizer and batch, of the study of optimizers. "
    "Training ends at the first check that finds all samples right, at another loss for each optimizer and far from a "
    "minimum for some; the Hessian of a cross-entropy falls with the loss, so that eigenvalues are those of where "
    "training stops. Whether flatter minima go with a larger EMC is not tested.",
    tells=tells,
)
