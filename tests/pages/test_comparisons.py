from __future__ import annotations

from dataclasses import replace

import pytest

from emc.comparison import compare
from emc.pages import comparisons as module
from emc.pages.comparisons import Pair, compared, comparisons, pairs
from emc.stats.compare import holm


def test_pairs_differ_in_one_setting(sized):
    other = sized(8)
    other = replace(other, procedure=dict(other.procedure) | {"batch_size": 64})
    assert pairs([sized(4), sized(8), other]) == [
        Pair(1, 2, "batch_size", ("128", "64")),
        Pair(0, 1, "model.width", ("4", "8")),
    ]


def test_measurements_of_other_devices_are_no_pair(sized):
    assert pairs([sized(4), sized(8, versions={"device": "cuda", "results": 4})]) == []


def test_equal_settings_are_no_pair(sized):
    assert pairs([sized(4), sized(4)]) == []


def test_p_values_are_corrected_within_a_setting(sized):
    results = [sized(4), sized(8), sized(16)]
    found, refused = compared(results, pairs(results))
    alone = [compare(results[each.pair.first], results[each.pair.second]).contrasts[0] for each in found]
    assert [each.contrast.p_adjusted.high for each in found] == holm([contrast.p_value.high for contrast in alone])
    assert [each.contrast.ratio for each in found] == [contrast.ratio for contrast in alone]
    assert not refused


def test_pairs_that_cannot_be_compared_are_told_with_the_reason(sized):
    section = comparisons([sized(4, kind="interrupted"), sized(8)])
    assert section.tables == ()
    assert section.texts == [
        "1 pairs not compared: only finished results can be compared, got the interrupted A; run it again."
    ]


def test_no_pair_is_told():
    assert comparisons([]).texts == ["No two measurements differ in one setting only."]


def test_too_many_pairs_are_told(sized, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST", 2)
    section = comparisons([sized(4), sized(8), sized(16)])
    assert len(section.tables[0].rows) == 2
    assert "3 pairs differ in one setting; the first 2 of them are compared." in section.texts


def test_a_row_names_both_and_what_was_shown(sized):
    section = comparisons([sized(4, 40), sized(8, 80)])
    cells = [cell.text for cell in section.tables[0].rows[0]]
    assert cells[:5] == ["1", "model.width", "4 (EMC 40)", "8 (EMC 80)", "1 and 2"]
    assert cells[9] == "not decided"
    assert section.sources["ratios"].tables["ratios"][1][0][1] == 1.0


def test_open_ends_are_drawn_as_arrows_and_labels_name_the_pair(sized):
    open_ = sized(4, 40, "censored")
    facts = dict(open_.dataset) | {"rows": 30}  # all of them fitted: nothing bounds the censored replicates
    source = comparisons([replace(open_, dataset=facts), sized(8, 80, dataset=facts)]).sources["ratios"]
    heads, rows = source.tables["ratios"]
    row = dict(zip(heads, rows[0], strict=True))
    assert source.ticks["ticks_labels"] == ["1  model.width: 4 / 8"]
    assert row["above"]
    assert not row["below"]
    assert row["verdict"] == "not decided: censored"
    assert 0 < row["low"] < row["high"] < float("inf")


def test_settings_of_which_nothing_can_be_decided_are_named(sized):
    section = comparisons([sized(4), sized(8), sized(16)])
    assert "So few replicates can decide no comparison of: model.width (3 times 0.031 is 0.094)." in section.texts
    assert not any("So few" in text for text in comparisons([sized(4), sized(8)]).texts)
