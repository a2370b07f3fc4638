"""Settings from a TOML file: flat keys, or tables named as the parts of a measurement."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from emc.cli.options import PARTS, Setting, settings
from emc.errors import EmcError, SpecError, UnknownNameError, did_you_mean, shown
from emc.files import read_text
from emc.imports import SUFFIX
from emc.registry import PluginSpec
from emc.specs import Execution, Measurement

#: Bytes of the largest configuration file.
LARGEST = 2**20


def read_config(path: str | Path) -> dict[str, Any]:
    """The settings of a configuration file, each checked by itself.

    Raises:
        SpecError: the file cannot be read, is no TOML, or a value is of the wrong type or out of range.
        UnknownNameError: a key or table that does not exist.
    """
    known = settings()
    found: dict[str, Any] = {}
    for part, key, value in _entries(_read_toml(path), path):
        _check_home(key, part, known, path)
        if key in found:
            raise SpecError(f'a setting is given once, got "{key}" twice in "{path}"; keep one of them')
        try:
            build_specs({key: value})
        except EmcError as error:
            raise type(error)(f'{error} (in "{path}")') from None
        found[key] = value
    return found


def build_specs(values: dict[str, Any]) -> tuple[Measurement, Execution]:
    """The measurement and its execution from one flat mapping of settings.

    Raises:
        SpecError: a value of the wrong type or out of range, or values that contradict each other.
    """
    known = settings()
    how = {name: value for name, value in values.items() if known[name].part == Execution.KIND}
    what = {name: value for name, value in values.items() if name not in how}
    return Measurement.from_flat(what), Execution(**how)


def named_files(values: Iterable[tuple[str, Any]]) -> list[str]:
    """The files that settings name: a user's own code and data.

    Args:
        values: of settings, or of options that stand by themselves, as `data.path`, with their names.
    """
    words: list[str] = []
    for name, value in values:
        if name == "command":
            words += str(value).split()
        elif "." in name:
            words.append(str(value))
        elif isinstance(value, str):
            with suppress(SpecError):  # a text that is no plug-in's
                spec = PluginSpec.parse(value)
                words += [spec.name] * spec.name.endswith(SUFFIX) + [str(each) for _, each in spec.options]
    return [path for path in map(os.path.expanduser, words) if os.path.isfile(path)]


def _read_toml(path: str | Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(read_text(path, LARGEST))
    except FileNotFoundError:
        raise SpecError(f'a configuration file must exist, got "{path}"; check the path') from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise SpecError(f'a configuration file must be readable, got "{path}" ({reason}); name a file') from None
    except RecursionError:
        raise SpecError(f'a configuration file must be flat, got tables or lists nested deeply in "{path}"') from None
    except ValueError as error:  # broken TOML, or bytes that are no text
        reason = str(error)[0].lower() + str(error)[1:]
        raise SpecError(f'a configuration file must be valid TOML, got "{path}" ({reason}); mend that line') from None


def _entries(content: dict[str, Any], path: str | Path) -> list[tuple[str | None, str, Any]]:
    """All (table or None, key, value) of the file."""
    entries: list[tuple[str | None, str, Any]] = []
    for key, value in content.items():
        if isinstance(value, dict):
            if key not in PARTS:
                raise UnknownNameError(f'there is no table "{key}" (in "{path}"); {did_you_mean(key, PARTS)}')
            entries += [(key, name, inner) for name, inner in value.items()]
        elif key in PARTS:
            raise SpecError(f'"{key}" is a table, got {shown(value)} (in "{path}"); write [{key}] above its settings')
        else:
            entries.append((None, key, value))
    return entries


def _check_home(key: str, part: str | None, known: dict[str, Setting], path: str | Path) -> None:
    if key not in known:
        raise UnknownNameError(f'there is no setting "{key}" (in "{path}"); {did_you_mean(key, known)}')
    home = known[key].part
    if part not in (None, home):
        raise UnknownNameError(f'"{key}" is a setting of [{home}], got it in [{part}] (in "{path}"); move it')
