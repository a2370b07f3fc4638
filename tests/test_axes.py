from __future__ import annotations

import math
from typing import Any

import pytest

from emc.axes import MAX_TEXT, check_name, checked, identity, read_spread, shown
from emc.errors import EmcError, SpecError, UnknownNameError


def values(table: dict[str, Any], kind: str = "") -> list[Any]:
    count, make = read_spread(table, kind, "[grid] x")
    made = make()
    assert len(made) <= count
    return made


@pytest.mark.parametrize(
    ("table", "kind", "expected"),
    [
        ({"range": [0, 4]}, "int", [0, 1, 2, 3, 4]),
        ({"range": [3, 3]}, "int", [3]),
        ({"range": [1, 10, 4]}, "int", [1, 5, 9]),
        ({"range": [0, 0.3, 0.1]}, "float", [0.0, 0.1, 0.2, 0.3]),
        ({"range": [-1, 1, 0.5]}, "float", [-1.0, -0.5, 0.0, 0.5, 1.0]),
        ({"log2": [4, 64]}, "int", [4, 8, 16, 32, 64]),
        ({"log2": [3, 50]}, "int", [3, 6, 12, 24, 48]),
        ({"log2": [0.25, 1]}, "float", [0.25, 0.5, 1.0]),
        ({"log10": [1e-4, 1e-1]}, "float", [1e-4, 1e-3, 1e-2, 1e-1]),
        ({"log10": [1, 1000]}, "int", [1, 10, 100, 1000]),
        ({"geometric": [4, 64, 5]}, "int", [4, 8, 16, 32, 64]),
        ({"geometric": [1, 2, 9]}, "int", [1, 2]),
        ({"geometric": [0.01, 1, 3]}, "float", [0.01, 0.1, 1]),
    ],
)
def test_ranges_include_both_ends_and_whole_numbers_stay_whole(
    table: dict[str, Any], kind: str, expected: list[float]
) -> None:
    found = values(table, kind)
    assert found == expected
    assert kind != "int" or all(type(value) is int for value in found)


@pytest.mark.parametrize("exponent", range(1, 60))
def test_a_doubling_reaches_its_last_value_however_far_it_is(exponent: int) -> None:
    assert values({"log2": [1, 2**exponent]}, "int") == [2**k for k in range(exponent + 1)]
    assert values({"log10": [10.0**-exponent, 1]}, "float")[-1] == pytest.approx(1)


def test_a_range_is_counted_before_it_is_made() -> None:
    assert read_spread({"range": [0, 10**18]}, "int", "x")[0] == 10**18 + 1
    assert read_spread({"range": [-1e308, 1e308, 1e-308]}, "float", "x")[0] == math.inf


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"range": [0]}, "two numbers or three"),
        ({"range": [4, 0]}, "the last is at least the first"),
        ({"range": [0, 4, 0]}, "a step is above 0"),
        ({"range": [0, math.inf]}, "takes range"),
        ({"range": [0, True]}, "takes range"),
        ({"range": 4}, "takes range"),
        ({"range": []}, "takes range"),
        ({"log2": [0, 4]}, "the first is above 0"),
        ({"log2": [4, 2]}, "at most the last"),
        ({"log10": [1, 10, 100]}, "two numbers"),
        ({"geometric": [1, 8, 1]}, "at least 2"),
        ({"geometric": [1, 8, 2.5]}, "whole number"),
        ({"lin": [1, 8]}, "is a list or one of range"),
        ({"range": [1, 2], "log2": [1, 2]}, "is a list or one of range"),
        ({}, "is a list or one of range"),
    ],
)
def test_what_is_no_range_is_told(table: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        read_spread(table, "int", "[grid] x")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", "a", "whole number"),
        ("seed", -1, "at least 0"),
        ("seed", 1 << 70, "takes numbers"),
        ("seed", [1], "takes numbers"),
        ("tolerance", math.nan, "takes numbers"),
        ("model", "mlp:=4", "key=value"),
        ("model", "m" * (MAX_TEXT + 1), "takes numbers"),
        ("loss", "cross", "is one of cross_entropy"),
        ("criterion", "none", "--criterion is fit"),
        ("model.width", None, "takes a value"),
        ("model.width", {}, "takes numbers"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(name: str, value: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        checked(name, value, "[grid] here")
    assert "[grid] here" in str(caught.value)


def test_none_is_read_where_a_setting_may_be_left_out() -> None:
    assert checked("n_max", "none", "x") is None
    assert checked("tune", "None", "x") is None
    assert checked("model", "none", "x") == "none"


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("sead", UnknownNameError, 'did you mean "seed"'),
        ("device", SpecError, r"under \[execution\]"),
        ("seed.x", UnknownNameError, "seed has no options"),
        ("model.", UnknownNameError, "options of model are names"),
        ("model.a.b", UnknownNameError, "options of model are names"),
        (3, UnknownNameError, "there is no setting"),
        ("x" * 10_000, UnknownNameError, r"\.\.\."),
    ],
)
def test_a_wrong_name_is_told(name: Any, error: type[EmcError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        check_name(name, "[grid]")
    assert len(str(caught.value)) < 300


def test_true_is_not_one_and_what_is_shown_is_short() -> None:
    assert identity(True) != identity(1)
    assert identity(1) == identity(1.0)
    assert shown(int("f" * 5000, 16)) == "a value too long to show"
    assert len(shown("x" * 10_000)) <= 100
