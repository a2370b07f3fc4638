"""The settings of measurements side by side: which they share, and which tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from emc.curve_record import Curve
from emc.frames import settings_by_name
from emc.pages.parts import Cell
from emc.registry import PluginSpec
from emc.results import EmcResult
from emc.specs import flat_settings, later_settings


def settings_of(record: EmcResult | Curve) -> dict[str, Any]:
    """All settings of a measurement or a curve by name, and the options of its plug-ins by themselves.

    A largest size that is only the pool's is no setting of its own.
    """
    search = dict(record.search) if isinstance(record, EmcResult) else {}
    if search.get("n_max") == record.dataset.get("rows"):
        search.pop("n_max", None)
    procedure = {**record.procedure, **later_settings(record.procedure)}
    return settings_by_name({**record.task, **procedure, **search, "seed": record.seed})


def telling(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings in which rows differ, each difference once.

    A plug-in that all rows share is told by its options; where plug-ins differ, their texts say it all.

    >>> telling([{"model": "mlp:width=4", "model.width": 4}, {"model": "mlp:width=8", "model.width": 8}])
    ['model.width']
    >>> telling([{"model": "mlp:width=4", "model.width": 4}, {"model": "linear"}])
    ['model']
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    differing = [name for name in names if len({str(row.get(name)) for row in rows}) > 1]
    whole = {name for name in differing if not _same_plugin(rows, name, names)}
    return [name for name in differing if (name in whole if "." not in name else name.partition(".")[0] not in whole)]


def _same_plugin(rows: Sequence[Mapping[str, Any]], name: str, names: Sequence[str]) -> bool:
    """Whether a setting names one plug-in in all rows, whose options then tell them apart."""
    plugins = {str(row.get(name)).partition(":")[0] for row in rows}
    return "." not in name and len(plugins) == 1 and any(each.startswith(f"{name}.") for each in names)


def setting_text(value: Any) -> str:
    """A setting as a reader sees it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def setting_cells(row: Mapping[str, Any], names: Sequence[str]) -> tuple[Cell, ...]:
    """One measurement's settings as cells of a table."""
    return tuple(_cell(row.get(name)) for name in names)


def _cell(value: Any) -> Cell:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(setting_text(value), value if is_number else None)


def shortened(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings with those options of plug-ins left out that the same plug-in has in every row.

    >>> shortened([{"model": "mlp:width=4,depth=1"}, {"model": "mlp:width=8,depth=1"}, {"model": "cnn:width=4"}])
    [{'model': 'mlp:width=4'}, {'model': 'mlp:width=8'}, {'model': 'cnn'}]
    """
    seen: dict[tuple[str, str, str], set[Any]] = {}
    for row in rows:
        for name, value in _plugins(row).items():
            for key, text in value.options:
                seen.setdefault((name, value.name, key), set()).add(text)
    return [
        dict(row)
        | {
            name: str(
                replace(value, options=tuple((k, t) for k, t in value.options if len(seen[name, value.name, k]) > 1))
            )
            for name, value in _plugins(row).items()
        }
        for row in rows
    ]


def _plugins(row: Mapping[str, Any]) -> dict[str, PluginSpec]:
    homes = flat_settings()
    return {
        name: PluginSpec.parse(value)
        for name, value in row.items()
        if isinstance(value, str) and name in homes and str(homes[name][1].type).startswith("PluginSpec")
    }
