"""Arrays of a user's files as inputs and classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from emc.data.cache import check_memory, one_line
from emc.data.dataset import Raw
from emc.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def one_class_a_row(labels: npt.NDArray[Any], rows: int, name: str, owner: str) -> npt.NDArray[Any]:
    """The classes as (rows,).

    Raises:
        DataError: they are none.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (rows,) or labels.dtype.kind not in "biufUS":
        raise DataError(
            f'{owner} needs one class a row, got "{name}" of shape {labels.shape} and type {labels.dtype} for '
            f"{rows} rows; store whole numbers or texts of shape ({rows},)"
        )
    return labels


def encode_arrays(
    name: str, X: npt.NDArray[Any], labels: npt.NDArray[Any], target: str, *, owner: str, standardise: bool
) -> Raw:
    """Features (rows, features) or images (rows, [channels,] height, width) with their classes, standardised or not."""
    import numpy as np
    import pandas as pd

    from emc.data.images import standardise_images
    from emc.data.tables import encode_table
    from emc.data.targets import encode_target

    classes = pd.Series(labels.astype(str) if labels.dtype.kind == "S" else labels, name=target)
    if standardise and X.ndim == 2:
        numbers = X.astype(np.uint8) if X.dtype == np.bool_ else X
        frame = pd.DataFrame(numbers, columns=[f"column {index}" for index in range(X.shape[1])])
        return encode_table(name, frame, classes, owner=owner)
    y, names = encode_target(classes, owner)
    if X.ndim == 3:
        X = X[:, None]  # one channel
    if not standardise:
        with np.errstate(over="ignore"):  # what becomes infinite is told with the dataset
            return Raw(name, X.astype(np.float32), y, names)
    return Raw(name, standardise_images(X), y, names, standardised=(True,) * X.shape[1])


def read_archive(path: Path, names: tuple[str, str], owner: str) -> list[npt.NDArray[Any]]:
    """Two arrays of an .npz file; nothing is unpickled.

    Raises:
        DataError: it is none, or has no such plain arrays.
    """
    import numpy as np

    try:
        with path.open("rb") as file:  # numpy leaves a file open that it cannot read
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.lib.npyio.NpzFile):
                return [_read_array(archive, name, path, owner) for name in names]
    except DataError:
        raise
    except Exception as error:  # zipfile and numpy raise ValueError, RuntimeError, struct.error and many others
        raise DataError(f"{owner} needs an .npz file, got {path} ({one_line(error)}); use numpy.savez") from error
    raise DataError(f"{owner} needs an .npz file with two arrays, got one array in {path}; use numpy.savez")


def _read_array(archive: np.lib.npyio.NpzFile, name: str, path: Path, owner: str) -> npt.NDArray[Any]:
    if name not in archive.files:
        raise DataError(
            f'{owner} needs an array "{name}", got none in {path}; {did_you_mean(name, archive.files)} '
            "(inputs= and target= name the arrays)"
        )
    _check_size(archive, name, path, owner)
    try:
        array: npt.NDArray[Any] = archive[name]
    except Exception as error:
        raise DataError(
            f'{owner} reads plain arrays and never unpickles, got "{name}" in {path} ({one_line(error)}); '
            "store numbers or texts"
        ) from error
    return array


def _check_size(archive: np.lib.npyio.NpzFile, name: str, path: Path, owner: str) -> None:
    """Refuse an array that would not fit once unpacked; zipfile unpacks no more than its entry says."""
    entries = [] if archive.zip is None else archive.zip.infolist()
    sizes = [entry.file_size for entry in entries if entry.filename in (name, f"{name}.npy")]
    if len(sizes) > 1:
        raise DataError(f'{owner} needs one array "{name}", got {len(sizes)} in {path}; write the file anew')
    check_memory(sum(sizes), f'the array "{name}" of {owner}')


def check_inputs(X: npt.NDArray[Any], name: str, path: Path, owner: str, most_dims: int = 4) -> None:
    """Refuse what is no array of finite inputs.

    Raises:
        DataError: it is none.
    """
    import numpy as np

    if X.dtype.kind not in "biuf" or not 2 <= X.ndim <= most_dims or X.size == 0:
        images = ", (rows, height, width) or (rows, channels, height, width)" if most_dims > 2 else ""
        raise DataError(
            f"{owner} needs numbers of shape (rows, features){images}, "
            f'got "{name}" of shape {X.shape} and type {X.dtype} in {path}'
        )
    bad = int((~np.isfinite(X)).sum())
    if bad:
        raise DataError(
            f'inputs must be finite, got {bad} NaN or infinite values in "{name}" of {path}; fill or drop them'
        )
