"""Training accuracy and P(fit) against n, which no paper shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emc.curve_record import Curve
from emc.plotting import OKABE_ITO
from figures import style
from figures.scales import Scale
from figures.study import Study, Taken

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def sweeps(_: Scale) -> Sequence[Mapping[str, Any]]:
    """None: this study asks for curves."""
    return []


def curves(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """An MLP with random labels on digits, and the linear model that Cover's theorem knows."""
    kept = {name: value for name, value in scale.base.items() if name not in ("replicates", "n_max")}
    given = {**kept, "labels": "random", "draws": scale.draws}
    linear = {"model": "linear", "data": "gaussian:dim=20", "optimizer": "lbfgs", "min_steps": 2_000}
    sizes, cover = GRIDS[scale.name]
    return [
        {**given, "model": MODEL[scale.name], "data": "digits", "sizes": sizes},
        {**given, **linear, "draws": 4 * scale.draws, "sizes": cover},
    ]


MODEL = {"smoke": "mlp:width=3", "cpu": "mlp:width=8", "gpu": "mlp:width=32", "paper": "mlp:width=64"}
GRIDS = {
    "smoke": ([8, 16, 48], [30, 44]),
    "cpu": ([80, 110, 140, 170, 200, 230, 260, 300, 350], list(range(30, 58, 3))),
    "gpu": ([400, 500, 600, 700, 800, 950, 1100, 1300, 1500], list(range(30, 58, 3))),
    "paper": ([1000, 1200, 1400, 1600, 1750], list(range(30, 58, 3))),
}


COLUMNS = (
    "panel", "family", "kind", "n", "value", "low", "high", "draws", "undertrained", "accuracy", "accuracy_low",
    "accuracy_high", "censored", "fingerprint",
)  # fmt: skip


def table(taken: Taken) -> pd.DataFrame:
    """One row a size of a curve (kind `point`), of its fit, of Cover's theorem, and one for n50."""
    import pandas as pd

    rows = [row for cell, curve in taken.curves for row in _rows(str(cell["model"]), curve)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(model: str, curve: Curve) -> list[dict[str, Any]]:
    data = str(curve.task["data"]).partition(":")[0]
    labels = "" if curve.task["labels"] == "semantic" else f", {curve.task['labels']} labels"
    name = {"panel": f"{model} on {data}{labels}", "family": model.partition(":")[0], "fingerprint": curve.fingerprint}
    rows = [
        {
            "kind": "point", "n": point.n, "value": point.fit_share, **_ends("", point.fit_interval),
            "draws": point.fits + point.failures, "undertrained": point.undertrained,
            "accuracy": point.accuracy, **_ends("accuracy_", point.accuracy_interval),
        }
        for point in curve.points
    ]  # fmt: skip
    fitted = curve.fitted
    if fitted is not None:
        band = zip(fitted.low, fitted.high, strict=True) if fitted.low else [None] * len(fitted.sizes)
        lines = zip(fitted.sizes, fitted.values, band, strict=True)
        rows += [{"kind": "fitted", "n": n, "value": value, **_ends("", ends)} for n, value, ends in lines]
        rows.append({"kind": "n50", "n": fitted.n50, "censored": fitted.censored, **_ends("", fitted.interval)})
    if curve.cover is not None:
        rows += [{"kind": "cover", "n": n, "value": value} for n, value in curve.cover.line()]
        rows.append({"kind": "cover n50", "n": curve.cover.n50})
    return [name | row for row in rows]


def _ends(prefix: str, ends: tuple[float, float] | None) -> dict[str, float]:
    return {} if ends is None else {f"{prefix}low": ends[0], f"{prefix}high": ends[1]}


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """A column for each curve: P(fit) above, mean training accuracy below."""
    groups = list(table.groupby("panel", sort=False))
    axes = style.panels(figure, len(groups), 2, height_mm=90, sharex="col")
    for place, (name, rows) in enumerate(groups):
        shares, accuracies = axes[place], axes[place + len(groups)]
        look = style.family(str(rows["family"].iloc[0]))
        points = rows[rows["kind"] == "point"]
        shares.set_title(str(name))
        _draw_lines(shares, rows, look)
        _draw_points(shares, points, ("value", "low", "high"), look)
        _draw_points(accuracies, points, ("accuracy", "accuracy_low", "accuracy_high"), look)
        shares.set_ylim(-0.04, 1.04)
        shares.set_ylabel("P(fit)")
        accuracies.set_ylabel("mean training accuracy")
        style.log_axis(accuracies, "x", points["n"], "samples n", room=(1.08, 1.08))
    style.label_outer(axes, len(groups))
    style.legend_below(figure, _handles(table))


def _draw_lines(axes: Axes, rows: pd.DataFrame, look: style.Look) -> None:
    """The fitted curve with its band, Cover's theorem, and n50 with its interval."""
    fitted, cover = (rows[rows["kind"] == kind].sort_values("n") for kind in ("fitted", "cover"))
    axes.plot(fitted["n"], fitted["value"], color=look.colour, zorder=2)
    if len(fitted) and fitted["low"].notna().all():
        axes.fill_between(fitted["n"], fitted["low"], fitted["high"], color=style.tint(look.colour, 0.2), zorder=0)
    axes.plot(cover["n"], cover["value"], color=OKABE_ITO["vermillion"], linestyle=(0, (4, 1.5)), zorder=3)
    half = rows[rows["kind"] == "n50"]
    for row in half.to_dict("records"):
        axes.axhline(0.5, color=style.GREY, linewidth=0.5, linestyle=":", zorder=1)
        if row["low"] == row["low"]:
            axes.plot([row["low"], row["high"]], [0.5, 0.5], color=OKABE_ITO["green"], linewidth=2.5, zorder=5)
        axes.plot(row["n"], 0.5, marker="|", markersize=11, color=OKABE_ITO["green"], zorder=6)
        sign = style.AT_LEAST if row["censored"] else "="
        ends = f" ({row['low']:.0f} to {row['high']:.0f})" if row["low"] == row["low"] else ""
        text = f"n50 {sign} {row['n']:.3g}{ends}"
        axes.annotate(text, (0.98, 0.95), xycoords="axes fraction", ha="right", va="top", fontsize=6.5)
    for row in rows[rows["kind"] == "cover n50"].to_dict("records"):
        axes.annotate(
            f"Cover: {row['n']:.0f}", (0.98, 0.86), xycoords="axes fraction", ha="right", va="top", fontsize=6.5,
            color=OKABE_ITO["vermillion"],
        )  # fmt: skip


def _draw_points(axes: Axes, points: pd.DataFrame, columns: tuple[str, str, str], look: style.Look) -> None:
    for row in points.to_dict("records"):
        value, low, high = (row[name] for name in columns)
        if value == value:
            axes.plot([row["n"], row["n"]], [low, high], color=look.colour, linewidth=0.9, zorder=3)
            style.draw_value(axes, row["n"], value, look, hollow=row["undertrained"] > 0)


def _handles(table: pd.DataFrame) -> list[Any]:
    from matplotlib.lines import Line2D

    kinds = set(table["kind"])
    mark: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 4.5, "color": style.GREY}
    found = [Line2D([], [], label="draws, 95 % interval", **mark)]
    if (table["undertrained"] > 0).any():
        found.append(Line2D([], [], label="with undertrained failures", markerfacecolor="white", **mark))
    if "fitted" in kinds:
        found.append(Line2D([], [], color=style.GREY, label="fitted curve and band"))
        found.append(Line2D([], [], color=OKABE_ITO["green"], linewidth=2.5, label="n50 with its interval"))
    if "cover" in kinds:
        line = (0, (4, 1.5))
        found.append(Line2D([], [], color=OKABE_ITO["vermillion"], linestyle=line, label="Cover's theorem"))
    return found


STUDY = Study(
    name="curves",
    asks="How does the training accuracy fall, and the chance of a fit, as n passes the EMC?",
    sweeps=sweeps,
    curves=curves,
    table=table,
    draw=draw,
    caption="Share of draws that fit every sample (above, Wilson's intervals) and mean training accuracy (below, "
    "bootstrap intervals) against n. The line is a psychometric curve; n50, where it is one half, is the EMC. "
    "For the linear model on Gaussian inputs Cover's theorem gives the curve.",
)
