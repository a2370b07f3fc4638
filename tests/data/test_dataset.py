from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from emc.data.dataset import Dataset, Raw, make_dataset
from emc.errors import DataError

#: Rows 2 and 5 repeat row 0, row 2 with another label; row 4 repeats row 1.
X = [[0.0, 1.0], [2.0, 3.0], [0.0, 1.0], [4.0, 5.0], [2.0, 3.0], [0.0, 1.0]]
Y = [0, 1, 1, 1, 1, 0]


def raw(inputs: Any = X, labels: Any = Y, **facts: Any) -> Raw:
    facts = {"name": "toy", "classes": ("p", "q")} | facts
    return Raw(X=np.array(inputs, dtype=np.float32), y=np.array(labels, dtype=np.int64), **facts)


def clean(**facts: Any) -> Raw:
    """Four rows without repeats."""
    return raw([[0, 1], [2, 3], [4, 5], [6, 7]], [0, 1, 1, 0], **facts)


def hash_of(source: Raw, duplicates: str = "drop") -> str:
    return make_dataset(source, duplicates).facts.content_hash


def test_dropping_keeps_the_first_of_equal_inputs_with_its_label() -> None:
    dataset = make_dataset(raw())
    assert dataset.X.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert dataset.y.tolist() == [0, 1, 1]
    assert dataset.group.tolist() == [0, 1, 2]
    assert dataset.facts.rows == 3


def test_keeping_keeps_all_and_groups_equal_inputs() -> None:
    dataset = make_dataset(raw(), "keep")
    assert dataset.X.tolist() == X
    assert dataset.y.tolist() == Y
    assert dataset.group.tolist() == [0, 1, 0, 3, 1, 0]
    assert dataset.facts.rows == 6


@pytest.mark.parametrize("duplicates", ["drop", "keep"])
def test_repeats_and_conflicts_are_counted_either_way(duplicates: str) -> None:
    facts = make_dataset(raw(), duplicates).facts
    assert (facts.repeats, facts.conflicts, facts.duplicates) == (3, 1, duplicates)
    facts = make_dataset(clean(), duplicates).facts
    assert (facts.repeats, facts.conflicts) == (0, 0)


def test_a_conflict_is_a_repeat_whose_label_is_not_the_first_ones() -> None:
    facts = make_dataset(raw([[1], [1], [1], [1], [2]], [0, 1, 1, 0, 1])).facts
    assert (facts.repeats, facts.conflicts) == (3, 2)


def test_both_zeros_are_one_input() -> None:
    dataset = make_dataset(raw([[0.0], [-0.0], [1.0]], [0, 0, 1]))
    assert (dataset.facts.rows, dataset.facts.repeats) == (2, 1)


def test_inputs_are_compared_as_they_are_trained_on() -> None:
    source = replace(clean(), X=np.array([[1.0, 0], [1.0 + 1e-12, 0], [1.0 + 1e-6, 0], [2, 0]]))
    assert make_dataset(source).facts.repeats == 1


def test_equal_values_in_other_places_are_no_repeat() -> None:
    dataset = make_dataset(raw([[[[1, 2]]], [[[2, 1]]]], [0, 1]))
    assert dataset.facts.repeats == 0


@given(
    npst.arrays(np.float32, st.tuples(st.integers(2, 12), st.just(2)), elements=st.sampled_from([0.0, -0.0, 1.0])),
    st.data(),
)
def test_repeats_are_those_of_a_comparison_of_all_pairs(inputs: Any, data: st.DataObject) -> None:
    labels = np.array([0, 1, *data.draw(st.lists(st.integers(0, 1), min_size=10, max_size=10))])[: len(inputs)]
    first = [min(j for j in range(i + 1) if (inputs[j] == inputs[i]).all()) for i in range(len(inputs))]
    kept = [i for i, j in enumerate(first) if i == j]
    source = raw(inputs, labels)
    dataset = make_dataset(source, "keep")
    assert dataset.group.tolist() == first
    assert dataset.facts.repeats == len(inputs) - len(kept)
    assert dataset.facts.conflicts == sum(labels[i] != labels[j] for i, j in enumerate(first))
    if len(set(labels[kept])) == 2:
        assert make_dataset(source).X.tolist() == inputs[kept].tolist()


def test_a_dataset_is_tensors_of_fixed_types_in_the_sources_shape() -> None:
    images = np.arange(3 * 2 * 4 * 5, dtype=np.float64).reshape(3, 2, 4, 5)
    dataset = make_dataset(Raw("toy", images, np.array([0, 1, 2], dtype=np.int32), ("a", "b", "c")))  # type: ignore[arg-type]
    assert (dataset.X.dtype, dataset.y.dtype, dataset.group.dtype) == (torch.float32, torch.int64, torch.int64)
    assert dataset.X.shape == (3, 2, 4, 5)
    assert dataset.facts.shape == (2, 4, 5)
    assert np.array_equal(dataset.X.numpy(), images)


def test_facts_say_what_the_source_said() -> None:
    facts = make_dataset(clean(missing_filled=3, constant_columns=("id",), notes=("resized",))).facts
    assert facts.to_dict() == {
        "name": "toy",
        "rows": 4,
        "shape": [2],
        "classes": ["p", "q"],
        "repeats": 0,
        "conflicts": 0,
        "duplicates": "drop",
        "missing_filled": 3,
        "constant_columns": ["id"],
        "notes": ["resized"],
        "content_hash": hash_of(clean()),
        "test_rows": 0,
    }


CHANGES: dict[str, Callable[[Raw], Raw]] = {
    "one value": lambda source: replace(source, X=source.X + np.float32([[0, 0], [0, 0], [0, 0], [0, 1e-6]])),
    "one label": lambda source: replace(source, y=np.array([0, 1, 1, 1])),
    "order of rows": lambda source: replace(source, X=source.X[::-1], y=source.y[::-1]),
    "order of columns": lambda source: replace(source, X=source.X[:, ::-1]),
    "shape": lambda source: replace(source, X=source.X.reshape(4, 1, 1, 2)),
    "rows": lambda source: replace(source, X=source.X[:3], y=source.y[:3]),
    "classes": lambda source: replace(source, classes=("p", "q", "never seen")),
    "renumbered": lambda source: replace(source, y=1 - source.y),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_of_the_content_changes_its_hash(change: Callable[[Raw], Raw]) -> None:
    assert hash_of(change(clean())) != hash_of(clean())


def test_every_change_has_a_hash_of_its_own() -> None:
    assert len({hash_of(change(clean())) for change in CHANGES.values()}) == len(CHANGES)


@pytest.mark.parametrize(
    "same",
    [
        clean(name="other"),
        clean(classes=("cat", "dog")),
        clean(missing_filled=1, constant_columns=("id",), notes=("resized",)),
        replace(clean(), X=np.asfortranarray(clean().X)),
        replace(clean(), X=clean().X.astype(np.float64), y=clean().y.astype(np.int8)),  # type: ignore[arg-type]
        replace(clean(), X=clean().X.astype(">f4"), y=clean().y.astype(">i8")),
    ],
    ids=["name", "names of classes", "facts", "memory layout", "types", "byte order"],
)
def test_what_does_not_change_the_content_keeps_its_hash(same: Raw) -> None:
    assert hash_of(same) == hash_of(clean())


def test_the_hash_is_that_of_the_pool_after_duplicates() -> None:
    once = raw([[0, 1], [2, 3], [4, 5]], [0, 1, 1])
    assert hash_of(raw()) == hash_of(once) == hash_of(once, "keep")
    assert hash_of(raw(), "keep") != hash_of(once)


def test_the_hash_is_that_of_earlier_versions() -> None:
    assert hash_of(clean()) == "3679fd9f6c4f30702fa52797187e7a31"


BAD: list[tuple[str, Raw, str]] = [
    ("NaN", raw([[0.0], [np.nan], [np.inf]], [0, 1, 1]), "inputs of toy must be finite, got 2 NaN or infinite values"),
    ("one class", raw([[0], [1], [2]], [1, 1, 1]), "data toy must have at least 2 classes, got 1; check the target"),
    ("one row", raw([[0]], [0]), "data toy must have at least 2 rows, got 1"),
    ("no row", raw(np.zeros((0, 2)), []), "data toy must give inputs (rows, features...)"),
    (
        "no feature",
        raw(np.zeros((3, 0)), [0, 1, 0]),
        "data toy must give inputs (rows, features...) and one label a row",
    ),
    ("no axis", raw([0, 1, 2], [0, 1, 0]), "and one label a row, got (3,) and (3,)"),
    ("labels missing", raw([[0], [1], [2]], [0, 1]), "and one label a row, got (3, 1) and (2,)"),
    ("label too large", raw([[0], [1], [2]], [0, 1, 2]), "labels of toy must lie in 0 .. 1, got 0 .. 2"),
    ("label negative", raw([[0], [1], [2]], [0, -1, 1]), "labels of toy must lie in 0 .. 1, got -1 .. 1"),
    ("one row repeated", raw([[7], [7], [7]], [0, 1, 1]), "data toy must have at least 2 rows, got 1"),
    ("one class left", raw([[7], [7], [8]], [0, 1, 0]), "data toy must have at least 2 classes, got 1"),
]


@pytest.mark.parametrize(("source", "message"), [entry[1:] for entry in BAD], ids=[entry[0] for entry in BAD])
def test_what_is_no_classification_task_is_one_sentence(source: Raw, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        make_dataset(source)
    assert "\n" not in str(caught.value)


def test_arrays_that_may_not_be_written_are_copied() -> None:
    source = clean()
    source.X.setflags(write=False)
    source.y.setflags(write=False)
    dataset: Dataset = make_dataset(source)
    dataset.X.zero_()
    dataset.y.zero_()
    assert source.X.sum() == 28
    assert source.y.sum() == 2
