from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from emc.curve_record import Curve
from emc.errors import OutputError
from emc.plotting import (
    Dot,
    Outcome,
    Point,
    accuracy_data,
    curve_data,
    draw_accuracy,
    draw_curve,
    picture_format,
    plot_result,
    readable_ticks,
)
from emc.results import EmcResult, Evidence, Verdict
from emc.stats.cover import separable

KINDS = ["bracketed", "undertrained", "non_monotone", "censored", "diverged", "interrupted"]
MakeResult = Callable[..., EmcResult]
MakeCurve = Callable[..., Curve]


def test_data_has_every_probe_exactly(make_result: MakeResult) -> None:
    result = make_result("bracketed", 1)
    data = accuracy_data(result)
    fitted, failed = Outcome.FITTED, Outcome.NOT_FITTED
    assert data.points == (
        Point(16, 1.0, fitted, 0),
        Point(32, 1.0, fitted, 0),
        Point(64, 1.0, fitted, 0),
        Point(100, 1.0, fitted, 0),
        Point(105, 104 / 105, failed, 0),
        Point(116, 112 / 116, failed, 0),
        Point(128, 121 / 128, failed, 0),
    )
    assert (data.emc, data.censored, data.interval, data.confidence) == (100, False, None, 0.95)
    assert data.title == "mlp:width=16 on digits, random labels"


@pytest.mark.parametrize("kind", KINDS)
def test_data_repeats_the_result(make_result: MakeResult, kind: str) -> None:
    result = make_result(kind)
    data = accuracy_data(result)
    assert len(data.points) == len(result.probes)
    assert (data.emc, data.censored, data.interval) == (result.emc, result.censored, result.interval)


@pytest.mark.parametrize(
    ("verdict", "evidence", "outcome"),
    [
        (Verdict.FITTED, None, Outcome.FITTED),
        (Verdict.NOT_FITTED, None, Outcome.NOT_FITTED),
        (Verdict.NOT_FITTED, Evidence.NOISE_FLOOR, Outcome.NOT_FITTED),
        (Verdict.NOT_FITTED, Evidence.INFEASIBLE, Outcome.NOT_FITTED),
        (Verdict.NOT_FITTED, Evidence.BUDGET, Outcome.UNDERTRAINED),
        (Verdict.NOT_FITTED, Evidence.SADDLE, Outcome.UNDERTRAINED),
        (Verdict.DIVERGED, None, Outcome.NO_EVIDENCE),
        (Verdict.FAILED, None, Outcome.NO_EVIDENCE),
    ],
)
def test_outcomes(make_result: MakeResult, verdict: Verdict, evidence: Evidence | None, outcome: Outcome) -> None:
    probe = replace(make_result().probes[0], verdict=verdict, evidence=evidence)
    assert Outcome.of(probe) is outcome


def _drawn(result: EmcResult) -> Any:
    axes = Figure().subplots()
    draw_accuracy(axes, accuracy_data(result))
    return axes


def _legend(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_drawing_shows_every_point_where_it_is(make_result: MakeResult) -> None:
    result = make_result("bracketed")
    axes = _drawn(result)
    drawn = np.concatenate([np.asarray(collection.get_offsets()) for collection in axes.collections])
    expected = np.array([(probe.n, probe.correct / probe.n) for probe in result.probes])
    assert sorted(map(tuple, drawn.tolist())) == sorted(map(tuple, expected.tolist()))
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    assert low < expected[:, 0].min()
    assert high > expected[:, 0].max()
    floor, top = axes.get_ylim()
    assert floor < expected[:, 1].min()
    assert top > 1


def test_drawing_marks_emc_and_interval(make_result: MakeResult) -> None:
    axes = _drawn(make_result("bracketed"))
    assert axes.lines[0].get_xdata()[0] == 100
    assert axes.lines[0].get_linestyle() == "-"
    assert (axes.patches[0].get_x(), axes.patches[0].get_width()) == (92, 25)
    assert _legend(axes) == ["95 % interval", "EMC = 100", "fitted", "not fitted"]


def test_a_censored_emc_is_dashed_and_at_least(make_result: MakeResult) -> None:
    axes = _drawn(make_result("undertrained"))
    assert axes.lines[0].get_linestyle() == "--"
    assert not axes.patches
    assert _legend(axes) == ["EMC ≥ 100", "fitted", "not fitted, undertrained"]


def test_undertrained_failures_are_hollow(make_result: MakeResult) -> None:
    faces = {
        kind: {str(c.get_label()): len(c.get_facecolors()) for c in _drawn(make_result(kind)).collections}
        for kind in ("bracketed", "undertrained")
    }
    assert faces == {
        "bracketed": {"fitted": 1, "not fitted": 1},
        "undertrained": {"fitted": 1, "not fitted, undertrained": 0},
    }


def test_diverged_probes_stand_at_the_foot(make_result: MakeResult) -> None:
    result = make_result("diverged")
    axes = _drawn(result)
    crosses = np.asarray(axes.collections[-1].get_offsets())
    assert len(crosses) == 6
    assert set(crosses[:, 1]) == {axes.get_ylim()[0]}


def test_nothing_fitted_draws_no_line(make_result: MakeResult) -> None:
    probe = replace(make_result().probes[0], n=1, correct=0, verdict=Verdict.NOT_FITTED, evidence=Evidence.STATIONARY)
    axes = _drawn(make_result(emc=0, lower=0, interval=None, probes=(probe,)))
    assert not axes.lines
    assert axes.get_ylim()[0] < 0


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_valid_and_alone(make_result: MakeResult, tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"p.{suffix}"
    plot_result(make_result(kind), path)
    assert os.listdir(tmp_path) == [path.name]
    if suffix == "png":
        with Image.open(path) as picture:
            picture.load()
            assert picture.size == (1320, 740)
            assert len(set(picture.convert("L").tobytes())) > 10
    elif suffix == "pdf":
        content = path.read_bytes()
        assert content.startswith(b"%PDF-")
        assert content.rstrip().endswith(b"%%EOF")
    else:
        texts = "".join(ElementTree.parse(path).getroot().itertext())
        assert "samples n" in texts
        assert "EMC" in texts


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_same_result_gives_the_same_file(make_result: MakeResult, tmp_path: Path, suffix: str) -> None:
    plot_result(make_result(), tmp_path / f"a.{suffix}")
    plot_result(make_result(), tmp_path / f"b.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_long_titles_wrap_and_hold_no_formulas(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result()
    task = {**result.task, "data": "csv:path=/a/$very$/" + "long/" * 40 + "name.csv,target=y"}
    plot_result(replace(result, task=task), tmp_path / "p.svg")
    texts = "".join(ElementTree.parse(tmp_path / "p.svg").getroot().itertext())
    assert "$very$" in texts


@pytest.mark.parametrize("path", ["p.jpg", "p", "p.json", ".png"])
def test_an_unknown_suffix_is_refused_before_drawing(make_result: MakeResult, tmp_path: Path, path: str) -> None:
    with pytest.raises(OutputError, match=r"a picture ends in one of .png, .pdf, .svg, got .*; change its suffix"):
        plot_result(make_result(), tmp_path / path)
    assert os.listdir(tmp_path) == []


def test_suffixes_in_capitals() -> None:
    assert picture_format("A.PNG") == "png"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (14, 1200, [20, 50, 100, 200, 500, 1000]),
        (29, 55, [30, 40, 50]),
        (0.8, 2.3, [1, 2]),
        (0.9, 1.2, [1]),
        (901, 960, [901, 912, 923, 934, 945, 956]),
        (10, 100_000, [10, 100, 1000, 10_000, 100_000]),
    ],
)
def test_readable_ticks(low: float, high: float, ticks: list[int]) -> None:
    assert readable_ticks(low, high) == ticks


def test_ticks_are_few_and_inside() -> None:
    for low in (1, 3, 16, 37, 990):
        for factor in (1.3, 2, 5, 40, 1e3, 1e5):
            ticks = readable_ticks(low, low * factor)
            assert 1 <= len(ticks) <= 9
            assert all(low <= tick <= low * factor for tick in ticks)


def _drawn_curve(curve: Curve) -> Any:
    axes = Figure().subplots(2)
    draw_curve(axes, curve_data(curve))
    return axes


def test_curve_data_repeats_the_curve(make_curve: MakeCurve) -> None:
    curve = make_curve()
    data = curve_data(curve)
    assert [(dot.n, dot.share) for dot in data.fits] == [(8, 1.0), (11, 0.8), (14, 0.4), (18, 0.1), (24, 0.0)]
    assert [(dot.low, dot.high) for dot in data.fits] == [point.fit_interval for point in curve.points]
    assert data.accuracies[-1] == Dot(24, 22 / 24, 22 / 24, 22 / 24, False)
    assert (data.n50, data.interval, data.censored) == (13.2, (11.5, 15.0), False)
    assert data.cover is not None
    assert data.cover == (tuple(range(8, 25)), tuple(separable(n, 6) for n in range(8, 25)))
    assert data.cover_band is not None
    assert data.cover_band[0] == (8, 11, 14, 18, 24)


def test_a_curve_shows_its_points_and_covers(make_curve: MakeCurve) -> None:
    shares, accuracies = _drawn_curve(make_curve())
    lines = {str(line.get_label()): line for line in shares.get_lines()}
    assert lines["Cover's theorem"].get_linestyle() == "--"
    assert lines["EMC (n50) = 13.2"].get_linestyle() == "-"
    (container,) = shares.containers
    assert np.asarray(container[0].get_xydata()) == pytest.approx(
        np.array([(8, 1.0), (11, 0.8), (14, 0.4), (18, 0.1), (24, 0.0)])
    )
    assert container[0].get_markerfacecolor() != "white"
    assert len(accuracies.containers) == 1
    assert shares.get_ylim() == (-0.04, 1.04)


def test_points_with_undertrained_failures_are_hollow(make_curve: MakeCurve) -> None:
    shares, accuracies = _drawn_curve(make_curve(Evidence.BUDGET))
    for axes in (shares, accuracies):
        filled, hollow = axes.containers
        assert (filled[0].get_xdata() == [8]).all()
        assert hollow[0].get_markerfacecolor() == "white"
        assert (hollow[0].get_xdata() == [11, 14, 18, 24]).all()
    assert "share of draws, 95 % interval,\nwith undertrained failures" in _legend(shares)


def test_a_curve_without_a_fit_or_theorem_is_points_alone(make_curve: MakeCurve, tmp_path: Path) -> None:
    curve = make_curve(fitted=None, cover=None)
    shares, _ = _drawn_curve(curve)
    assert _legend(shares) == ["share of draws, 95 % interval"]
    plot_result(make_curve(fitted=None, cover=None, points=()), tmp_path / "p.png")
    assert (tmp_path / "p.png").exists()


def test_a_curves_picture_is_the_same_each_time(make_curve: MakeCurve, tmp_path: Path) -> None:
    plot_result(make_curve(), tmp_path / "a.svg")
    plot_result(make_curve(), tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    texts = "".join(ElementTree.parse(tmp_path / "a.svg").getroot().itertext())
    assert "P(fit)" in texts
    assert "mean training accuracy" in texts
