from __future__ import annotations

from dataclasses import replace

import pytest

from emc.pages.parts import Cell
from emc.pages.settings import setting_cells, setting_text, settings_of, shortened, telling


def test_settings_hold_plugins_with_their_options_and_later_settings(sized):
    found = settings_of(sized(8))
    assert (found["model"], found["model.width"], found["labels"]) == ("mlp:width=8,depth=1", 8, "random")
    assert found["clip_norm"] is None


def test_the_pools_size_is_no_setting(sized):
    whole, part = sized(8), sized(8)
    part = replace(part, search=dict(part.search) | {"n_max": 500})
    assert "n_max" not in settings_of(whole)
    assert settings_of(part)["n_max"] == 500


def test_what_tells_measurements_apart(sized, make_curve):
    assert telling([settings_of(sized(4)), settings_of(sized(8))]) == ["model.width"]
    assert telling([settings_of(sized(4)), settings_of(sized(4))]) == []
    assert telling([settings_of(sized(4)), settings_of(sized(8)), settings_of(make_curve())])[:2] == ["data", "model"]


@pytest.mark.parametrize(("value", "text"), [(None, "none"), (True, "true"), (0.5, "0.5"), ("adam:lr=1", "adam:lr=1")])
def test_settings_as_texts(value, text):
    assert setting_text(value) == text


def test_numbers_sort_as_numbers_and_truth_values_as_texts():
    row = {"seed": 3, "tf32": True}
    assert setting_cells(row, ["seed", "tf32", "clip_norm"]) == (Cell("3", 3), Cell("true"), Cell("none"))


def test_only_options_that_vary_are_written_out():
    rows = [{"optimizer": "adam:lr=0.1,eps=1"}, {"optimizer": "adam:lr=0.2,eps=1"}, {"optimizer": "sgd:lr=0.1"}]
    assert [row["optimizer"] for row in shortened(rows)] == ["adam:lr=0.1", "adam:lr=0.2", "sgd"]
