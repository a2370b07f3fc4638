from __future__ import annotations

from dataclasses import replace

from emc.pages.measurements import PROBES, measurements, source


def row_of(section, place):
    table = section.tables[0]
    return dict(zip([column.name for column in table.columns], table.rows[place], strict=True))


def test_each_measurement_is_a_row_with_the_settings_that_differ(sized):
    section = measurements([sized(4, 40), sized(8, 80, "censored")], {})
    first, second = row_of(section, 0), row_of(section, 1)
    assert (first["EMC"].text, first["model.width"].order, first["status"].text) == ("40", 4, "bracketed")
    assert (second["EMC"].text, second["EMC"].order) == ("\N{GREATER-THAN OR EQUAL TO} 80", 80)
    assert (first["interval to"].text, first["settings unlike most"].text) == ("117", "as most")
    assert second["settings unlike most"].text.startswith("model.width 8")
    assert "most, which have model.width 4" in section.printed[0]
    assert "1 give a lower bound" in section.texts[0]


def test_there_is_no_interval_where_the_result_has_none(sized):
    """As its own table and JSON say, which print nothing but why."""
    row = row_of(measurements([sized(4, kind="censored", interval=None)], {}), 0)
    assert (row["interval from"].text, row["interval to"].text) == ("", "")


def test_a_row_opens_to_the_result_its_search_and_its_replicates(sized):
    result = sized(4)
    detail = measurements([result], {}).tables[0].details[0]
    assert list(detail.facts) == result.rows()
    assert [figure.kind for figure in detail.figures] == ["searches", "accuracy"]
    assert [row[1].order for row in detail.tables[0].rows] == [each.emc for each in result.replicates]
    assert detail.listings[0].caption == f"All {len(result.probes)} probes"


def test_a_source_holds_every_probe(sized):
    result = sized(4, kind="diverged")
    heads, rows = source(result).tables["probes"]
    assert heads == PROBES
    assert sorted(row[PROBES.index("n")] for row in rows) == sorted(probe.n for probe in result.probes)
    diverged = [row for row in rows if row[PROBES.index("outcome")].startswith("diverged")]
    assert diverged
    assert all(row[PROBES.index("accuracy")] is None for row in diverged)
    assert source(result).tables["emc"][1] == [(100, "lower bound")]
    assert source(result).tables["interval"][1] == []


def test_the_picture_of_all_needs_two_sizes_of_model(sized):
    assert measurements([sized(4), sized(4)], {}).figures == ()
    section = measurements([sized(4, 40), sized(8, 80)], {})
    rows = section.sources["overview"].tables["measurements"][1]
    assert [row[:4] for row in rows] == [(310, 40, "mlp", "measured"), (610, 80, "mlp", "measured")]
    assert section.sources["overview"].ticks["ticks_families"] == ["mlp"]
    assert section.sources["overview"].tables["line"][1] == [(310, 310), (610, 610)]


def test_measurements_that_failed_are_listed():
    section = measurements([], {"abc": "it broke"})
    assert [cell.text for cell in section.tables[0].rows[0]] == ["abc", "it broke"]
    assert section.texts == ["No measurement was finished."]


def test_a_search_that_cannot_be_told_again_says_so(sized):
    result = sized(4)
    strange = replace(result, search=dict(result.search) | {"speed": 3})
    facts = dict(measurements([strange], {}).tables[0].details[0].facts)
    assert facts["order of probes"].startswith('cannot be told: a search has no setting "speed"')
