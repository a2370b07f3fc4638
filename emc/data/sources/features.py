"""A frozen representation: features that a network made beforehand, as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from emc.data import DATA
from emc.data.arrays import check_inputs, encode_arrays, one_class_a_row, read_archive
from emc.data.cache import check_memory, existing_file, one_line
from emc.data.dataset import Raw
from emc.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy.typing as npt

OWNER = "data features"


@DATA.register("features", bare="path")
def features(
    *, path: str, inputs: str = "X", target: str = "y", labels: str | None = None, standardise: bool = True
) -> Raw:
    """A frozen representation (rows, features) and classes (rows,) in an .npz, .safetensors, .parquet or .npy file.

    `inputs` and `target` name the arrays; of a Parquet file columns, `inputs` one of lists, else all others but target
    are features. An .npy file holds the features alone and `labels` names another with the classes. Nothing is
    unpickled.

    Raises:
        DataError: no such file or array, or arrays that are no classification task.
    """
    found = existing_file(path, OWNER)
    kinds = {".npz": _read_npz, ".safetensors": _read_safetensors, ".parquet": _read_parquet, ".npy": _read_npy}
    read = kinds.get(found.suffix.lower())
    if read is None:
        raise DataError(f"{OWNER} reads {', '.join(kinds)}, got {found}; store it as one of these")
    if (labels is not None) != (read is _read_npy):
        raise DataError(f"{OWNER} needs labels=FILE.npy with an .npy file and only there, got {found}; mend labels")
    X, y = read(found, inputs, labels if labels is not None else target)
    check_inputs(X, inputs, found, OWNER, most_dims=2)
    y = one_class_a_row(y, len(X), target, OWNER)
    return encode_arrays(found.stem, X, y, target, owner=OWNER, standardise=standardise)


def _read_npz(path: Path, inputs: str, target: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    X, y = read_archive(path, (inputs, target), OWNER)
    return X, y


def _read_npy(path: Path, _inputs: str, labels: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    import numpy as np

    arrays = []
    for each in (path, existing_file(labels, OWNER)):
        check_memory(each.stat().st_size, str(each))
        try:
            with each.open("rb") as file:  # numpy leaves a file open that it cannot read
                arrays.append(np.load(file, allow_pickle=False))
        except Exception as error:
            raise DataError(f"{OWNER} needs an .npy file, got {each} ({one_line(error)}); use numpy.save") from error
    return arrays[0], arrays[1]


def _read_safetensors(path: Path, inputs: str, target: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    from safetensors import SafetensorError, safe_open

    check_memory(2 * path.stat().st_size, str(path))
    try:
        with safe_open(path, framework="pt") as file:
            for name in (inputs, target):
                if name not in file.keys():  # noqa: SIM118 (it is no mapping)
                    raise DataError(
                        f'{OWNER} needs a tensor "{name}", got none in {path}; {did_you_mean(name, file.keys())} '
                        "(inputs= and target= name the tensors)"
                    )
            X, y = file.get_tensor(inputs), file.get_tensor(target)
    except SafetensorError as error:
        raise DataError(f"{OWNER} needs safetensors, got {path} ({one_line(error)}); use safetensors.torch") from error
    return X.float().numpy(), y.numpy()


def _read_parquet(path: Path, inputs: str, target: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    import numpy as np
    import pandas as pd

    try:
        check_memory(_unpacked_bytes(path), str(path))
        frame = pd.read_parquet(path)
    except DataError:
        raise
    except Exception as error:  # pyarrow's own errors, and OSError
        raise DataError(f"{OWNER} needs a Parquet file, got {path} ({one_line(error)}); use pandas") from error
    if target not in frame:
        raise DataError(
            f'{OWNER} needs a column "{target}", got none in {path}; {did_you_mean(target, map(str, frame))} '
            "(inputs= and target= name the columns)"
        )
    y = frame[target].to_numpy()
    y = y.astype(str) if y.dtype.kind == "O" else y
    try:
        X = np.stack(list(frame[inputs])) if inputs in frame else frame.drop(columns=[target]).to_numpy()
        return X.astype(np.float64), y
    except (TypeError, ValueError) as error:
        raise DataError(
            f'{OWNER} needs number columns, or one "{inputs}" of equally long lists, got other ones in {path} '
            f"({one_line(error)}); mend the file"
        ) from error


def _unpacked_bytes(path: Path) -> int:
    """Bytes of a Parquet file's pages, and of its values as numbers: a page may hold one value for millions of rows."""
    import pyarrow.parquet as parquet

    facts = parquet.read_metadata(path)
    groups = [facts.row_group(number) for number in range(facts.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(chunk.total_uncompressed_size + 8 * chunk.num_values for chunk in chunks)
