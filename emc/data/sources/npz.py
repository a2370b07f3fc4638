"""A user's own arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from emc.data import DATA
from emc.data.cache import check_memory, existing_file, one_line
from emc.data.dataset import Raw
from emc.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@DATA.register("npz")
def npz(*, path: str, inputs: str = "X", target: str = "y", standardise: bool = True) -> Raw:
    """Your arrays: inputs X (rows, features) or (rows, channels, height, width) and classes y (rows,) in one .npz file.

    `inputs` and `target` name the arrays. Features are standardised each, images by channel; `standardise=false` takes
    the numbers as they are. Nothing is unpickled.

    Raises:
        DataError: no such file or array, or arrays that are no classification task.
    """
    found = existing_file(path, "data npz")
    X, labels = _read_arrays(found, (inputs, target))
    _check_inputs(X, inputs, found)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != X.shape[:1] or labels.dtype.kind not in "biufUS":
        raise DataError(
            f'data npz needs one class a row, got "{target}" of shape {labels.shape} and type {labels.dtype} for '
            f"{len(X)} rows; store whole numbers or texts of shape ({len(X)},)"
        )
    return _encode(found.stem, X, labels, target, standardise)


def _encode(name: str, X: npt.NDArray[Any], labels: npt.NDArray[Any], target: str, standardise: bool) -> Raw:
    import numpy as np
    import pandas as pd

    from emc.data.images import standardise_images
    from emc.data.tables import encode_table
    from emc.data.targets import encode_target

    owner = "data npz"
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


def _read_arrays(path: Path, names: tuple[str, str]) -> list[npt.NDArray[Any]]:
    import numpy as np

    try:
        with path.open("rb") as file:  # numpy leaves a file open that it cannot read
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.lib.npyio.NpzFile):
                return [_read_array(archive, name, path) for name in names]
    except DataError:
        raise
    except Exception as error:  # zipfile and numpy raise ValueError, RuntimeError, struct.error and many others
        raise DataError(f"data npz needs an .npz file, got {path} ({one_line(error)}); use numpy.savez") from error
    raise DataError(f"data npz needs an .npz file with two arrays, got one array in {path}; use numpy.savez")


def _read_array(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> npt.NDArray[Any]:
    if name not in archive.files:
        raise DataError(
            f'data npz needs an array "{name}", got none in {path}; {did_you_mean(name, archive.files)} '
            "(inputs= and target= name the arrays)"
        )
    _check_size(archive, name)
    try:
        array: npt.NDArray[Any] = archive[name]
    except Exception as error:
        raise DataError(
            f'data npz reads plain arrays and never unpickles, got "{name}" in {path} ({one_line(error)}); '
            "store numbers or texts"
        ) from error
    return array


def _check_size(archive: np.lib.npyio.NpzFile, name: str) -> None:
    """Refuse an array that would not fit once unpacked; zipfile unpacks no more than its entry says."""
    members = [] if archive.zip is None else archive.zip.infolist()
    sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in members}
    check_memory(sizes.get(name, 0), f'the array "{name}" of data npz')


def _check_inputs(X: npt.NDArray[Any], name: str, path: Path) -> None:
    import numpy as np

    if X.dtype.kind not in "biuf" or not 2 <= X.ndim <= 4 or X.size == 0:
        raise DataError(
            f"data npz needs numbers of shape (rows, features), (rows, height, width) or (rows, channels, height, "
            f'width), got "{name}" of shape {X.shape} and type {X.dtype} in {path}'
        )
    bad = int((~np.isfinite(X)).sum())
    if bad:
        raise DataError(
            f'inputs must be finite, got {bad} NaN or infinite values in "{name}" of {path}; fill or drop them'
        )
