"""Sweeps: a file of axes, and the cells it stands for, each a flat mapping of settings.

A cell's settings are named as everywhere (`model`, `seed`, `n_max`, ...); an option of a plug-in may stand by itself,
as `model.width`. Cells are made when they are asked for, so that a million of them take no memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from emc.axes import (
    MAX_TEXT,
    Scalar,
    check_ends,
    check_name,
    check_scalar,
    checked,
    cut,
    declared_kind,
    identity,
    is_plugin,
    is_spread,
    quoted,
    read_spread,
    shown,
)
from emc.errors import EmcError, SpecError, UnknownNameError, did_you_mean
from emc.registry import PluginSpec
from emc.specs import Execution, Measurement, flat_settings

#: Cells of a sweep, before exclusions, and bytes of its file, at most.
MAX_CELLS = 1_000_000
MAX_BYTES = 1_000_000
#: Comparisons that exclusions may take: they times cells.
MAX_EXCLUDING = 20 * MAX_CELLS
SECTIONS = ("name", "base", "grid", "zip", "exclude", "execution")


@dataclass(frozen=True)
class Cell:
    """One measurement of a sweep.

    Attributes:
        number: from 1, in the file's order.
        settings: as the file gives them: by name, or by name and option, as `model.width`.
    """

    number: int
    settings: Mapping[str, Scalar]

    def measurement(self) -> Measurement:
        """What is to be measured.

        Raises:
            SpecError: settings that contradict each other.
        """
        return Measurement.from_flat(join_options(self.settings))


@dataclass(frozen=True)
class Axis:
    """Settings that take their values together: one in the grid, several in a zip.

    Attributes:
        names: of the settings.
        values: for each place on the axis one value a name.
    """

    names: tuple[str, ...]
    values: tuple[tuple[Scalar, ...], ...]


@dataclass(frozen=True, eq=False)
class Sweep(Sequence[Cell]):
    """Every combination of the axes' values, without those excluded; the last axis varies fastest.

    Attributes:
        name: of the sweep; empty where it has none.
        base: settings of every cell.
        axes: in the file's order, zips after the grid.
        execution: settings of `Execution` that the file gives.
        places: of the cells among all combinations, (cells,).
    """

    name: str
    base: Mapping[str, Scalar]
    axes: tuple[Axis, ...]
    execution: Mapping[str, Any]
    places: npt.NDArray[np.int64] = field(repr=False)

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Settings with more than one value."""
        return tuple(
            name
            for axis in self.axes
            for column, name in enumerate(axis.names)
            if len({identity(values[column]) for values in axis.values}) > 1
        )

    def values(self) -> Iterator[tuple[str, Scalar]]:
        """Every value that a setting has in some cell, with its name."""
        yield from self.base.items()
        for axis in self.axes:
            for row in axis.values:
                yield from zip(axis.names, row, strict=True)

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> list[Cell]: ...
    def __getitem__(self, index: int | slice) -> Cell | list[Cell]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        rest, number = int(self.places[index]), index % len(self) + 1
        chosen: list[tuple[Scalar, ...]] = []
        for axis in reversed(self.axes):
            rest, place = divmod(rest, len(axis.values))
            chosen.append(axis.values[place])
        settings = dict(self.base)
        for axis, values in zip(self.axes, reversed(chosen), strict=True):
            settings.update(zip(axis.names, values, strict=True))
        return Cell(number, settings)

    def __iter__(self) -> Iterator[Cell]:
        return (self[place] for place in range(len(self)))


def read_sweep(source: str | os.PathLike[str] | Mapping[str, Any]) -> Sweep:
    """The sweep of a TOML file, or of a mapping of the same form.

    `[base]` holds settings of every cell. In `[grid]` each setting is an axis: a list, or one of
    `{range = [first, last]}`, `{range = [first, last, step]}`, `{log2 = [first, last]}` (doubling),
    `{log10 = [first, last]}` (times ten), `{geometric = [first, last, count]}`; first and last are included, whole
    numbers stay whole. Axes of one `[[zip]]` move together. `[[exclude]]` leaves out the cells in which all that it
    names is equal, a list meaning any of its values. `[execution]` says where and how.

    Raises:
        SpecError, UnknownNameError: a mistake in the file; the message names the place.

    >>> sweep = read_sweep({"grid": {"model.width": {"log2": [4, 16]}, "seed": {"range": [0, 1]}}})
    >>> len(sweep), dict(sweep[5].settings)
    (6, {'model.width': 16, 'seed': 1})
    """
    if isinstance(source, Mapping):
        return _read(source)
    content = _read_toml(source)
    try:
        return _read(content)
    except EmcError as error:
        raise type(error)(f'{error} (in "{source}")') from None


def join_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the options that stand by themselves put into their plug-ins.

    Raises:
        SpecError: an option of no plug-in, or given twice.

    >>> str(join_options({"model": "mlp:depth=2", "model.width": 8})["model"])
    'mlp:depth=2,width=8'
    """
    joined = {name: value for name, value in settings.items() if "." not in name}
    homes = flat_settings()
    for name, value in settings.items():
        setting, dot, option = name.partition(".")
        if not dot:
            continue
        spec = joined.get(setting, homes[setting][1].default)
        if spec is None:
            raise SpecError(f'"{name}" is an option of {setting}, got none; name the {setting} too')
        spec = PluginSpec.parse(spec) if isinstance(spec, str) else spec
        if option in dict(spec.options):
            raise SpecError(f'an option is given once, got "{name}" beside {setting} "{spec}"; keep one of them')
        joined[setting] = PluginSpec(spec.name, (*spec.options, (option, value)))
    return joined


def read_numbers(text: str, most: int) -> list[int]:
    """The numbers that a text such as "3,7-9" names, ascending, each once.

    Raises:
        SpecError: it names none, or one outside 1 to `most`.

    >>> read_numbers("3,7-9", 10)
    [3, 7, 8, 9]
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        ends = [first, last if dash else first]
        if not all(end.isdecimal() and len(end) < 10 for end in ends) or int(ends[0]) > int(ends[1]):
            raise SpecError(f'--cells takes numbers and ranges, got "{cut(part)}"; write 3,7-9')
        low, high = map(int, ends)
        if low < 1 or high > most:
            raise SpecError(f'--cells must lie between 1 and {most:,}, got "{part.strip()}"; --dry-run numbers them')
        found.update(range(low, high + 1))
    return sorted(found)


def _read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    import tomllib

    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SpecError(
                f'a sweep file has at most {MAX_BYTES:,} bytes, got more in "{path}"; use ranges or split it'
            )
        return tomllib.loads(content.decode("utf-8"))
    except FileNotFoundError:
        raise SpecError(f'a sweep file must exist, got "{path}"; check the path') from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(f'a sweep file must be readable, got "{path}" ({reason}); name a file') from None
    except (ValueError, RecursionError) as error:  # broken or bottomless TOML, or bytes that are no text
        reason = cut(str(error)[:1].lower() + str(error)[1:], 160)
        hint = (
            ', an option beside its plug-in is quoted, "model.width"'
            if "overwrite" in reason or "namespace" in reason
            else ""
        )
        raise SpecError(f'a sweep file must be valid TOML, got "{path}" ({reason}); mend that line{hint}') from None


def _read(content: Mapping[str, Any]) -> Sweep:
    for key, value in content.items():
        if key not in SECTIONS:
            raise UnknownNameError(f"a sweep has no entry {quoted(key)}; {_entry_remedy(key)}")
        if key != "name" and not _is_section(key, value):
            form = f"[[{key}]]" if key in ("zip", "exclude") else f"[{key}]"
            raise SpecError(f"{key} is a table, got {shown(value)}; write {form} above its settings")
    name = content.get("name", "")
    if not isinstance(name, str) or len(name) > MAX_TEXT:
        raise SpecError(f"a sweep's name is a short text, got {shown(name)}")
    reader = _Reader()
    base = reader.base(content.get("base", {}))
    axes = [*reader.grid(content.get("grid", {}))]
    axes += [reader.zipped(table, number) for number, table in enumerate(_tables(content.get("zip", ())), 1)]
    if not axes:
        raise SpecError("a sweep has at least one axis, got none; write one in [grid], such as seed = [0, 1]")
    execution = _execution(content.get("execution", {}))
    places = _without(np.arange(reader.count, dtype=np.int64), axes, _tables(content.get("exclude", ())))
    return Sweep(name, base, tuple(axes), execution, places)


def _is_section(key: str, value: Any) -> bool:
    if key in ("zip", "exclude") and isinstance(value, list | tuple):
        return all(isinstance(table, Mapping) for table in value)
    return isinstance(value, Mapping)


def _tables(value: Any) -> list[Mapping[str, Any]]:
    """One table, or several."""
    return [value] if isinstance(value, Mapping) else list(value)


def _entry_remedy(key: Any) -> str:
    if isinstance(key, str) and key.partition(".")[0] in flat_settings():
        return "a setting stands under [base], or under [grid] with its list"
    return did_you_mean(cut(str(key)), SECTIONS)


class _Reader:
    """Reads settings and axes, and keeps count.

    Attributes:
        count: combinations so far.
    """

    def __init__(self) -> None:
        self.count = 1
        self._homes: dict[str, str] = {}
        self._values = 0

    def base(self, table: Mapping[str, Any]) -> dict[str, Scalar]:
        found: dict[str, Scalar] = {}
        for name, value in self._entries(table, "[base]"):
            place = f"[base] {name}"
            if isinstance(value, list | tuple | Mapping):
                raise SpecError(f"{place} is one value, got {shown(value)}; move the axis to [grid]")
            found[name] = checked(name, value, place)
        return found

    def grid(self, table: Mapping[str, Any]) -> Iterator[Axis]:
        for name, value in self._entries(table, "[grid]"):
            values = self._spread(name, value, f"[grid] {name}")
            self.count *= len(values)
            yield Axis((name,), tuple((each,) for each in values))

    def zipped(self, table: Mapping[str, Any], number: int) -> Axis:
        columns: dict[str, list[Scalar]] = {}
        for name, value in self._entries(table, f"[[zip]] {number}"):
            columns[name] = self._spread(name, value, f"[[zip]] {number} {name}", unique=False)
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            counts = cut(", ".join(f"{name} {length}" for name, length in lengths.items()), 200)
            raise SpecError(f"axes of a zip have equally many values, got {counts}; mend [[zip]] {number}")
        if not columns:
            raise SpecError(f"a zip names its axes, got an empty [[zip]] {number}; leave it out")
        self.count *= next(iter(lengths.values()))
        return Axis(tuple(columns), tuple(zip(*columns.values(), strict=True)))

    def _entries(self, table: Mapping[str, Any], section: str) -> Iterator[tuple[str, Any]]:
        """Names and values, each name known and not given before; a table under a plug-in's setting holds options."""
        homes = flat_settings()
        for key, value in table.items():
            options = key in homes and is_plugin(key) and isinstance(value, Mapping) and not is_spread(value)
            for name, each in [(f"{key}.{o}", v) for o, v in value.items()] if options else [(key, value)]:
                check_name(name, section)
                if name in self._homes:
                    raise SpecError(f'a setting is given once, got "{name}" in {self._homes[name]} and {section}')
                self._homes[name] = section
                yield name, each

    def _spread(self, name: str, value: Any, place: str, unique: bool = True) -> list[Scalar]:
        """The values of an axis, counted before they are made."""
        if isinstance(value, Mapping):
            count, make = read_spread(value, declared_kind(name), place)
            self._check_count(count)
            values = make()
            check_ends(name, values, place)
        elif isinstance(value, list | tuple | range):
            self._check_count(len(value))
            values = [checked(name, each, place) for each in value]
        else:
            raise SpecError(f"{place} is a list or a range, got {shown(value)}; write [{shown(value)}]")
        if not values:
            raise SpecError(f"{place} has at least one value, got an empty list; leave it out")
        if unique and len({identity(each) for each in values}) < len(values):
            raise SpecError(f"{place} lists a value once, got one twice in {shown(value)}; keep one of them")
        self._values += len(values)
        return values

    def _check_count(self, count: float) -> None:
        if self.count * count > MAX_CELLS or self._values + count > MAX_CELLS:
            got = self.count * count
            text = f"{got:,.0f}" if got < 1e15 else f"{got:.3g}"
            raise SpecError(f"a sweep has at most {MAX_CELLS:,} cells, got {text}; shorten its axes")


def _execution(table: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name not in Execution.__dataclass_fields__:
            if isinstance(name, str) and name.partition(".")[0] in flat_settings():
                raise SpecError(f"{quoted(name)} says what is measured, got it in [execution]; move it to [base]")
            remedy = did_you_mean(cut(str(name)), Execution.__dataclass_fields__)
            raise UnknownNameError(f"there is no setting {quoted(name)} (in [execution]); {remedy}")
        value = check_scalar(value, f"[execution] {name}")
        optional = str(Execution.__dataclass_fields__[name].type).endswith("| None")
        found[name] = None if optional and str(value).lower() == "none" else value
        try:
            Execution.from_dict({name: found[name]})
        except EmcError as error:
            raise type(error)(f"{error} (in [execution] {name})") from None
    return found


def _without(
    places: npt.NDArray[np.int64], axes: Sequence[Axis], exclusions: Sequence[Mapping[str, Any]]
) -> npt.NDArray[np.int64]:
    """The combinations that no exclusion leaves out.

    Raises:
        SpecError, UnknownNameError: one that names no axis, or matches no cell; or all are left out.
    """
    if len(exclusions) * len(places) > MAX_EXCLUDING:
        raise SpecError(f"exclusions times cells are at most {MAX_EXCLUDING:,}, got {len(exclusions) * len(places):,}")
    kept = np.ones(len(places), dtype=bool)
    for number, table in enumerate(exclusions, 1):
        place = f"[[exclude]] {number}"
        left_out = np.ones(len(places), dtype=bool)
        for name, value in _named(table, axes, place):
            left_out &= _where(name, value, places, axes, place)
        if not left_out.any():
            raise SpecError(f"an exclusion matches at least one cell, got none for {place}; mend or drop it")
        kept &= ~left_out
    if not kept.any():
        raise SpecError("a sweep has at least one cell, got all of them excluded; drop an [[exclude]]")
    return places[kept]


def _named(table: Mapping[str, Any], axes: Sequence[Axis], place: str) -> list[tuple[str, Any]]:
    known = [name for axis in axes for name in axis.names]
    entries: list[tuple[str, Any]] = []
    for key, value in table.items():
        entries += [(f"{key}.{o}", v) for o, v in value.items()] if isinstance(value, Mapping) else [(key, value)]
    if not entries:
        raise SpecError(f"an exclusion names an axis, got none in {place}; known are {cut(', '.join(known), 200)}")
    for name, _ in entries:
        if name not in known:
            remedy = cut(did_you_mean(cut(str(name)), known), 200)
            raise UnknownNameError(f"an exclusion names axes, got {quoted(name)} in {place}; {remedy}")
    return entries


def _where(
    name: str, value: Any, places: npt.NDArray[np.int64], axes: Sequence[Axis], place: str
) -> npt.NDArray[np.bool_]:
    """The combinations in which an axis has a value, or one of a list."""
    stride = 1
    for axis in reversed(axes):
        if name in axis.names:
            break
        stride *= len(axis.values)
    column = axis.names.index(name)
    known = {identity(values[column]) for values in axis.values}
    wanted = set()
    for each in value if isinstance(value, list | tuple) else [value]:
        found = identity(checked(name, each, f"{place} {name}"))
        if found not in known:
            raise SpecError(f"an exclusion names values of its axis, got {shown(each)} for {name} in {place}")
        wanted.add(found)
    matches = np.array([identity(values[column]) in wanted for values in axis.values])
    return np.asarray(matches[places // stride % len(axis.values)])
