"""The texts a user reads: the table of a result, its failing probes, the plan of a dry run; and the result file."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emc.errors import OutputError
from emc.files import write_text
from emc.results import EmcResult, ProbeResult, Verdict
from emc.specs import Measurement

if TYPE_CHECKING:
    from rich.table import Table

#: Columns of plain text, so that a log reads the same everywhere.
PLAIN_WIDTH = 100

Row = tuple[str, str]


def write_result(result: EmcResult, path: str | Path) -> None:
    """Write the result as JSON, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(path, result.to_json() + "\n")


def read_result(path: str | Path) -> EmcResult:
    """The result that `write_result` wrote.

    Raises:
        OutputError: there is no such file, or it holds something else.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "write one with emc measure --json PATH"
        raise OutputError(f'a result file must exist, got "{path}"; {remedy}') from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f'a result file must be readable, got "{path}" ({reason}); name a file') from None
    except (ValueError, RecursionError) as error:  # broken JSON, or bytes that are no text
        raise OutputError(f'a result file must be JSON, got "{path}" ({error}); {_REMEDY}') from None
    if isinstance(values, dict) and values.get("kind") == "estimate":
        got = f'got the estimate "{path}" of EMC {values.get("emc")}'
        raise OutputError(f"a result file must hold a measurement, {got}; an estimate cannot stand for one, {_REMEDY}")
    try:
        return _checked(EmcResult.from_dict(values))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, IndexError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise OutputError(f'a result file must hold an EMC result, got "{path}" ({reason}); {_REMEDY}') from None


def _checked(result: EmcResult) -> EmcResult:
    """The result, once all that can be shown of it has been made; `from_dict` checks no types."""
    result.rows(), probes_text(result), result.to_json()
    return result


_REMEDY = "name a file written by emc measure --json"


def table_rows(result: EmcResult, verbose: bool = False) -> list[Row]:
    """The rows of the final table; `verbose` adds what the run picked."""
    rows = result.rows()
    if verbose:
        rows.append(("run with", ", ".join(f"{name} {value}" for name, value in result.versions.items())))
    return rows


def plain_table(rows: Sequence[Row], width: int = PLAIN_WIDTH) -> str:
    """Aligned text in two columns; long texts wrap in their column.

    >>> print(plain_table([("EMC", "558"), ("status", "both ends are verified")], width=24))
    EMC     558
    status  both ends are
            verified
    """
    indent = max(len(name) for name, _ in rows) + 2
    lines = []
    for name, text in rows:
        wrapped = textwrap.wrap(text, max(width - indent, 16), break_on_hyphens=False) or [""]
        lines += [f"{'' if number else name:<{indent}}{part}".rstrip() for number, part in enumerate(wrapped)]
    return "\n".join(lines)


def rich_table(rows: Sequence[Row]) -> Table:
    """The same table for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=box.HORIZONTALS, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for number, (name, text) in enumerate(rows):
        table.add_row(name, Text(text, style="bold green" if number == 0 else ""))
    return table


def probes_text(result: EmcResult) -> str:
    """Every probe that did not fit, with its evidence and the numbers behind it."""
    failing = [probe for probe in result.probes if probe.verdict is not Verdict.FITTED]
    if not failing:
        return "no probe failed"
    blocks = [f"{len(failing)} of {len(result.probes)} probes did not fit"]
    return "\n\n".join(blocks + [_probe_text(probe) for probe in failing])


def _probe_text(probe: ProbeResult) -> str:
    head = f"n {probe.n}, replicate {probe.replicate}, attempt {probe.attempt}: {probe.verdict.value}"
    rows = [("", f"{probe.correct} of {probe.n} correct ({probe.correct / probe.n:.4%}) after {probe.steps:,} steps")]
    if probe.evidence is not None:
        rows.append(("evidence", f"{probe.evidence.key}: {probe.evidence.value}"))
    for name, value in (("loss", probe.loss), ("gradient norm", probe.gradient_norm)):
        if value is not None:
            rows.append((name, f"{value:.4g}"))
    rows += [(name, _number_text(value)) for name, value in probe.detail.items()]
    rows[0] = ("correct", rows[0][1])
    return head + "\n" + textwrap.indent(plain_table(rows, PLAIN_WIDTH - 2), "  ")


def _number_text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def plan_record(
    measurement: Measurement,
    dataset: Mapping[str, Any],
    parameters: int,
    fingerprint: str,
    rough_cost: Mapping[str, float],
) -> dict[str, Any]:
    """What a dry run knows, as plain JSON values.

    Args:
        measurement: with every plug-in resolved.
        dataset: facts of what was loaded.
        parameters: trainable parameters.
        fingerprint: identity of the measurement.
        rough_cost: upper estimate of probes, steps, sample_steps, flops.
    """
    return {
        "measurement": measurement.to_dict(),
        "dataset": dict(dataset),
        "parameters": parameters,
        "fingerprint": fingerprint,
        "rough_cost": dict(rough_cost),
    }


def plan_text(plan: Mapping[str, Any]) -> str:
    """A dry run's plan as a TOML file that `emc measure --config` reads, what is no setting as comments."""
    cost = ", ".join(f"{value:.3g} {name.replace('_', ' ')}" for name, value in plan["rough_cost"].items())
    facts = [
        ("dataset", ", ".join(_fact_text(name, value) for name, value in plan["dataset"].items() if value != [])),
        ("parameters", f"{plan['parameters']:,}"),
        ("rough cost", f"{cost}, should every training run to its budget"),
        ("fingerprint", plan["fingerprint"]),
    ]
    comments = textwrap.indent(plain_table(facts, PLAIN_WIDTH - 2), "# ")
    return "\n\n".join([comments, *_toml_tables(plan["measurement"])])


def _fact_text(name: str, value: Any) -> str:
    text = str(value)
    if isinstance(value, list | tuple):
        text = "x".join(map(str, value)) if name == "shape" else " | ".join(map(str, value))
    return f"{name.replace('_', ' ')} {textwrap.shorten(text, 60, placeholder=' ...')}"


def _toml_tables(measurement: Mapping[str, Any]) -> list[str]:
    flat = {name: value for name, value in measurement.items() if not isinstance(value, Mapping)}
    parts = {name: value for name, value in measurement.items() if isinstance(value, Mapping)} | {"measurement": flat}
    return [
        "\n".join([f"[{part}]"] + [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None])
        for part, values in parts.items()
    ]


def _toml(value: Any) -> str:
    # JSON's texts, numbers and booleans are TOML's too; TOML has no null, so unset settings are left out.
    return json.dumps(value, ensure_ascii=False)
