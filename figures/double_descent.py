"""Double descent: test error against n at one model and against width at one n, with the peak where EMC = n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emc.curve_record import Curve, CurvePoint
from emc.plotting import OKABE_ITO
from emc.results import ProbeResult, Verdict
from emc.stats.crossing import crossing_interval
from emc.stats.proportions import mean_interval
from figures import style
from figures.scales import Scale
from figures.study import Study, Taken

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Nakkiran's share of labels drawn anew.
LABELS = "noise:p=0.2"
GRIDS: Mapping[str, tuple[int, list[int], str, list[int]]] = {
    "smoke": (16, [2, 4], "mlp:width=3", [8, 16]),
    "cpu": (
        200,
        [1, 2, 3, 4, 5, 6, 8, 11, 16, 32],
        "mlp:width=5",
        [25, 50, 75, 100, 150, 200, 300, 500, 800],
    ),
    "gpu": (800, [1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128], "mlp:width=16", [50, 100, 200, 400, 600, 800, 1000, 1300]),
    "paper": (4000, [2**k for k in range(8)], "resnet18k:width=8", [1000 * 2**k for k in range(6)]),
}


def sweeps(_: Scale) -> Sequence[Mapping[str, Any]]:
    """None: this study asks for curves."""
    return []


def curves(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Models by width at one n, and one model by n; labels of which a fifth are drawn anew, tested on clean ones."""
    n, widths, model, sizes = GRIDS[scale.name]
    kept = {name: value for name, value in scale.base.items() if name not in ("replicates", "n_max")}
    family = "resnet18k" if scale.name == "paper" else "mlp"
    data = "cifar10" if scale.name == "paper" else "digits"
    given = {**kept, "data": data, "labels": LABELS, "test_split": scale.test, "draws": max(2, scale.draws // 2)}
    wide = [{**given, "model": f"{family}:width={width}", "sizes": [n]} for width in widths]
    return [*wide, {**given, "model": model, "sizes": sizes}]


COLUMNS = (
    "panel", "model", "parameters", "width", "n", "draws", "test_error", "test_low", "test_high", "training_error",
    "training_low", "training_high", "fit_share", "fit_low", "fit_high", "undertrained", "emc_is_n_at",
    "emc_is_n_low", "emc_is_n_high", "fingerprint",
)  # fmt: skip
BY_WIDTH, BY_SIZE = "width", "n"
TEST, TRAINING = (
    style.Look("test error", OKABE_ITO["purple"], "s"),
    style.Look("training error", OKABE_ITO["black"], "o"),
)


def table(taken: Taken) -> pd.DataFrame:
    """One row a width at one n, and one a size at one model, with the place where half of the draws fit (EMC = n)."""
    import pandas as pd

    rows = []
    for cell, curve in taken.curves:
        panel = BY_WIDTH if len(curve.points) == 1 else BY_SIZE
        width = int(str(cell["model"]).partition("width=")[2].partition(",")[0])
        names = {"panel": panel, "model": cell["model"], "parameters": curve.parameters, "width": width}
        rows += [names | _errors(curve, point) for point in curve.points]
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    for panel in (BY_WIDTH, BY_SIZE):
        mine = found["panel"] == panel
        found.loc[mine, "emc_is_n_at"] = _half(found[mine], panel)
        found.loc[mine, ["emc_is_n_low", "emc_is_n_high"]] = _half_interval(found[mine], panel, taken)
    return found


def _errors(curve: Curve, point: CurvePoint) -> dict[str, Any]:
    """Errors of the draws at one size, each with its interval."""
    probes = [probe for probe in curve.probes if probe.n == point.n and probe.trained]
    tests = [1 - p.detail["test_correct"] / p.detail["test_rows"] for p in probes if "test_rows" in p.detail]
    training = [1 - _share(probe) for probe in probes]
    return {
        "n": point.n,
        "draws": len(probes),
        **_interval("test", tests, curve.confidence, "test_error"),
        **_interval("training", training, curve.confidence, "training_error"),
        "fit_share": point.fit_share,
        **dict(zip(("fit_low", "fit_high"), point.fit_interval or (), strict=False)),
        "undertrained": point.undertrained,
        "fingerprint": curve.fingerprint,
    }


def _share(probe: ProbeResult) -> float:
    return probe.correct / probe.n


def _interval(name: str, values: Sequence[float], confidence: float, mean: str) -> dict[str, float]:
    if not values:
        return {}
    low, high = mean_interval(values, confidence) or (float("nan"), float("nan"))
    return {mean: float(np.mean(values)), f"{name}_low": low, f"{name}_high": high}


def _half(rows: pd.DataFrame, panel: str) -> float:
    """Where P(fit) crosses 1/2, interpolated over the logarithm; nan where it does not."""
    rows = rows[rows["fit_share"].notna()].sort_values(panel)
    logs, shares = np.log(rows[panel].to_numpy(dtype=float)), rows["fit_share"].to_numpy(dtype=float) - 0.5
    crossings = np.flatnonzero((shares[:-1] < 0) != (shares[1:] < 0))
    if not len(crossings):
        return float("nan")
    i = int(crossings[0])
    return float(np.exp(logs[i] - shares[i] * (logs[i + 1] - logs[i]) / (shares[i + 1] - shares[i])))


def _half_interval(rows: pd.DataFrame, panel: str, taken: Taken) -> tuple[float, float]:
    """Interval of that place, by the bootstrap over draws; nan where draws are too few or leave an end open."""
    nothing = float("nan"), float("nan")
    place = rows["emc_is_n_at"].iloc[0] if len(rows) else nothing[0]
    if place != place:
        return nothing
    curves = {curve.fingerprint: curve for _, curve in taken.curves}
    rows = rows.sort_values(panel)
    fits = [_fits(curves[row["fingerprint"]], row["n"]) for row in rows.to_dict("records")]
    draws = sorted(set.intersection(*(set(each) for each in fits)))
    sign = 1 if panel == BY_WIDTH else -1  # `crossing_interval` is for means that rise
    values = np.array([[sign * each[draw] for each in fits] for draw in draws], dtype=float)
    below = int(np.searchsorted(rows[panel], place, side="right"))
    bracket = int(rows[panel].iloc[below - 1]), int(rows[panel].iloc[min(below, len(rows) - 1)])
    level, confidence = sign / 2, next(iter(curves.values())).confidence
    return crossing_interval(list(rows[panel]), values, level, bracket, confidence).ends or nothing


def _fits(curve: Curve, n: int) -> dict[int, bool]:
    """Whether each draw that gave evidence at a size was fitted."""
    return {
        probe.replicate: probe.verdict is Verdict.FITTED
        for probe in curve.probes
        if probe.n == n and probe.verdict in (Verdict.FITTED, Verdict.NOT_FITTED)
    }


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """Test and training error against width at one n, and against n at one model."""
    panels = [panel for panel in (BY_WIDTH, BY_SIZE) if (table["panel"] == panel).any()]
    axes = style.panels(figure, len(panels), height_mm=72, sharey=True)
    for one, panel in zip(axes, panels, strict=True):
        rows = table[table["panel"] == panel].sort_values(panel)
        by_width = panel == BY_WIDTH
        family = style.family(str(rows["model"].iloc[0])).text
        one.set_title(f"{family}s, n = {rows['n'].iloc[0]:,}" if by_width else str(rows["model"].iloc[0]))
        style.log_axis(one, "x", rows[panel], "hidden width" if by_width else "samples n", room=(1.15, 1.15))
        low, high = one.get_xlim()
        for name, look, side in (("test", TEST, -1), ("training", TRAINING, 1)):
            # Beside each other, so that no bar hides another.
            _draw_errors(one, rows, (rows[panel] * (high / low) ** (0.005 * side)), name, look)
        _draw_half(one, rows.iloc[0], "width" if by_width else "n =")
        one.set_ylim(-0.03, 1.0)
        one.set_ylabel("error (share of rows)")
    style.label_outer(axes, len(panels))
    handles = style.look_handles([TEST, TRAINING])
    if (table["undertrained"] > 0).any():
        handles.append(style.hollow_handle("with undertrained failures"))
    style.legend_below(figure, handles)


def _draw_errors(axes: Axes, rows: pd.DataFrame, places: pd.Series[Any], name: str, look: style.Look) -> None:
    axes.plot(places, rows[f"{name}_error"], color=look.colour)
    for at, row in zip(places, rows.to_dict("records"), strict=True):
        axes.plot([at, at], [row[f"{name}_low"], row[f"{name}_high"]], color=look.colour, linewidth=0.9)
        style.draw_value(axes, at, row[f"{name}_error"], look, hollow=row["undertrained"] > 0)


def _draw_half(axes: Axes, row: pd.Series[Any], name: str) -> None:
    place, low, high = (float(row[f"emc_is_n_{end}"]) for end in ("at", "low", "high"))
    if low == low:
        axes.axvspan(low, high, color="#EDEDED", linewidth=0, zorder=0)
    if place == place:
        axes.axvline(place, color=style.GREY, linewidth=0.9, linestyle=(0, (4, 1.5)), zorder=1)
        axes.annotate(
            f"EMC = n at {name} {place:.3g}", (place, 0.98), xytext=(3, 0), textcoords="offset points",
            xycoords=("data", "axes fraction"), va="top", fontsize=6.5, color=style.GREY,
        )  # fmt: skip


STUDY = Study(
    name="double_descent",
    asks="Does the test error peak where EMC = n?",
    sweeps=sweeps,
    curves=curves,
    table=table,
    draw=draw,
    caption="Test error on clean labels and training error on labels of which a fifth are drawn anew, mean over draws "
    "with bootstrap intervals: against width at one n (left) and against n at one model (right). The broken "
    "line is where half of the draws fit all samples, so that EMC = n, the band its 95 % interval by the bootstrap "
    "over draws, where no draw leaves it open. Hollow: some draws still gained when their budget was over. Few draws, "
    "and few sizes near the line, cannot tell whether the test error peaks there: no test is made of it. Samples of a "
    "draw are nested, so that a training error that falls with n is one of training, not of capacity.",
)
