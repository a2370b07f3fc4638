from __future__ import annotations

import math
from dataclasses import replace

from emc.pages.curves import curves, source
from emc.plotting import curve_data


def test_a_curve_is_a_row_that_opens_to_its_sizes(make_curve):
    curve = make_curve()
    table = curves([curve]).tables[0]
    row = dict(zip([column.name for column in table.columns], table.rows[0], strict=True))
    assert (row["EMC (n50)"].text, row["interval from"].order, row["sizes"].order) == ("13.2", 11.5, 5)
    sizes = table.details[0].tables[0]
    assert [(line[0].order, line[1].order, line[5].text) for line in sizes.rows][:2] == [
        (8, 10, "1.0000"),
        (11, 8, "0.8000"),
    ]
    assert "n" not in dict(table.details[0].facts)


def test_the_numbers_of_the_picture_are_those_of_the_plot(make_curve):
    data, tables = curve_data(make_curve()), source(make_curve()).tables
    assert [row[:4] for row in tables["shares"][1]] == [(dot.n, dot.share, dot.low, dot.high) for dot in data.fits]
    assert [tuple(row) for row in tables["fitted"][1]] == list(zip(*data.fitted[:2], strict=True))
    assert tables["emc"][1] == [(13.2, "measured")]


def test_a_curve_without_a_fit_has_no_line(make_curve):
    tables = source(make_curve(fitted=None, cover=None)).tables
    assert {name for name, (_, rows) in tables.items() if not rows} == {
        "fitted", "band", "cover", "region", "emc", "interval",
    }  # fmt: skip


def test_no_number_on_the_page_is_nan(make_curve):
    values = [value for _, rows in source(make_curve()).tables.values() for row in rows for value in row]
    assert not any(isinstance(value, float) and math.isnan(value) for value in values)


def test_model_and_data_are_shown_and_few_curves_are_open(make_curve):
    curve = make_curve()
    table = curves([curve]).tables[0]
    row = dict(zip([column.name for column in table.columns], table.rows[0], strict=True))
    assert (row["model"].text, row["data"].text) == (curve.procedure["model"], curve.task["data"])
    assert table.opened
    assert not curves([replace(curve, fingerprint=str(place)) for place in range(6)]).tables[0].opened
