from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from emc.data.targets import encode_target, sort_classes
from emc.errors import DataError


@pytest.mark.parametrize(
    ("values", "classes", "y"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([10, 9, 10], ("9", "10"), [1, 0, 1]),
        ([2.0, 1.0], ("1", "2"), [1, 0]),
        (["10", "9"], ("9", "10"), [1, 0]),
        (["10", "9", "x"], ("10", "9", "x"), [0, 1, 2]),
        ([" a", "a"], ("a",), [0, 0]),
        ([True, False], ("False", "True"), [1, 0]),
        ([0.5, -1.5], ("-1.5", "0.5"), [1, 0]),
    ],
)
def test_classes_are_sorted_by_number_else_by_name(values: list[Any], classes: tuple[str, ...], y: list[int]) -> None:
    found, names = encode_target(pd.Series(values, name="t"), "data x")
    assert names == classes
    assert found.dtype == np.int64
    assert found.tolist() == y


def test_categories_not_in_use_are_no_classes() -> None:
    values = pd.Series(pd.Categorical(["b", "a"], categories=["c", "b", "a"]), name="t")
    assert encode_target(values, "data x")[1] == ("a", "b")


def test_rows_without_a_class_are_counted() -> None:
    with pytest.raises(DataError, match=r'got 2 of 3 rows without one in column "t"; remove those rows'):
        encode_target(pd.Series(["a", None, None], name="t"), "data x")


@pytest.mark.parametrize(
    "values",
    [np.linspace(0, 1, 100), np.arange(100), [f"name {i}" for i in range(100)], np.repeat(np.arange(1001), 3)],
    ids=["fractions", "one per row", "identifiers", "too many"],
)
def test_a_quantity_is_no_target(values: Any) -> None:
    with pytest.raises(DataError, match=r'a target holds classes, got column "t" of data x with \d+ different values'):
        encode_target(pd.Series(values, name="t"), "data x")


def test_a_few_fractions_are_classes() -> None:
    assert encode_target(pd.Series([0.5, 1.0, 1.5]), "data x")[1] == ("0.5", "1", "1.5")


def test_sort_classes_refuses_to_take_nan_for_a_number() -> None:
    assert sort_classes(["nan", "2", "10"]) == ("10", "2", "nan")
