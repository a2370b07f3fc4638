from __future__ import annotations

from emc.pages.account import costs, procedure


def test_shared_probes_are_counted_once(make_result, make_curve):
    result, curve = make_result(), make_curve()
    table = costs([result, result], [curve]).tables[0]
    assert [(row[0].text, row[1].order) for row in table.rows] == [
        ("measurements", len({probe.key for probe in result.probes})),
        ("curves", len({probe.key for probe in curve.probes})),
    ]


def test_tuning_has_its_own_line(make_result, tuning):
    rows = costs([make_result(tuning=tuning)], []).tables[0].rows
    assert [(row[0].text, row[1].order, row[2].order) for row in rows][1:] == [("tuning", 9, 5500)]


def test_settings_are_told_with_how_often_each_value_stands(sized):
    section = procedure([sized(4), sized(8), sized(8)], [])
    tables = {table.caption: {row[0].text: row[1].text for row in table.rows} for table in section.tables}
    assert tables["Settings that differ"] == {"model": "mlp:width=4,depth=1 (1); mlp:width=8,depth=1 (2)"}
    assert tables["Settings that all share"]["optimizer"] == "adam"
    assert tables["Versions"]["torch"] == "2.6.0"
    assert tables["Data"]["digits"] == "1,797"


def test_nothing_differs_in_one_measurement(sized):
    assert "Settings that differ" not in [table.caption for table in procedure([sized(4)], []).tables]
