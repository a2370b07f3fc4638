from __future__ import annotations

import math
from itertools import pairwise

import pandas as pd
import pytest
from matplotlib.figure import Figure
from studied import arrows, hollow, marks, places

from emc.plotting import OKABE_ITO
from figures import style

LOOK = style.Look("made", OKABE_ITO["blue"], "o")


def row(**changes):
    known = {"emc": 100, "interval_low": 90.0, "interval_high": 115.0, "censored": False, "status": "bracketed"}
    return known | changes


@pytest.fixture
def axes():
    found = Figure().subplots()
    style.log_axis(found, "x", [100, 1000], "trained parameters")
    style.log_axis(found, "y", [50, 200], "EMC (samples)")
    return found


def bars(axes):
    return [tuple(line.get_ydata()) for line in axes.lines if line.get_zorder() == 3]


def test_a_mark_stands_at_its_emc_with_its_interval_as_a_bar(axes):
    style.draw_mark(axes, 300, row(), LOOK)
    assert places(marks([axes])) == [(300, 100)]
    assert bars(axes) == [(90, 115)]
    assert not arrows([axes])
    assert not hollow(marks([axes]))


def test_a_lower_bound_has_an_arrow_and_is_hollow_only_where_undertrained(axes):
    bound = row(censored=True, interval_low=math.nan, interval_high=math.inf)
    style.draw_mark(axes, 300, bound | {"status": "censored_above"}, LOOK)
    assert len(arrows([axes])) == 1
    assert not hollow(marks([axes]))
    style.draw_mark(axes, 400, bound | {"status": "undertrained"}, LOOK)
    assert len(arrows([axes])) == 2
    assert places(hollow(marks([axes]))) == [(400, 100)]


def test_an_arrow_leads_up_from_an_upright_mark_and_right_from_another(axes):
    style.draw_mark(axes, 300, row(censored=True), LOOK)
    style.draw_mark(axes, 60, row(censored=True), LOOK, upright=False)
    up, right = arrows([axes])
    assert (up.xy, up.get_position()) == ((300, 100), (0, 10))
    assert (right.xy, right.get_position()) == ((100, 60), (10, 0))


def test_an_open_interval_ends_in_dots_without_a_head(axes):
    style.draw_mark(axes, 300, row(interval_high=math.inf), LOOK)
    assert bars(axes) == [(90, 100)]
    assert not arrows([axes])
    assert len(arrows([axes], "-")) == 1


def test_an_emc_of_nothing_stands_at_the_foot(axes):
    style.draw_mark(axes, 300, row(emc=0, interval_low=math.nan, interval_high=math.nan), LOOK)
    assert places(marks([axes])) == [(300, 0)]
    (mark,) = marks([axes])
    assert mark.get_transform() == axes.get_xaxis_transform()
    assert arrows([axes])[0].get_position() == (0, -10)


def ratio_row(low, high):
    ends = {"ratio_low": low, "ratio_high": high, "ratio_bar_low": 1.5, "ratio_bar_high": 2.5}
    return {"ratio": 2.0, "ratio_open_below": low < 1.5, "ratio_open_above": high > 2.5} | ends


@pytest.mark.parametrize("low", [1.5, 0.6, 0.0])
@pytest.mark.parametrize("high", [2.5, 7.0, math.inf])
def test_an_open_ratio_is_dotted_as_far_as_it_may_move_with_an_arrow_where_that_has_no_end(axes, low, high):
    style.draw_ratio(axes, 300, ratio_row(low, high), LOOK)
    dotted = [tuple(line.get_ydata()) for line in axes.lines if line.get_linestyle() == ":"]
    assert dotted == [(0.6, 1.5)] * (low == 0.6) + [(2.5, 7.0)] * (high == 7.0)
    assert [bar for bar in bars(axes) if bar not in dotted] == [(1.5, 2.5)]
    assert [arrow.xy for arrow in arrows([axes])] == [(300, 1.5)] * (low == 0) + [(300, 2.5)] * math.isinf(high)
    assert places(marks([axes])) == [(300, 2)]
    assert not hollow(marks([axes]))  # which means undertrained


def test_a_ratio_that_is_not_there_draws_nothing(axes):
    style.draw_ratio(axes, 300, dict.fromkeys(ratio_row(1, 3), math.nan), LOOK)
    assert not axes.lines


def test_the_line_of_one_sample_a_parameter_has_slope_one_and_is_in_sight(axes):
    style.draw_parameter_line(axes)
    (line,) = axes.lines
    assert list(line.get_xdata()) == list(line.get_ydata())
    middle = math.sqrt(axes.get_xlim()[0] * axes.get_xlim()[1])
    assert axes.get_ylim()[0] < middle < axes.get_ylim()[1]
    assert [text.get_text() for text in axes.texts] == [style.ONE_A_PARAMETER]


@pytest.mark.parametrize(("low", "high"), [(134, 304), (29, 55), (0.31, 0.78), (310, 980), (1, 1e7), (0.002, 30)])
def test_ticks_are_few_round_and_inside(low, high):
    found = style.ticks(low, high)
    assert 2 <= len(found) <= 9
    assert all(low <= tick <= high for tick in found)
    assert all(float(f"{tick:.1e}") == pytest.approx(tick) for tick in found)


def test_names_of_lines_never_touch(axes):
    style.label_ends(axes, [(100, "a", "k"), (101, "b", "k"), (102, "c", "k"), (190, "d", "k")])
    heights = [text.xy[1] for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == ["a", "b", "c", "d"]
    step = 3.0 * style.MM / (0.75 * axes.figure.get_size_inches()[1])
    assert all(after - before >= 0.99 * step for before, after in pairwise(heights))
    assert heights[-1] <= 1


def test_families_look_alike_in_no_two_ways():
    looks = style.FAMILIES.values()
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == len(style.FAMILIES)
    assert style.family("cnn:width=4") == style.FAMILIES["cnn"]
    assert style.family("unheard:of=1").text == "unheard"


def test_regimes_differ_in_how_marks_are_filled():
    assert len(set(style.FILLS.values())) == len(style.FILLS) == len(style.REGIMES)


def test_shades_go_from_light_to_dark():
    from matplotlib.colors import to_rgb

    brightness = [sum(to_rgb(style.shade(OKABE_ITO["blue"], place, 5))) for place in range(5)]
    assert brightness == sorted(brightness, reverse=True)
    assert style.shade(OKABE_ITO["blue"], 0, 1) == OKABE_ITO["blue"]


def test_the_legend_names_only_what_is_drawn():
    def names(*rows):
        return [handle.get_label() for handle in style.mark_handles(pd.DataFrame(rows))]

    assert names(row()) == []
    assert names(row(censored=True, status="censored_above", interval_high=math.inf)) == ["lower bound"]
    assert names(row(censored=True, status="undertrained")) == ["undertrained", "lower bound"]
    assert names(row(interval_high=math.inf)) == ["left open by lower bounds"]
    assert names(row() | ratio_row(0.6, 2.5)) == ["left open by lower bounds"]
    assert names(row() | ratio_row(1.5, 2.5)) == []


def test_the_same_picture_gives_the_same_bytes_without_versions_or_dates(tmp_path):
    found = []
    for name in ("a", "b"):
        with style.applied():
            figure = Figure()
            (axes,) = style.panels(figure, 1, height_mm=40, width=style.ONE_COLUMN)
            style.log_axis(axes, "y", [10, 20], "EMC (samples)")
            style.draw_mark(axes, 1, row(emc=15), LOOK)
            paths = style.save(figure, tmp_path, name)
        found.append([path.read_bytes() for path in paths])
    assert found[0] == found[1]
    for data in found[0]:
        assert b"atplotlib" not in data
        assert b"CreationDate" not in data
