from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from studied import CPU, Recorded, drawn, hollow, marks, study_of

from emc.curve_record import Curve
from emc.results import Evidence
from figures.study import Taken

STUDY = study_of("curves")


def taken(*curves: Curve) -> Taken:
    cells: tuple[tuple[Any, Curve], ...] = tuple(({"model": "linear"}, curve) for curve in curves)
    return Taken(CPU, (), cells, (), Recorded((), curves, {}, {}))


def test_points_fit_theorem_and_n50_are_rows(make_curve: Any) -> None:
    curve = make_curve()
    table = STUDY.table(taken(curve))
    points = table[table["kind"] == "point"]
    assert list(points["n"]) == [point.n for point in curve.points]
    assert list(points["value"]) == [1.0, 0.8, 0.4, 0.1, 0.0]
    assert (points["low"].iloc[2], points["high"].iloc[2]) == pytest.approx(curve.points[2].fit_interval)
    assert list(points["accuracy"]) == [point.accuracy for point in curve.points]
    assert list(table[table["kind"] == "fitted"]["value"]) == list(curve.fitted.values)
    half = table[table["kind"] == "n50"].iloc[0]
    assert (half["n"], half["low"], half["high"]) == (13.2, 11.5, 15.0)
    cover = table[table["kind"] == "cover"].set_index("n")["value"]
    assert cover[curve.cover.n50] == pytest.approx(0.5)
    assert table[table["kind"] == "cover n50"]["n"].iloc[0] == curve.cover.n50


def test_the_picture_has_two_panels_a_curve(make_curve: Any) -> None:
    curve = make_curve()
    other = replace(curve, cover=None, task={**curve.task, "data": "digits"})
    figure = drawn(STUDY, STUDY.table(taken(curve, other)))
    assert len(figure.axes) == 4
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        "linear on gaussian, random labels",
        "linear on digits, random labels",
    ]
    assert [len(marks([axes])) for axes in figure.axes] == [5, 5, 5, 5]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["n50 = 13.2 (12 to 15)", f"Cover: {curve.cover.n50}"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["n50 = 13.2 (12 to 15)"]


def test_sizes_with_undertrained_failures_are_hollow(make_curve: Any) -> None:
    figure = drawn(STUDY, STUDY.table(taken(make_curve(Evidence.BUDGET))))
    assert len(hollow(marks(figure.axes[:1]))) == 4  # all but the size that every draw fits


def test_a_curve_without_n50_is_drawn(make_curve: Any) -> None:
    figure = drawn(STUDY, STUDY.table(taken(make_curve(fitted=None, cover=None))))
    assert len(marks(figure.axes[:1])) == 5
    assert not figure.axes[0].texts
