"""A user's own arrays."""

from __future__ import annotations

from emc.data import DATA
from emc.data.arrays import check_inputs, encode_arrays, one_class_a_row, read_archive
from emc.data.cache import existing_file
from emc.data.dataset import Raw


@DATA.register("npz")
def npz(*, path: str, inputs: str = "X", target: str = "y", standardise: bool = True) -> Raw:
    """Your arrays: inputs X (rows, features) or (rows, channels, height, width) and classes y (rows,) in one .npz file.

    `inputs` and `target` name the arrays. Features are standardised each, images by channel; `standardise=false` takes
    the numbers as they are. Nothing is unpickled.

    Raises:
        DataError: no such file or array, or arrays that are no classification task.
    """
    owner = "data npz"
    found = existing_file(path, owner)
    X, labels = read_archive(found, (inputs, target), owner)
    check_inputs(X, inputs, found, owner)
    labels = one_class_a_row(labels, len(X), target, owner)
    return encode_arrays(found.stem, X, labels, target, owner=owner, standardise=standardise)
