"""Values of a sweep's axes: lists and ranges, counted before they are made, each checked as its setting takes it."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from emc.errors import EmcError, SpecError, UnknownNameError, did_you_mean
from emc.specs import Execution, Measurement, Procedure, Search, Spec, Task, flat_settings

#: Characters of a name or a text, and bits of a whole number, at most.
MAX_TEXT, MAX_BITS = 4096, 63

#: Shares of a step that the last value of a range may be beyond its end, for rounding.
SLACK = 1e-9

Scalar = bool | int | float | str | None

_PARTS: dict[str, type[Spec]] = {"task": Task, "procedure": Procedure, "search": Search, "": Measurement}


def check_name(name: Any, section: str) -> None:
    """Refuse what names no setting of a measurement and no option of its plug-ins.

    Raises:
        SpecError, UnknownNameError: it does not.
    """
    homes = flat_settings()
    setting, dot, option = str(name).partition(".")
    if setting in Execution.__dataclass_fields__:
        raise SpecError(f"{setting} says how probes are run, got it in {section}; write it once, under [execution]")
    if not isinstance(name, str) or setting not in homes:
        raise UnknownNameError(f"there is no setting {quoted(setting)} (in {section}); {_near(setting, homes)}")
    if dot and not (is_plugin(setting) and option.isidentifier()):
        what = f"options of {setting} are names" if is_plugin(setting) else f"{setting} has no options"
        raise UnknownNameError(f"{what}, got {quoted(name)} (in {section}); write a plug-in's, as model.width")


def _near(name: str, known: Mapping[str, Any]) -> str:
    """The remedy for an unknown setting, of which there are too many to list."""
    remedy = did_you_mean(cut(name), known)
    return remedy if remedy.startswith("did") else "emc measure --help lists all settings"


def is_plugin(setting: str) -> bool:
    """Whether a setting names a plug-in."""
    return str(flat_settings()[setting][1].type).removesuffix(" | None") == "PluginSpec"


def declared_kind(name: str) -> str:
    """The declared type of a setting without its None; that of an option is not known here."""
    return "" if "." in name else str(flat_settings()[name][1].type).removesuffix(" | None")


def checked(name: str, value: Any, place: str) -> Scalar:
    """A value as its setting takes it; the text "none" is None where the setting may be left out.

    Raises:
        SpecError: it is of the wrong type or out of range.
    """
    found = check_scalar(value, place)
    if "." in name:
        if found is None:
            raise SpecError(f'{place} takes a value, got None; write "none"')
        return found
    part, item = flat_settings()[name]
    if isinstance(found, str) and found.lower() == "none" and str(item.type).endswith("| None"):
        found = None
    try:
        _PARTS[part](**{name: found})
    except EmcError as error:
        raise type(error)(f"{error} (in {place})") from None
    return found


def check_scalar(value: Any, place: str) -> Scalar:
    """A value as it may stand in a file.

    Raises:
        SpecError: it is no number, text, or truth value, or is beyond all bounds.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int) and value.bit_length() <= MAX_BITS:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        return str(value)
    raise SpecError(f"{place} takes numbers, texts, true and false, got {shown(value)}")


def check_ends(name: str, values: Sequence[Scalar], place: str) -> None:
    """Check the values of a range by its ends and its second one: they ascend."""
    for value in (*values[:2], *values[-1:]):
        checked(name, value, place)


#: A count of values, and what makes them.
Spread = tuple[float, Callable[[], list[Scalar]]]


def is_spread(value: Mapping[str, Any]) -> bool:
    """Whether a table is a range."""
    return len(value) == 1 and next(iter(value)) in _SPREADS


def read_spread(value: Mapping[str, Any], kind: str, place: str) -> Spread:
    """How many values a range has, and what makes them.

    Args:
        value: the table.
        kind: declared type of the setting; empty where it is not known.
        place: in the file.

    Raises:
        SpecError: it is none.
    """
    if not is_spread(value):
        known = ", ".join(_SPREADS)
        raise SpecError(f"{place} is a list or one of {known}, got {shown(dict(value))}; write {{range = [0, 4]}}")
    form, numbers = next(iter(value.items()))
    make, usage = _SPREADS[form]
    given = list(numbers) if isinstance(numbers, list | tuple) else []
    if not given or not all(_is_number(each) for each in given):
        raise SpecError(f"{place} takes {usage}, got {form} = {shown(numbers)}")
    try:
        return make(given, kind)
    except _UsageError as error:
        raise SpecError(f"{place} takes {usage}, got {form} = {shown(numbers)}: {error}") from None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else value.bit_length() <= MAX_BITS


class _UsageError(Exception):
    """Numbers that no axis can be made of."""


def _range(numbers: list[Any], kind: str) -> Spread:  # noqa: ARG001
    if len(numbers) not in (2, 3):
        raise _UsageError("two numbers or three")
    first, last, step = numbers if len(numbers) == 3 else (*numbers, 1)
    if step <= 0 or first > last:
        raise _UsageError("a step is above 0 and the last is at least the first")
    whole = all(isinstance(each, int) for each in (first, step)) and isinstance(last, int)
    count = (last - first) // step + 1 if whole else (last - first) / step + 1 + SLACK
    count = math.floor(count) if count < math.inf else math.inf
    return count, lambda: [
        first + place * step if whole else _tidy(first + place * step) for place in range(int(count))
    ]


def _doubling(factor: int) -> Callable[[list[Any], str], Spread]:
    def make(numbers: list[Any], kind: str) -> Spread:  # noqa: ARG001
        first, last = _positive_ends(numbers, 2)
        count = math.floor((math.log(last) - math.log(first)) / math.log(factor) + 1 + SLACK)
        exact = isinstance(first, int)
        return count, lambda: [
            first * factor**place if exact else _tidy(first * float(factor) ** place) for place in range(count)
        ]

    return make


def _geometric(numbers: list[Any], kind: str) -> Spread:
    first, last = _positive_ends(numbers, 3)
    count = numbers[2]
    if not isinstance(count, int) or count < 2:
        raise _UsageError("the count is a whole number of at least 2")
    whole = kind == "int" or (kind == "" and isinstance(first, int) and isinstance(last, int))

    def make() -> list[Scalar]:
        rise = (math.log(last) - math.log(first)) / (count - 1)
        values = [first, *(math.exp(math.log(first) + place * rise) for place in range(1, count - 1)), last]
        return list(dict.fromkeys(round(each) if whole else _tidy(each) for each in values))

    return count, make


def _positive_ends(numbers: list[Any], length: int) -> tuple[Any, Any]:
    if len(numbers) != length:
        raise _UsageError(f"{('no', 'one', 'two', 'three')[length]} numbers")
    if numbers[0] <= 0 or numbers[0] > numbers[1]:
        raise _UsageError("the first is above 0 and at most the last")
    return numbers[0], numbers[1]


def _tidy(value: float) -> float:
    """Without the last digits, which are rounding's."""
    return float(f"{value:.12g}")


_SPREADS: dict[str, tuple[Callable[[list[Any], str], Spread], str]] = {
    "range": (_range, "range = [first, last] or [first, last, step], both included"),
    "log2": (_doubling(2), "log2 = [first, last], doubling from the first"),
    "log10": (_doubling(10), "log10 = [first, last], times ten from the first"),
    "geometric": (_geometric, "geometric = [first, last, count], both included"),
}


def identity(value: Scalar) -> tuple[bool, Scalar]:
    """What equal values share; true is not 1."""
    return isinstance(value, bool), value


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60


def shown(value: Any) -> str:
    """A value as it stands in a message."""
    try:
        return cut(_REPR.repr(value), 100)
    except (ValueError, RecursionError):  # Python writes out no number of thousands of digits
        return "a value too long to show"


def quoted(value: Any) -> str:
    """A name as it stands in a message."""
    return f'"{cut(str(value))}"' if isinstance(value, str) else shown(value)


def cut(text: str, most: int = 60) -> str:
    """A text, or its beginning."""
    return text if len(text) <= most else text[: most - 3] + "..."
