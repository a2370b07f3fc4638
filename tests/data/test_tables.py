from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from emc.data.dataset import Raw
from emc.data.tables import encode_table, split_target
from emc.errors import DataError

TARGET = pd.Series(["p", "q", "p", "q"], name="t")


def encode(**columns: Any) -> Raw:
    return encode_table("table", pd.DataFrame(columns), TARGET, owner="data x")


def test_numbers_are_standardised() -> None:
    raw = encode(a=[1, 2, 3, 4])
    expected = (np.array([1, 2, 3, 4]) - 2.5) / np.sqrt(1.25)
    np.testing.assert_allclose(raw.X, expected[:, None], rtol=1e-6)
    assert raw.X.dtype == np.float32
    assert raw.y.tolist() == [0, 1, 0, 1]
    assert raw.classes == ("p", "q")


def test_missing_numbers_are_the_median_and_have_an_indicator() -> None:
    raw = encode(a=[1.0, np.nan, 5.0, 3.0])
    np.testing.assert_allclose(raw.X[:, 0], (np.array([1, 3, 5, 3]) - 3) / np.sqrt(2), rtol=1e-6)
    assert raw.X[:, 1].tolist() == [0, 1, 0, 0]
    assert raw.missing_filled == 1


def test_categories_are_one_hot_with_missing_as_their_own() -> None:
    raw = encode(a=["y", None, "x", "y"])
    assert raw.X.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert raw.missing_filled == 1


@pytest.mark.parametrize(
    "values", [[True, False, True, True], pd.Categorical(["b", "a", "b", "b"], categories=["a", "b", "unused"])]
)
def test_booleans_and_categoricals_are_categories(values: Any) -> None:
    assert encode(a=values).X.tolist() == [[0, 1], [1, 0], [0, 1], [0, 1]]


def test_constant_columns_are_dropped_and_named() -> None:
    raw = encode(a=[7, 7, 7, 7], b=["x"] * 4, c=[np.nan] * 4, d=[None] * 4, e=[1, 2, 3, 4])
    assert raw.X.shape == (4, 1)
    assert raw.constant_columns == ("a", "b", "c", "d")
    assert raw.missing_filled == 0


def test_a_constant_with_missing_values_keeps_its_indicator() -> None:
    raw = encode(a=[7, np.nan, 7, 7])
    assert raw.X.tolist() == [[0], [1], [0], [0]]
    assert raw.constant_columns == ("a",)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_numbers_of_any_size_stay_finite(scale: float) -> None:
    np.testing.assert_allclose(encode(a=scale * np.arange(4.0)).X, encode(a=np.arange(4.0)).X, rtol=1e-6)


def test_nullable_integers() -> None:
    raw = encode(a=pd.array([1, None, 5, 3], dtype="Int64"))
    assert raw.X.shape == (4, 2)


def test_infinite_numbers_are_refused() -> None:
    with pytest.raises(DataError, match=r'numbers must be finite, got 2 infinite values in column "a" of data x'):
        encode(a=[1, np.inf, -np.inf, 2])


def test_identifiers_are_refused() -> None:
    frame = pd.DataFrame({"id": [f"row {i}" for i in range(1001)]})
    target = pd.Series(np.arange(1001) % 2, name="t")
    with pytest.raises(DataError, match=r'at most 1000 values, got 1001 in column "id" of data x; drop'):
        encode_table("table", frame, target, owner="data x")


def test_nothing_that_varies_is_refused() -> None:
    with pytest.raises(DataError, match="at least one column that varies beside the target, got 1 constant ones"):
        encode(a=[1, 1, 1, 1])


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="data x must have rows, got none"):
        encode_table("table", pd.DataFrame({"a": []}), pd.Series([], dtype=object), owner="data x")


def test_split_target_names_what_is_near() -> None:
    frame = pd.DataFrame({"age": [1], "Salary": [2]})
    with pytest.raises(DataError, match=r'no column "salary" for a target; did you mean "Salary"\?'):
        split_target(frame, "salary", (), "data x")
    with pytest.raises(DataError, match=r'no column "AGE" to drop; did you mean "age"\?'):
        split_target(frame, "Salary", ("AGE",), "data x")
    with pytest.raises(DataError, match=r'no column "agee" to drop; did you mean "age"\?'):
        split_target(frame, "Salary", ("agee",), "data x")
    with pytest.raises(DataError, match=r'target must be kept, got "Salary" in drop'):
        split_target(frame, "Salary", ("Salary",), "data x")
