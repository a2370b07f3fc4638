"""What a record other than a verdict must hold to be read: the fields that tables are made of, of their types."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from emc.errors import SpecError
from emc.registry import PluginSpec
from emc.specs import flat_settings

_Test = Callable[[Any], bool]

#: Whole numbers beyond these have no column type.
_LEAST, _MOST = -(2**63), 2**63 - 1


def is_whole(value: Any) -> bool:
    """Whether it is an integer of 64 bits."""
    return type(value) is int and _LEAST <= value <= _MOST


def is_number(value: Any) -> bool:
    """Whether it is finite, and an integer of 64 bits where it is one."""
    return is_whole(value) or (type(value) is float and math.isfinite(value))


def is_text(value: Any) -> bool:
    """Whether it is text that can be written: JSON's may hold half a surrogate pair."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_record(record: Mapping[str, Any]) -> bool:
    """Whether a record of a known kind has what its readers need; of others and of verdicts nothing is asked."""
    return _has(record, _FIELDS.get(record["kind"], {}))


def _has(values: Any, fields: Mapping[str, _Test]) -> bool:
    return isinstance(values, dict) and all(test(values.get(name, _ABSENT)) for name, test in fields.items())


_ABSENT = object()


def _or_none(test: _Test) -> _Test:
    return lambda value: value is None or test(value)


def _or_absent(test: _Test) -> _Test:
    return lambda value: value is _ABSENT or test(value)


def _list_of(test: _Test) -> _Test:
    return lambda value: isinstance(value, list) and all(map(test, value))


def _table(**fields: _Test) -> _Test:
    return lambda value: _has(value, fields)


def _table_of(test: _Test) -> _Test:
    return lambda value: isinstance(value, dict) and all(map(is_text, value)) and all(map(test, value.values()))


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_interval(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and all(map(is_number, value)))


def _is_setting(value: Any) -> bool:
    """Whether it is plain; a seed may have any number of digits."""
    return value is None or isinstance(value, bool | int) or is_number(value) or is_text(value)


def _is_settings(values: Any) -> bool:
    """Whether plain values stand by names, plug-ins as text that can be taken apart."""
    if not _table_of(_is_setting)(values):
        return False
    homes = flat_settings()
    try:
        for name, value in values.items():
            if isinstance(value, str) and name in homes and "PluginSpec" in str(homes[name][1].type):
                PluginSpec.parse(value)
    except SpecError:
        return False
    return True


_WORDS = {"device": is_text, "trainer": is_text, "emc": is_text, "torch": is_text, "results": is_whole}

#: What the fields of each kind are, as far as they are read; more may stand in a record.
_FIELDS: Mapping[str, Mapping[str, _Test]] = {
    "measurement": {
        "fingerprint": is_text,
        "emc": is_whole,
        "censored": _is_truth,
        "status": is_text,
        "lower": is_whole,
        "upper": _or_none(is_whole),
        "interval": _is_interval,
        "interval_method": is_text,
        "confidence": is_number,
        "estimand": is_text,
        "replicates": _list_of(_table()),
        "parameters": _or_none(is_whole),
        "emc_per_parameter": _or_none(is_number),
        "bits_per_parameter": _or_none(is_number),
        "stored": _or_absent(_or_none(is_whole)),
        "bits": _or_absent(_or_none(is_whole)),
        "bits_per_bit": _or_absent(_or_none(is_number)),
        "test_accuracy": _list_of(_or_none(is_number)),
        "evidence": _or_absent(_table_of(is_whole)),
        "task": _is_settings,
        "procedure": _is_settings,
        "search": _is_settings,
        "seed": _is_setting,
        "dataset": _table(name=is_text, rows=is_whole, content_hash=is_text),
        "cost": _table(probes=is_whole, steps=is_whole, sample_steps=is_whole, seconds=is_number),
        "versions": _table(**{name: _or_absent(_or_none(test)) for name, test in _WORDS.items()}),
        "tuning": _or_absent(_or_none(_table(tuner=is_text))),
        "probes": _list_of(is_text),
        "untuned": _or_absent(_or_none(is_text)),
    },
    "curve": {
        "fingerprint": is_text,
        "points": _list_of(_table(n=is_whole)),
        "parameters": _or_none(is_whole),
        "task": _is_settings,
        "procedure": _is_settings,
        "seed": _is_setting,
        "dataset": _table(name=is_text, rows=is_whole, content_hash=is_text),
        "probes": _list_of(is_text),
    },
    "failed": {"fingerprint": is_text, "error": is_text, "cell": _is_settings},
    "base": {
        "base": is_text,
        "task": _is_settings,
        "procedure": _is_settings,
        "seed": _is_setting,
        "device": is_text,
        "dataset": _table(name=is_text, rows=is_whole),
    },
}
