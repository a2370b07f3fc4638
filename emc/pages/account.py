"""The page's last sections: what it all cost, and by which settings and versions it was made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emc.curve_record import Curve
from emc.pages.parts import Cell, Column, Section, Table, number
from emc.pages.settings import setting_text, settings_of
from emc.results import EmcResult, ProbeResult, cost

_COSTS = ("probes", "steps", "sample_steps", "seconds")


def costs(results: Sequence[EmcResult], curves: Sequence[Curve]) -> Section:
    """What measurements, curves and tunings took."""
    tunings = [*(result.tuning for result in results), *(curve.tuning for curve in curves)]
    groups = [
        ("measurements", cost(_distinct(results))),
        ("curves", cost(_distinct(curves))),
        ("tuning", _sum(tuning["cost"] for tuning in tunings if tuning is not None)),
    ]
    rows = [_cost_row(name, spent) for name, spent in groups if spent["probes"]]
    heads = [Column("part"), Column("probes", True), Column("steps", True), Column("samples seen", True)]
    table = Table("Cost by part", [*heads, Column("seconds", True), Column("hours", True)], rows, sortable=False)
    return Section("cost", "Cost", [_COST], (), [table] if rows else [])


_COST = (
    "A probe that several measurements share is counted once. Seconds are those of each training by itself, so "
    "trainings that ran beside each other took less time on the clock."
)


def _distinct(records: Iterable[EmcResult | Curve]) -> Iterable[ProbeResult]:
    return {probe.key: probe for record in records for probe in record.probes}.values()


def _sum(costs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    costs = list(costs)
    return {name: sum(each[name] for each in costs) for name in _COSTS}


def _cost_row(name: str, spent: Mapping[str, float]) -> tuple[Cell, ...]:
    numbers = (number(spent[each], ",.0f") for each in ("probes", "steps", "sample_steps"))
    return Cell(name), *numbers, number(spent["seconds"], ",.1f"), number(spent["seconds"] / 3600, ",.2f")


def procedure(results: Sequence[EmcResult], curves: Sequence[Curve]) -> Section:
    """The settings that measurements and curves share, those in which they differ, their data and versions."""
    records: list[EmcResult | Curve] = [*results, *curves]
    rows = [settings_of(record) for record in records]
    counted = {name: _counted(row[name] for row in rows if name in row) for name in _names(rows) if "." not in name}
    shared = [(name, values) for name, values in counted.items() if len(values) == 1]
    differing = [(name, values) for name, values in counted.items() if len(values) > 1]
    facts = [{"data": each.dataset.get("name"), **_plain(each.dataset)} for each in records]
    made = [each.versions for each in records]
    versions = {name: _counted(each[name] for each in made if name in each) for name in _names(made)}
    tables = [
        _settings_table("Settings that differ", differing),
        _settings_table("Settings that all share", shared),
        _datasets(facts),
        _settings_table("Versions", list(versions.items())),
    ]
    return Section("procedure", "Procedure and versions", (), (), [table for table in tables if table.rows])


def _names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _counted(values: Iterable[Any]) -> Counter[str]:
    return Counter(setting_text(value) for value in values)


def _settings_table(caption: str, found: Sequence[tuple[str, Counter[str]]]) -> Table:
    rows = [(Cell(name), Cell(_values_text(values))) for name, values in found]
    return Table(caption, [Column("name"), Column("value")], rows, sortable=False)


def _values_text(values: Counter[str]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} ({count:,})" for value, count in sorted(values.items()))


_DATA = ("name", "rows", "classes", "repeats", "conflicts", "test_rows", "content_hash")


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    classes = facts.get("classes")
    return {**facts, "classes": len(classes) if isinstance(classes, list | tuple) else classes}


def _datasets(facts: Sequence[Mapping[str, Any]]) -> Table:
    rows = dict.fromkeys(tuple(_fact(each.get(name)) for name in _DATA) for each in facts)
    columns = [Column(name.replace("_", " "), name in _DATA[1:-1]) for name in _DATA]
    return Table("Data", columns, list(rows), sortable=False)


def _fact(value: Any) -> Cell:
    return number(value) if isinstance(value, int) else Cell("" if value is None else str(value))
