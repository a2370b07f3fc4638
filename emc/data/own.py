"""What a user hands over in Python as data: arrays, a torch `Dataset`, or a Hugging Face one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from emc.data.cache import check_memory
from emc.data.dataset import Raw
from emc.data.images import standardise_images
from emc.errors import DataError, EmcError, shown

#: Columns of a Hugging Face dataset that are taken for the classes where none is a `ClassLabel`.
TARGETS = ("label", "labels", "target", "class", "y")


def raw_of(own: Any) -> Raw:
    """Inputs and classes of a user's data; images are standardised by channel, numbers taken as they are.

    Images are what a dataset gives as PIL images, or as bytes (uint8) of shape ([channels,] height, width) each. A
    pair's arrays are numbers, whatever their type.

    Args:
        own: a pair (X, y); a map-style torch `Dataset` of pairs (tensor, array or PIL image, class); a Hugging Face
            `Dataset` whose columns are the classes and one image, one array, or numbers.

    Raises:
        DataError: it is none of these, or no classification task.
    """
    if type(own).__module__.partition(".")[0] == "datasets":
        return _raw_of_table(own)
    if isinstance(own, torch.utils.data.Dataset):
        return _raw_of_items(own)
    if not isinstance(own, tuple | list) or len(own) != 2:
        raise DataError(f"data must be a dataset's name or a pair (X, y), got {type(own).__name__}; pass data=(X, y)")
    return _raw_of_arrays(*own)


def _raw_of_arrays(X: Any, y: Any) -> Raw:
    """Inputs are not standardised, labels are numbered in sorted order."""
    try:
        given = np.asarray(X)
        inputs = given.astype(np.float32)  # a copy: the pool stays what was hashed
        classes, labels = np.unique(np.asarray(y), return_inverse=True)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"data must be arrays X of numbers and y of classes, got {type(X).__name__}: {error}"
        ) from error
    if classes.dtype.kind == "f" and (classes != np.round(classes)).any():
        fraction = classes[classes != np.round(classes)][0]
        raise DataError(f"y must be classes, got fractions such as {fraction:g}; number or name the classes")
    y, names = labels.reshape(-1).astype(np.int64), tuple(str(c) for c in classes)
    return Raw("arrays", inputs, y, names, notes=_bytes_told(given))


def _raw_of_items(own: Any) -> Raw:
    owner = f"the torch dataset {type(own).__name__}"
    if isinstance(own, torch.utils.data.IterableDataset) or not hasattr(own, "__len__"):
        raise DataError(f"{owner} must have a length and items by number, got an iterable one; use a map-style one")
    inputs: list[npt.NDArray[Any]] = []
    labels: list[Any] = []
    for place in range(len(own)):
        X, y = _pair(own, place, owner)
        if place == 0:
            again, label = _pair(own, 0, owner)
            if X.shape != again.shape or not np.array_equal(X, again) or y != label:
                raise DataError(f"{owner} must give the same item again, got another; leave out random transforms")
            check_memory(4 * len(own) * X.size, owner)
        else:
            _check_alike((inputs[0], labels[0]), (X, y), owner)
        inputs.append(X)
        labels.append(y)
    if not inputs:
        raise DataError(f"{owner} must have rows, got none")
    return _raw_of_inputs(np.stack(inputs), np.array(labels), type(own).__name__)


def _check_alike(first: tuple[npt.NDArray[Any], Any], other: tuple[npt.NDArray[Any], Any], owner: str) -> None:
    """Refuse inputs of two shapes or scales, and classes of two types, which would be told apart by how they print."""
    (X, y), (X_other, y_other) = first, other
    if X.shape != X_other.shape:
        raise DataError(f"{owner} must give inputs of one shape, got {X.shape} and {X_other.shape}; resize them first")
    if X.dtype != X_other.dtype:
        raise DataError(f"{owner} must give inputs of one scale, got bytes and other numbers; convert them to one type")
    if type(y) is not type(y_other):
        raise DataError(
            f"{owner} must give classes of one type, got {shown(y)} and {shown(y_other)}; number or name them all"
        )


def _pair(own: Any, place: int, owner: str) -> tuple[npt.NDArray[Any], Any]:
    """One item: its input, PIL images as (channels, height, width) uint8, and its class."""
    try:
        item = own[place]
    except EmcError:
        raise
    except Exception as error:  # whatever a user's own dataset may raise
        message = " ".join(str(error).split())
        raise DataError(
            f"{owner} must give item {place} without errors, got {type(error).__name__}: {message}; mend it"
        ) from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"{owner} must give pairs (input, class), got {type(item).__name__} at item {place}; wrap it")
    y = item[1].item() if hasattr(item[1], "item") and getattr(item[1], "ndim", 0) == 0 else item[1]
    if isinstance(y, bool | int | str) or (isinstance(y, float) and y.is_integer()):
        return _input(item[0], owner), y
    raise DataError(f"{owner} must give one class an item, a number or text, got {type(y).__name__} at item {place}")


def _input(value: Any, owner: str) -> npt.NDArray[Any]:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
    elif hasattr(value, "getbands"):  # a PIL image
        return _image(value)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{owner} must give tensors, arrays or PIL images, got {type(value).__name__}; add a transform")
    array = array.reshape(1) if array.ndim == 0 else array
    return array if array.dtype == np.uint8 else array.astype(np.float32)


def _image(value: Any) -> npt.NDArray[np.uint8]:
    wanted = "L" if len(value.getbands()) == 1 and value.mode != "P" else "RGB"
    pixels: npt.NDArray[np.uint8] = np.asarray(value.convert(wanted), dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _raw_of_inputs(X: npt.NDArray[Any], labels: npt.NDArray[Any], name: str) -> Raw:
    classes, y = np.unique(labels, return_inverse=True)
    names = tuple(str(each) for each in classes)
    return _standardised(name, X, y.reshape(-1).astype(np.int64), names)


def _standardised(name: str, X: npt.NDArray[Any], y: npt.NDArray[np.int64], classes: tuple[str, ...]) -> Raw:
    """Images are bytes, which no network takes as they are; without channels they have one."""
    if X.dtype == np.uint8 and X.ndim in (3, 4) and X.size:
        X = X[:, None] if X.ndim == 3 else X
        return Raw(name, standardise_images(X), y, classes, standardised=(True,) * X.shape[1])
    return Raw(name, X.astype(np.float32), y, classes, notes=_bytes_told(X))


def _bytes_told(X: npt.NDArray[Any]) -> tuple[str, ...]:
    """A note where inputs on the scale of bytes are trained on."""
    return ("numbers of type uint8 were taken as they are, 0 to 255",) if X.dtype == np.uint8 else ()


def _raw_of_table(own: Any) -> Raw:
    """A Hugging Face dataset, known by its features without importing its library."""
    if not hasattr(own, "features") or not hasattr(own, "with_format") or isinstance(own, dict):
        splits = f" with splits {', '.join(map(str, own))}" if isinstance(own, dict) else ""
        raise DataError(
            f"data must be one map-style split of a Hugging Face dataset, got {type(own).__name__}{splits}; "
            'pick one, such as data=dataset["train"]'
        )
    target = _target_column(own)
    kinds = {name: _kind(feature) for name, feature in own.features.items() if name != target}
    found = set(kinds.values())
    if not kinds or not (found == {"number"} or (len(kinds) == 1 and found <= {"image", "array"})):
        told = ", ".join(f"{name} ({kind})" for name, kind in kinds.items()) or "none"
        raise DataError(
            f"a Hugging Face dataset needs one image, one array or numbers beside its classes, got columns {told}; "
            f"keep those to be used, such as dataset.select_columns(['{next(iter(kinds), 'image')}', '{target}'])"
        )
    rows, classes = own.with_format("numpy")[target][:], getattr(own.features[target], "names", None)
    columns = {
        "image": lambda: np.stack(list(_images(own, next(iter(kinds))))),
        "array": lambda: _arrays(own, next(iter(kinds))),
        "number": lambda: np.stack([np.asarray(own.with_format("numpy")[name][:], np.float32) for name in kinds], 1),
    }
    X = _equal_shapes(columns[found.pop()], kinds)
    if classes is not None:
        return _standardised("dataset", X, np.asarray(rows).astype(np.int64), tuple(map(str, classes)))
    return _raw_of_inputs(X, np.asarray(rows), "dataset")


def _target_column(own: Any) -> str:
    labels = [name for name, feature in own.features.items() if type(feature).__name__ == "ClassLabel"]
    named = labels or [name for name in own.features if name.lower() in TARGETS]
    if len(named) != 1:
        got = ", ".join(named) if named else f"none among {', '.join(own.features)}"
        raise DataError(
            f"a Hugging Face dataset needs one column of classes, a ClassLabel or one named label, got {got}; "
            "use select_columns or rename_column"
        )
    return str(named[0])


def _kind(feature: Any) -> str:
    name = type(feature).__name__
    if name == "Value":
        return "number" if str(feature.dtype).startswith(("int", "uint", "float", "bool")) else str(feature.dtype)
    arrays = ("List", "LargeList", "Sequence", "Array2D", "Array3D", "Array4D", "Array5D")
    return {"Image": "image"}.get(name, "array" if name in arrays or isinstance(feature, list) else name)


def _arrays(own: Any, column: str) -> npt.NDArray[Any]:
    """The column in its own type where that is bytes, all of which the library gives as int64."""
    found, feature = np.asarray(own.with_format("numpy")[column][:]), own.features[column]
    while isinstance(feature, list) or hasattr(feature, "feature"):
        feature = feature[0] if isinstance(feature, list) else feature.feature
    return found.astype(np.uint8) if getattr(feature, "dtype", "") == "uint8" and found.dtype.kind in "iu" else found


def _images(own: Any, column: str) -> Iterator[npt.NDArray[np.uint8]]:
    for place in range(len(own)):
        yield _image(own[place][column])


def _equal_shapes(make: Callable[[], Any], kinds: dict[str, str]) -> npt.NDArray[Any]:
    try:
        X = make()
    except ValueError:
        X = np.array(None)
    if X.dtype.kind not in "biuf":
        raise DataError(
            f"a Hugging Face dataset needs inputs of one shape, got others in column {next(iter(kinds))}; "
            "resize or pad them first"
        )
    return np.asarray(X)
