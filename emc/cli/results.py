"""`emc results`: what a journal holds, filtered, as a table or a file."""

from __future__ import annotations

import csv
import io
import json
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emc.cli.display import print_columns
from emc.cli.options import default_journal
from emc.errors import OutputError, SpecError, UnknownNameError, did_you_mean
from emc.files import check_outputs, replacing, write_text
from emc.registry import PluginSpec

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("table", "csv", "jsonl", "parquet")
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet", ".txt": "table"}

#: Columns of the table where none are named, beside the settings that differ.
MEASUREMENT_TABLE = ("fingerprint", "state", "parameters", "emc", "interval_low", "interval_high", "status", "error")
PROBE_TABLE = ("n", "replicate", "attempt", "verdict", "evidence", "accuracy", "training_loss", "steps", "seconds")

_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Condition:
    """One `--where`: a column, a comparison and a value.

    Attributes:
        column: its name.
        comparison: one of =, !=, <, <=, >, >=.
        value: as written; of a text it may be a glob.
    """

    column: str
    comparison: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The condition that a text states.

        Raises:
            SpecError: it states none.

        >>> Condition.parse("model = mlp:*")
        Condition(column='model', comparison='=', value='mlp:*')
        """
        found = re.fullmatch(r"\s*([^\s=<>!]+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", text, re.DOTALL)
        if found is None:
            raise SpecError(f"--where compares a column by =, !=, <, <=, >, >=, got \"{text}\"; write 'emc>100'")
        condition = cls(*found.groups())
        if condition.value.startswith(tuple("=<>!~")):
            first = condition.value[0]
            remedy = f"for a text that begins with {first} write [{first}], for any other leave it out"
            raise SpecError(f'--where has one comparison, got "{text}"; {remedy}')
        if condition.comparison not in ("=", "!=") and _number(condition.value) is None:
            raise SpecError(f'--where orders numbers, got "{text}"; compare texts by = or !=, where * stands for any')
        return condition

    def holds(self, value: Any) -> bool:
        """Whether a cell of the column meets it; a missing one is the empty text and "none", and no other."""
        if _is_missing(value):
            return (self.comparison == "=") == (self.value in ("", "none")) and self.comparison in ("=", "!=")
        number, other = _number(value), _number(self.value)
        if number is not None and other is not None:
            return _COMPARED[self.comparison](number, other)
        matches = fnmatchcase(_text(value), self.value)
        return (self.comparison == "=" and matches) or (self.comparison == "!=" and not matches)


def _number(value: Any) -> float | None:
    """A number, or a text that is one; truth values are texts."""
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN differs from itself


def _text(value: Any) -> str:
    """A cell as a user reads it."""
    if _is_missing(value):
        return ""
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return str(bool(value)).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    return str(value)


@click.command("results")
@click.argument("journal", required=False, type=click.Path())
@click.option("--probes", is_flag=True, help="one row a probe, instead of one a measurement")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="keep rows such as 'emc>100' or 'model=mlp*'; = != < <= > >=, * in a text stands for any, none for what is "
    "missing; all have to hold",
)
@click.option("--columns", metavar="NAMES", help="columns to show, in order, by commas; * as in 'model*,emc'")
@click.option("--sort", metavar="NAME", help="sort by a column, downwards with a minus: --sort=-emc")
@click.option("--format", "form", type=click.Choice(FORMATS), help="default: by FILE's ending, else table")
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="write there instead of to stdout")
@click.option("--list-columns", is_flag=True, help="say what each column is, and its unit")
def results(
    journal: str | None,
    probes: bool,
    conditions: Sequence[str],
    columns: str | None,
    sort: str | None,
    form: str | None,
    output: str | None,
    list_columns: bool,
) -> None:
    """List what JOURNAL holds: one row a measurement, the latest of each fingerprint.

    JOURNAL is .emc/journal.jsonl, or $EMC_JOURNAL, where it is not named.

    \b
    emc results --where 'model=mlp*' --where 'emc>100' --sort=-emc
    emc results --columns model.width,seed,emc --format csv -o widths.csv
    """
    if list_columns:
        _list_columns(probes)
        return
    asked = [Condition.parse(text) for text in conditions]
    form = form or _format_of(output)
    if form == "parquet" and output is None:
        raise SpecError("--format parquet needs a file, got none; write -o FILE")
    journal = journal or default_journal()
    check_outputs([output], [journal])
    from emc.frames import load

    what = "probes" if probes else "measurements"
    frame = load(journal, what)
    held = len(frame)
    frame = filtered(frame, asked)
    if frame.empty:
        click.echo(f"no {what} in {journal}{f' that meet --where, of {held:,}' if held else ''}", err=True)
    if sort is not None:
        name = sort.removeprefix("-")
        _check_columns([name], frame)
        frame = frame.sort_values(name, ascending=not sort.startswith("-"), kind="stable", na_position="last")
    if form == "table" and not probes:
        frame = frame.assign(emc=_with_bounds(frame))
    if columns is not None:
        frame = frame[_chosen(columns, frame)]
    elif form == "table":
        frame = frame.assign(**_names(frame))[_telling(frame, probes)]
    _WRITERS[form](frame, output)


def _format_of(output: str | None) -> str:
    """The format that a file's ending stands for; a table where it has none.

    Raises:
        SpecError: it has another.
    """
    suffix = Path(output or "").suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise SpecError(
            f'-o takes a file that ends in {", ".join(SUFFIXES)}, got "{output}"; change it or add --format'
        )
    return SUFFIXES.get(suffix, "table")


def _list_columns(probes: bool) -> None:
    from emc.frames import MEASUREMENT_COLUMNS, PROBE_COLUMNS, SETTINGS_NOTE

    known = PROBE_COLUMNS if probes else MEASUREMENT_COLUMNS
    print_columns(["column", "meaning"], [*known.items(), ("...", SETTINGS_NOTE)])


def _check_columns(names: Sequence[str], frame: pd.DataFrame) -> None:
    for name in names:
        if name not in frame.columns:
            remedy = did_you_mean(name, map(str, frame.columns))
            raise UnknownNameError(f'the journal has no column "{name}"; {remedy}')


def filtered(frame: pd.DataFrame, conditions: Sequence[Condition]) -> pd.DataFrame:
    """The rows that meet all conditions.

    Raises:
        UnknownNameError: a condition is on a column that is not there.
    """
    _check_columns([condition.column for condition in conditions], frame)
    for condition in conditions:
        frame = frame[[condition.holds(value) for value in frame[condition.column]]]
    return frame


def _chosen(columns: str, frame: pd.DataFrame) -> list[str]:
    """The columns that names and globs choose, in their order."""
    found: dict[str, None] = {}
    for name in filter(None, (part.strip() for part in columns.split(","))):
        matching = [column for column in frame.columns if fnmatchcase(column, name)]
        if not matching:
            _check_columns([name], frame)
        found.update(dict.fromkeys(matching))
    if not found:
        raise SpecError("--columns names at least one column, got none; --list-columns says which there are")
    return list(found)


def _telling(frame: pd.DataFrame, probes: bool) -> list[str]:
    """The columns that a reader wants first: the settings that differ between the rows, then the outcome."""
    from emc.frames import MEASUREMENT_COLUMNS, PROBE_COLUMNS
    from emc.specs import flat_settings

    known = PROBE_COLUMNS if probes else MEASUREMENT_COLUMNS
    shown = [name for name in (PROBE_TABLE if probes else MEASUREMENT_TABLE) if frame[name].notna().any()]
    homes, names = flat_settings(), _names(frame)

    def differs(column: str) -> bool:
        """Whether rows differ in a setting's name or value, or those of one name in an option."""
        setting = column.partition(".")[0]
        values = names[setting] if column in names else [_text(value) for value in frame[column]]
        among = names.get(setting, values) if column != setting else [""] * len(values)
        return len(set(zip(among, values, strict=True))) > len(set(among))

    settings = [name for name in frame.columns if name not in known and name.partition(".")[0] in homes]
    differing = [name for name in settings if differs(name)]
    return [*shown[:1], *differing, *shown[1:]] if not probes else [*differing, *shown]


def _names(frame: pd.DataFrame) -> dict[str, list[str]]:
    """The plug-ins' names in each setting whose options are columns by themselves."""
    settings = dict.fromkeys(str(name).partition(".")[0] for name in frame.columns if "." in str(name))
    return {name: [_plugin_name(_text(value)) for value in frame[name]] for name in settings if name in frame}


@cache
def _plugin_name(text: str) -> str:
    """A plug-in's name without its options, but with what a user's own file holds under it.

    >>> _plugin_name("mlp:width=16,depth=2"), _plugin_name("nets.py:make,width=16"), _plugin_name("")
    ('mlp', 'nets.py:make', '')
    """
    if not text:
        return ""
    spec = PluginSpec.parse(text)
    return str(PluginSpec(spec.name, tuple(option for option in spec.options if not option[0])))


def _with_bounds(frame: pd.DataFrame) -> list[str]:
    """The EMCs as a reader sees them, lower bounds marked as such."""
    pairs = zip(frame["emc"], frame["state"], strict=True)
    return [f"{'>= ' if state == 'censored' else ''}{_text(emc)}" for emc, state in pairs]


def _cells(frame: pd.DataFrame) -> list[list[Any]]:
    return [list(row) for row in frame.itertuples(index=False, name=None)]


def _write_text(text: str, output: str | None) -> None:
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)


def _write_table(frame: pd.DataFrame, output: str | None) -> None:
    from emc.texts import columns_text

    head, rows = list(frame.columns), [[_text(value) for value in row] for row in _cells(frame)]
    if output is not None:
        write_text(output, columns_text(head, rows) + "\n")
    elif rows:
        print_columns(head, rows)


def _write_csv(frame: pd.DataFrame, output: str | None) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_harmless(name) for name in frame.columns])
    writer.writerows([_harmless(value) for value in row] for row in _cells(frame))
    _write_text(text.getvalue(), output)


def _harmless(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins as one gets an apostrophe before it.

    >>> _harmless("=1+1"), _harmless("-3"), _harmless(-3)
    ("'=1+1", '-3', -3)
    """
    if _is_missing(value):
        return ""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) and _number(value) is None:
        return f"'{value}"
    return value


def _write_jsonl(frame: pd.DataFrame, output: str | None) -> None:
    names = list(frame.columns)
    lines = []
    for row in _cells(frame):
        values = [None if _is_missing(value) else value for value in row]
        lines.append(json.dumps(dict(zip(names, values, strict=True)), allow_nan=False, default=str))
    _write_text("".join(f"{line}\n" for line in lines), output)


def _write_parquet(frame: pd.DataFrame, output: str | None) -> None:
    assert output is not None  # checked before anything was read
    mixed = [name for name in frame.columns if frame[name].dtype == object and _is_mixed(frame[name])]
    for name in mixed:
        frame = frame.assign(**{name: frame[name].map(lambda value: None if _is_missing(value) else _text(value))})
    try:
        with replacing(output) as temporary:
            frame.to_parquet(temporary, index=False)
    except ImportError:
        raise OutputError("parquet needs pyarrow, which is not installed; pip install pyarrow") from None


def _is_mixed(column: pd.Series[Any]) -> bool:
    """Whether values of several types, or integers of more than 64 bits, are in a column: Parquet has none such."""
    values = [value for value in column if not _is_missing(value)]
    return len({type(value) for value in values}) > 1 or any(
        isinstance(value, int) and not -(2**63) <= value < 2**63 for value in values
    )


_WRITERS: dict[str, Callable[[Any, str | None], None]] = {
    "table": _write_table,
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
