from __future__ import annotations

import math

import pytest
from studied import made, spread

from emc.comparison import compare
from emc.results import Status
from figures.tables import MARK_COLUMNS, RATIO_COLUMNS, frame, mark, ratio

CELL = {"model": "mlp:width=5", "labels": "random", "replicates": 10}
OTHER = CELL | {"labels": "semantic"}


def test_a_mark_tells_the_result_as_it_is():
    row = mark(made(CELL, spread(100), parameters=400, tested=0.25))
    assert (row["emc"], row["censored"], row["status"]) == (100, False, "bracketed")
    # Order statistics 2 and 9 of ten: the second lower end and the ninth upper end.
    assert (row["interval_low"], row["interval_high"]) == (93, 113)
    assert (row["emc_per_parameter"], row["test_accuracy"]) == (0.25, 0.25)
    assert (row["num_replicates"], row["num_censored"], row["num_undertrained"]) == (10, 0, 0)
    assert row["replicates"] == "91 93 95 97 100 102 104 106 108 110"
    assert set(row) == set(MARK_COLUMNS)


def test_bounds_among_the_replicates_open_the_upper_end_only():
    some = mark(made(CELL, spread(100), statuses=dict.fromkeys((7, 8, 9), Status.UNDERTRAINED)))
    assert (some["emc"], some["censored"], some["num_undertrained"]) == (100, False, 3)
    assert (some["interval_low"], some["interval_high"]) == (93, math.inf)
    assert some["replicates"].endswith("104 >=106 >=108 >=110")


def test_a_censored_median_is_told_with_its_lower_end():
    row = mark(made(CELL, spread(100), Status.UNDERTRAINED))
    assert (row["emc"], row["censored"], row["status"]) == (100, True, "undertrained")
    assert (row["interval_low"], row["interval_high"]) == (93, math.inf)


def test_students_interval_has_no_lower_end_where_it_is_open():
    row = mark(made(CELL | {"replicates": 2}, [100, 110], Status.CENSORED_ABOVE))
    assert math.isnan(row["interval_low"])
    assert row["interval_high"] == math.inf


def test_without_a_test_split_there_is_no_accuracy():
    assert math.isnan(mark(made(CELL, spread(100)))["test_accuracy"])


def test_a_ratio_of_twice_as_many_samples_is_two():
    row = ratio(made(CELL, [2 * n for n in spread(100)]), made(OTHER, spread(100)), "semantic")
    assert row["ratio"] == pytest.approx(2)
    assert row["ratio_low"] < 2 < row["ratio_high"]
    assert row["p_value_at_most"] == pytest.approx(2 / 1024)
    assert (row["verdict"], row["reference"]) == ("larger", "semantic")
    assert "by replicate" in row["pairing"]
    assert not row["ratio_open_below"]
    assert not row["ratio_open_above"]
    assert set(row) == set(RATIO_COLUMNS)


@pytest.mark.parametrize(("above", "below"), [(True, False), (False, True), (True, True)])
def test_bounds_leave_a_ratio_open_where_they_are(above, below):
    first = made(CELL, [2 * n for n in spread(100)], Status.UNDERTRAINED if above else Status.BRACKETED)
    second = made(OTHER, spread(100), Status.UNDERTRAINED if below else Status.BRACKETED)
    row = ratio(first, second, "semantic")
    assert (row["ratio_open_above"], row["ratio_open_below"]) == (above, below)
    assert row["ratio"] == pytest.approx(2)
    assert (row["ratio_low"], row["ratio_high"]) == compare(first, second).interval
    known = ratio(made(CELL, [2 * n for n in spread(100)]), made(OTHER, spread(100)), "semantic")
    assert (row["ratio_low"] < known["ratio_low"]) is below
    assert (row["ratio_high"] > known["ratio_high"]) is above
    assert row["ratio_low"] <= row["ratio_bar_low"] <= row["ratio"] <= row["ratio_bar_high"] <= row["ratio_high"]


def test_one_bound_of_ten_leaves_the_interval_that_compare_gives():
    """In the place of an arrow to nothing, as where half of the replicates are bounds."""
    first, second = made(CELL, spread(100)), made(OTHER, spread(100), statuses={9: Status.UNDERTRAINED})
    row = ratio(first, second, "semantic")
    assert 0 < row["ratio_low"] == compare(first, second).interval[0]
    assert row["ratio_bar_high"] == row["ratio_high"] < math.inf


def test_a_whole_pool_that_was_fitted_leaves_a_ratio_without_an_end():
    row = ratio(made(CELL, [3000] * 10, Status.CENSORED_ABOVE), made(OTHER, spread(100)), "semantic")
    assert row["ratio_high"] == math.inf
    assert math.isfinite(row["ratio_bar_high"])


def test_a_frame_has_its_columns_without_rows():
    assert list(frame([], "series", after=RATIO_COLUMNS)) == ["series", *MARK_COLUMNS, *RATIO_COLUMNS]
