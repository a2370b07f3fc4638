from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from studied import CPU, Recorded, drawn, marks, study_of

from emc.curve_record import Curve, CurvePoint
from emc.results import ProbeResult
from figures.study import Taken

STUDY = study_of("double_descent")


def held_out(probe: ProbeResult) -> ProbeResult:
    """With a test error of a tenth for draw 0, two tenths for draw 1, and so on."""
    return replace(probe, detail={**probe.detail, "test_rows": 100, "test_correct": 90 - 10 * (probe.replicate % 2)})


def at(curve: Curve, n: int) -> Curve:
    """The part of a curve at one size."""
    probes = tuple(held_out(probe) for probe in curve.probes if probe.n == n)
    return replace(curve, probes=probes, points=(CurvePoint.of(n, probes, 10, 0.95),))


@pytest.fixture
def taken(make_curve: Any) -> Taken:
    curve = make_curve()
    whole = replace(curve, probes=tuple(held_out(probe) for probe in curve.probes))
    # Widths 1, 2 and 4 with the shares of fits that the curve has at 18, 14 and 11 samples.
    wide = [({"model": f"mlp:width={w}"}, at(curve, n)) for w, n in ((1, 18), (2, 14), (4, 11))]
    cells: tuple[tuple[Any, Curve], ...] = (*wide, ({"model": "mlp:width=5"}, whole))
    return Taken(CPU, (), cells, (), Recorded((), (), {}, {}))


def test_errors_are_means_over_draws(taken: Taken) -> None:
    table = STUDY.table(taken)
    assert list(table["panel"]) == ["width"] * 3 + ["n"] * 5
    assert table["test_error"].to_list() == pytest.approx([0.15] * 8)
    assert (table["test_low"] < 0.15).all()
    assert (table["test_high"] > 0.15).all()
    by_size = table[table["panel"] == "n"].set_index("n")
    probes = [p for p in taken.curves[-1][1].probes if p.n == 18]
    assert by_size.loc[18, "training_error"] == pytest.approx(1 - sum(p.correct for p in probes) / (10 * 18))
    assert by_size.loc[8, "training_error"] == 0


def test_emc_is_n_where_half_of_the_draws_fit(taken: Taken) -> None:
    table = STUDY.table(taken)
    ends = table.groupby("panel")["emc_is_n_at"].unique()
    assert ends["width"] == pytest.approx([2 * 2**0.25])  # 0.4 of draws at width 2, 0.8 at 4
    assert ends["n"] == pytest.approx([11 * (14 / 11) ** 0.75])  # 0.8 at 11 samples, 0.4 at 14


def test_the_place_where_emc_is_n_has_an_interval(taken: Taken) -> None:
    table = STUDY.table(taken)
    low, at, high = table.loc[table["panel"] == "n", ["emc_is_n_low", "emc_is_n_at", "emc_is_n_high"]].iloc[0]
    assert low < at < high
    # 8 of 10 draws fit at the largest width: in over 2.5 % of resamples no more than half do, which leaves an end open.
    assert table.loc[table["panel"] == "width", ["emc_is_n_low", "emc_is_n_high"]].isna().all(axis=None)
    open_, panel = drawn(STUDY, table).axes
    assert not open_.patches
    (band,) = panel.patches
    assert [band.get_x(), band.get_x() + band.get_width()] == pytest.approx([low, high])


def test_the_picture_shows_both_and_the_line(taken: Taken) -> None:
    table = STUDY.table(taken)
    figure = drawn(STUDY, table)
    assert [len(marks([axes])) for axes in figure.axes] == [6, 10]
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["EMC = n at width 2.38", "EMC = n at n = 13.2"]


def test_without_a_crossing_there_is_no_line(taken: Taken) -> None:
    table = STUDY.table(replace(taken, curves=taken.curves[:2]))
    assert table["emc_is_n_at"].isna().all()
    (axes,) = drawn(STUDY, table).axes
    assert not axes.texts
