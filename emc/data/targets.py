"""Class names and class numbers."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

from emc.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

#: More different values than this are no classes (ImageNet has 1000).
MAX_CLASSES = 1000
#: More different values than this are no classes either, if they have fractions or fill over half of the rows.
MAX_LOOSE_CLASSES = 20


def encode_target(values: pd.Series[Any], owner: str) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """The classes of a target column, by name, and the class of each row.

    Args:
        values: (rows,) texts, booleans or numbers.
        owner: the dataset, for messages.

    Returns:
        (rows,) int64 classes, and their names in order: by number where all are numbers, else by name.

    Raises:
        DataError: a missing value, or a target that is a quantity and no class.
    """
    import numpy as np
    import pandas as pd

    missing = int(values.isna().sum())
    if missing:
        raise DataError(
            f"every row of {owner} needs a class, got {missing} of {len(values)} rows without one in column "
            f'"{values.name}"; remove those rows'
        )
    codes, found = pd.factorize(values)
    labels = list(found)
    _check_classes(labels, len(values), owner, values.name)
    names = [class_name(label) for label in labels]
    classes = sort_classes(set(names))
    position = {name: index for index, name in enumerate(classes)}
    return np.array([position[name] for name in names], dtype=np.int64)[codes], classes


def class_name(label: Any) -> str:
    """A label as text; whole numbers without a fraction.

    >>> class_name(2.0), class_name(" yes")
    ('2', 'yes')
    """
    number = _number(label) if not isinstance(label, str | bool) else math.nan
    return str(int(number)) if number.is_integer() else str(label).strip()


def sort_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in the order of their numbers if all are numbers, else of their letters.

    >>> sort_classes(["10", "9"]), sort_classes(["b", "10", "9"])
    (('9', '10'), ('10', '9', 'b'))
    """
    ordered = sorted(names)
    numbers = [_number(name) for name in ordered]
    if all(math.isfinite(number) for number in numbers):
        return tuple(sorted(ordered, key=_number))
    return tuple(ordered)


def _number(label: Any) -> float:
    try:
        return float(label)
    except (TypeError, ValueError):
        return math.nan


def _check_classes(labels: list[Any], rows: int, owner: str, column: Hashable) -> None:
    numeric = not any(isinstance(label, str | bool) for label in labels)
    fractions = numeric and not all(_number(label).is_integer() for label in labels)
    loose = fractions or 2 * len(labels) > rows
    if len(labels) > MAX_CLASSES or (loose and len(labels) > MAX_LOOSE_CLASSES):
        raise DataError(
            f'a target holds classes, got column "{column}" of {owner} with {len(labels)} different values in {rows} '
            "rows; choose another target or bin this one"
        )
