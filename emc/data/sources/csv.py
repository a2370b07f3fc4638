"""A user's own table."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emc.data import DATA
from emc.data.cache import check_memory, existing_file, one_line
from emc.data.dataset import Raw
from emc.errors import DataError, SpecError

if TYPE_CHECKING:
    import pandas as pd

#: A wider table is none, and would take pandas minutes to refuse.
MAX_COLUMNS, LONGEST_HEADER = 20_000, 2**22

#: Texts that mean "no value", beside an empty field.
MISSING = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")


@DATA.register("csv")
def csv(*, path: str, target: str, drop: tuple[str, ...] = (), delimiter: str = ",") -> Raw:
    """Your table: a CSV file with a header, the name of its target column, and columns to drop (drop=a|b).

    A column of numbers is standardised, any other is one-hot encoded; codes such as 1, 2, 3 are numbers. Spaces around
    a field do not count; an empty field, ?, NA, N/A, NaN and NULL are missing; empty lines are no rows.

    Raises:
        DataError: the file is no table, or a column is not there or cannot be used.
    """
    from emc.data.tables import encode_table, split_target

    if len(delimiter) != 1:
        raise SpecError(f'data csv takes delimiter as one character, got "{delimiter}"')
    found = existing_file(path, "data csv")
    owner = f"data csv ({found.name})"
    features, labels = split_target(_read_frame(found, delimiter, owner), target, drop, owner)
    notes = (f"columns dropped by the user: {', '.join(drop)}",) if drop else ()
    return encode_table(found.stem, features, labels, owner=owner, notes=notes)


def _read_frame(path: Path, delimiter: str, owner: str) -> pd.DataFrame:
    """The file as a frame of numbers and stripped texts, without empty rows."""
    import pandas as pd

    check_memory(4 * path.stat().st_size, owner)
    _check_width(path, delimiter, owner)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # "leads to a loss of data"
            frame = pd.read_csv(
                path,
                sep=delimiter,
                skipinitialspace=True,
                keep_default_na=False,
                na_values=list(MISSING),
                low_memory=False,
                encoding="utf-8-sig",
                compression=None,  # a small archive may unpack to any size
            )
    except (pd.errors.EmptyDataError, pd.errors.ParserError, pd.errors.ParserWarning, ValueError, OSError) as error:
        raise DataError(
            f"{owner} needs a header and rows of as many fields, in UTF-8, got {path} ({one_line(error)}); "
            "correct the file"
        ) from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(f"rows of {owner} must have as many fields as its header, got more of them; correct the header")
    frame.columns = pd.Index([str(label).strip() for label in frame.columns])
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f'columns of {owner} must have different names, got "{twice[0]}" twice; rename one of them')
    frame = frame.apply(_tidy).dropna(how="all").reset_index(drop=True)
    if frame.empty:
        raise DataError(f"{owner} must have rows below its header, got none in {path}; check the file")
    return frame


def _check_width(path: Path, delimiter: str, owner: str) -> None:
    with path.open("rb") as file:
        header = file.readline(LONGEST_HEADER + 1)
    columns = header.count(delimiter.encode()) + 1
    if len(header) > LONGEST_HEADER or columns > MAX_COLUMNS:
        raise DataError(
            f"{owner} has a header of at most {MAX_COLUMNS:,} columns, got {columns:,} in {len(header):,} bytes; "
            "check the file and its delimiter"
        )


def _tidy(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column of texts stripped, with the missing ones found again, and as numbers where all of them are."""
    import pandas as pd
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_numeric_dtype(column.dtype) or is_bool_dtype(column.dtype):
        return column
    text = column.astype("string").str.strip()
    text = text.mask(text.isin(MISSING))
    try:
        return pd.to_numeric(text).astype("float64")
    except (ValueError, TypeError):
        return text
