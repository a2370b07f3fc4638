"""Tables: numbers are standardised, categories become one-hot columns, constant columns go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emc.data.cache import check_memory
from emc.data.dataset import Raw
from emc.data.targets import encode_target
from emc.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

#: A column with more different texts than this is an identifier or free text, no category.
MAX_CATEGORIES = 1000


@dataclass(frozen=True, eq=False)
class _Column:
    """One column's encoding: (rows, width) float32, missing values filled, never varied, number in front."""

    values: npt.NDArray[np.float32]
    missing: int
    constant: bool = False
    number: bool = False

    @property
    def standardised(self) -> tuple[bool, ...]:
        """Of its encoded columns, the standardised number first."""
        return tuple(self.number and place == 0 for place in range(self.values.shape[1]))


def encode_table(
    name: str, frame: pd.DataFrame, target: pd.Series[Any], *, owner: str, notes: tuple[str, ...] = ()
) -> Raw:
    """Encode a frame of features and a target column, statistics taken over all rows.

    Numbers: missing ones are filled by the median and marked in an indicator column, then (x - mean) / std. Texts and
    booleans: one 0/1 column per value in use, and one for "missing" if any is. The order is the frame's.

    Args:
        name: the dataset's name in results.
        frame: (rows, columns) features.
        target: (rows,) classes.
        owner: the dataset as the user asked for it, for messages.
        notes: passed on.

    Raises:
        DataError: no rows, infinite numbers, a column of identifiers, no column that varies, or an unusable target.
    """
    import numpy as np

    if len(frame) == 0:
        raise DataError(f"{owner} must have rows, got none; check the file")
    y, classes = encode_target(target, owner)
    columns: dict[str, _Column] = {}
    held = 0
    for label in frame.columns:
        columns[str(label)] = column = _encode_column(frame[label], owner)
        held += column.values.nbytes
        check_memory(2 * held, f"{owner}, its categories as columns of 0 and 1,")  # they are joined in a copy
    parts = [column.values for column in columns.values() if column.values.shape[1]]
    if not parts:
        raise DataError(
            f"{owner} needs at least one column that varies beside the target, got {len(columns)} constant ones; "
            "keep more columns"
        )
    return Raw(
        name=name,
        X=np.concatenate(parts, axis=1),
        y=y,
        classes=classes,
        missing_filled=sum(column.missing for column in columns.values()),
        constant_columns=tuple(label for label, column in columns.items() if column.constant),
        notes=notes,
        standardised=tuple(mark for column in columns.values() for mark in column.standardised),
    )


def split_target(
    frame: pd.DataFrame, target: str, drop: tuple[str, ...], owner: str
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """The features and the target of a frame, without the columns a user drops.

    Raises:
        DataError: a column that is not there, or a target that is dropped.
    """
    known = [str(label) for label in frame.columns]
    if target not in known:
        raise DataError(f'{owner} has no column "{target}" for a target; {_nearest(target, known)}')
    for label in drop:
        if label not in known:
            raise DataError(f'{owner} has no column "{label}" to drop; {_nearest(label, known)}')
    if target in drop:
        raise DataError(f'the target must be kept, got "{target}" in drop; take it out of drop')
    return frame.drop(columns=[target, *drop]), frame[target]


def _nearest(name: str, known: list[str]) -> str:
    """Which column may have been meant, upper and lower case aside."""
    same = [label for label in known if label.casefold() == name.casefold()]
    return did_you_mean(same[0] if same else name, known)


def _encode_column(column: pd.Series[Any], owner: str) -> _Column:
    import numpy as np
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_numeric_dtype(column.dtype) and not is_bool_dtype(column.dtype):
        return _encode_numbers(column.to_numpy(dtype=np.float64, na_value=np.nan), str(column.name), owner)
    return _encode_categories(column, owner)


def _encode_numbers(values: npt.NDArray[np.float64], label: str, owner: str) -> _Column:
    import numpy as np

    infinite = int(np.isinf(values).sum())
    if infinite:
        raise DataError(
            f'numbers must be finite, got {infinite} infinite values in column "{label}" of {owner}; '
            "correct or drop the column"
        )
    absent = np.isnan(values)
    if absent.all():
        return _Column(np.empty((len(values), 0), np.float32), 0, constant=True)
    filled = np.where(absent, np.median(values[~absent]), values)
    constant = bool(filled.min() == filled.max())
    parts = [] if constant else [_standardise(filled)]
    if absent.any():
        parts.append(absent.astype(np.float32))
    table = np.stack(parts, axis=1) if parts else np.empty((len(values), 0), np.float32)
    return _Column(table, int(absent.sum()), constant, number=not constant)


def _standardise(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    import numpy as np

    scaled = values / np.abs(values).max()  # squares of very large or small numbers would leave float64
    centred = scaled - scaled.mean()
    standard: npt.NDArray[np.float32] = (centred / centred.std()).astype(np.float32)
    return standard


def _encode_categories(column: pd.Series[Any], owner: str) -> _Column:
    import numpy as np
    import pandas as pd

    codes, names = pd.factorize(column.astype("string").str.strip(), sort=True)
    if len(names) > MAX_CATEGORIES:
        raise DataError(
            f'a category has at most {MAX_CATEGORIES} values, got {len(names)} in column "{column.name}" of {owner}; '
            f"drop that column"
        )
    absent = codes < 0
    width = len(names) + int(absent.any())
    if width < 2:
        return _Column(np.empty((len(codes), 0), np.float32), 0, constant=True)
    table = np.zeros((len(codes), width), np.float32)
    table[np.arange(len(codes)), np.where(absent, width - 1, codes)] = 1
    return _Column(table, int(absent.sum()))
