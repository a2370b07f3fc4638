"""What a user hands over in Python: torch and Hugging Face datasets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import emc
from emc.api import prepare
from emc.data.own import raw_of
from emc.errors import DataError
from emc.specs import Measurement

X = np.arange(48, dtype=np.float32).reshape(4, 3, 2, 2)
Y = [1, 0, 1, 2]
IMAGES = [Image.fromarray((row * 5).astype(np.uint8).transpose(1, 2, 0)) for row in X]


class Items(Dataset[Any]):
    """Items as they are listed."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Any:
        return self.items[place]


class Endless(IterableDataset[Any]):
    """Has no items by number."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Jittered(Items):
    """Another item at every call."""

    def __getitem__(self, place: int) -> Any:
        return torch.randn(3), 0


class Relabelled(Items):
    """The same input with another class at every call."""

    def __getitem__(self, place: int) -> Any:
        self.items.append(0)
        return X[0], len(self.items)


class Broken(Items):
    """Raises."""

    def __getitem__(self, place: int) -> Any:
        raise OSError("no such image")


@pytest.mark.parametrize(
    "own",
    [
        TensorDataset(torch.from_numpy(X), torch.tensor(Y)),
        Items([(x, np.int64(y)) for x, y in zip(X, Y, strict=True)]),
        Items([[x.tolist(), float(y)] for x, y in zip(X, Y, strict=True)]),
    ],
    ids=["tensors", "arrays", "lists"],
)
def test_items_of_a_torch_dataset_are_taken_as_they_are(own: Any) -> None:
    raw = raw_of(own)
    np.testing.assert_array_equal(raw.X, X)
    assert (raw.y.tolist(), raw.standardised) == (Y, ())


def test_images_are_standardised_by_channel() -> None:
    raw = raw_of(Items(list(zip(IMAGES, ["b", "a", "b", "c"], strict=True))))
    assert (raw.X.shape, raw.classes, raw.y.tolist()) == ((4, 3, 2, 2), ("a", "b", "c"), Y)
    np.testing.assert_allclose(raw.X.mean((0, 2, 3)), 0, atol=1e-6)
    grey = raw_of(Items([(image.convert("L"), place % 2) for place, image in enumerate(IMAGES)]))
    assert grey.X.shape == (4, 1, 2, 2)


BYTES = (X * 5).astype(np.uint8)


@pytest.mark.parametrize(
    "kind", ["tensors", "arrays", "tensor dataset", "Array3D", "lists", "grey arrays", "grey Array2D"]
)
def test_images_have_one_scale_by_every_route(kind: str) -> None:
    made = {
        "tensors": lambda: Items([(torch.from_numpy(x), y) for x, y in zip(BYTES, Y, strict=True)]),
        "arrays": lambda: Items(list(zip(BYTES, Y, strict=True))),
        "tensor dataset": lambda: TensorDataset(torch.from_numpy(BYTES), torch.tensor(Y)),
        "Array3D": lambda: table(
            {"image": BYTES.tolist(), "label": Y}, image=datasets.Array3D(shape=(3, 2, 2), dtype="uint8")
        ),
        "lists": lambda: datasets.Dataset.from_dict({"image": BYTES, "label": Y}),
        "grey arrays": lambda: Items(list(zip(BYTES[:, 0], Y, strict=True))),
        "grey Array2D": lambda: table(
            {"image": BYTES[:, 0].tolist(), "label": Y}, image=datasets.Array2D(shape=(2, 2), dtype="uint8")
        ),
    }
    raw, images = raw_of(made[kind]()), IMAGES
    if "grey" in kind:
        images = [Image.fromarray(row[0]) for row in BYTES]
    expected = raw_of(Items(list(zip(images, Y, strict=True))))
    np.testing.assert_array_equal(raw.X, expected.X)
    assert (raw.standardised, raw.notes) == (expected.standardised, ())


def test_bytes_that_are_taken_for_numbers_are_told() -> None:
    note = ("numbers of type uint8 were taken as they are, 0 to 255",)
    pair = raw_of((BYTES, Y))
    np.testing.assert_array_equal(pair.X, BYTES)
    assert (pair.notes, pair.standardised) == (note, ())
    features = raw_of(Items(list(zip(BYTES.reshape(4, 12), Y, strict=True))))
    np.testing.assert_array_equal(features.X, BYTES.reshape(4, 12))
    assert features.notes == note
    assert raw_of((X, Y)).notes == ()


def test_numbers_of_numpy_and_python_are_one_type() -> None:
    labels = [1, np.int64(0), torch.tensor(1), np.uint8(2)]
    assert raw_of(Items(list(zip(X, labels, strict=True)))).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (Endless(), r"^the torch dataset Endless must have a length and items by number, got an iterable one"),
        (Jittered([0, 1]), r"must give the same item again, got another; leave out random transforms"),
        (Relabelled([0, 1]), r"must give the same item again, got another; leave out random transforms"),
        (Items([(X[0], y) for y in (1, "a")]), r"must give classes of one type, got 1 and 'a'; number or name them"),
        (Items([(X[0], y) for y in (2, np.int64(3), 2.0)]), r"must give classes of one type, got 2 and 2.0; number"),
        (Items([(X[0], y) for y in (True, 1)]), r"must give classes of one type, got True and 1; number or name"),
        (Items([(X[0].astype(np.uint8), 1), (X[0], 0)]), r"must give inputs of one scale, got bytes and other numbers"),
        (Broken([0]), r"must give item 0 without errors, got OSError: no such image; mend it"),
        (Items([]), r"must have rows, got none"),
        (Items([1, 2]), r"must give pairs \(input, class\), got int at item 0"),
        (Items([(X[0], [1, 2])]), r"must give one class an item, a number or text, got list at item 0"),
        (Items([(X[0], 0.5)]), r"must give one class an item, a number or text, got float at item 0"),
        (Items([("text", 1)]), r"must give tensors, arrays or PIL images, got str; add a transform"),
        (Items([(X[0], 1), (X[0, :2], 0)]), r"must give inputs of one shape, got \(3, 2, 2\) and \(2, 2, 2\)"),
        (3, r"^data must be a dataset's name or a pair \(X, y\), got int"),
    ],
)
def test_mistakes_with_torch_datasets(own: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        raw_of(own)


def table(columns: dict[str, Any], **kinds: Any) -> Any:
    found = datasets.Dataset.from_dict(columns)
    for name, kind in kinds.items():
        found = found.cast_column(name, kind)
    return found


def test_a_table_of_numbers_with_class_labels() -> None:
    own = table({"a": [1.0, 2.0, 3.0], "b": [4, 5, 6], "kind": [2, 0, 1]}, kind=datasets.ClassLabel(names=list("xyz")))
    raw = raw_of(own)
    np.testing.assert_array_equal(raw.X, [[1, 4], [2, 5], [3, 6]])
    assert (raw.classes, raw.y.tolist()) == (("x", "y", "z"), [2, 0, 1])


def test_a_column_of_arrays_with_texts_as_classes() -> None:
    raw = raw_of(table({"embedding": X.reshape(4, 12).tolist(), "label": ["b", "a", "b", "c"]}))
    np.testing.assert_array_equal(raw.X, X.reshape(4, 12))
    assert raw.y.tolist() == Y


def test_a_column_of_images() -> None:
    raw = raw_of(table({"image": IMAGES, "label": Y}))
    assert raw.X.shape == (4, 3, 2, 2)
    np.testing.assert_allclose(raw.X, raw_of(Items(list(zip(IMAGES, Y, strict=True)))).X)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (table({"a": [1, 2]}), r"needs one column of classes, .* got none among a; use select_columns"),
        (table({"label": [1, 2], "y": [1, 2], "a": [1, 2]}), r"needs one column of classes, .*, got label, y"),
        (table({"label": [1, 2]}), r"numbers beside its classes, got columns none"),
        (table({"label": [1, 2], "a": ["x", "y"]}), r"got columns a \(string\); keep those to be used"),
        (table({"label": [1, 2], "a": [1, 2], "b": [[1], [2]]}), r"got columns a \(number\), b \(array\)"),
        (table({"label": [1, 2], "b": [[1], [2, 3]]}), r"needs inputs of one shape, got others in column b"),
        (datasets.DatasetDict({"train": table({"a": [1]})}), r"got DatasetDict with splits train; pick one"),
    ],
)
def test_mistakes_with_tables(own: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        raw_of(own)


def test_they_are_measured_like_arrays() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, classes = torch.randn(40, 5, generator=generator), torch.arange(40) % 2
    small: dict[str, Any] = {"model": "sklearn:estimator=KNeighborsClassifier,n_neighbors=1", "replicates": 1}
    by_items = emc.measure(data=TensorDataset(inputs, classes), **small)
    by_arrays = emc.measure(data=(inputs.numpy(), classes.numpy()), **small)
    assert by_items.fingerprint == by_arrays.fingerprint
    assert by_items.emc == 40
    own = prepare(Measurement(), dataset=TensorDataset(inputs, classes))
    assert own.cell["data"] == "arrays"
