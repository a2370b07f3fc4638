"""The texts a user reads: the table of a result, its failing probes, the plan of a dry run; and the result file."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from emc.errors import OutputError
from emc.failures import largest_text, meanings, sections, trace_text
from emc.files import read_text, write_text
from emc.results import CURVE_KIND, ESTIMATE_KIND, EmcResult, ProbeResult, Verdict, matched_text, sizes_text
from emc.specs import Measurement

if TYPE_CHECKING:
    from rich.table import Table

    from emc.curve_record import Curve
    from emc.estimate_record import Estimate

#: Bytes of the largest result file.
LARGEST = 2**30

#: Columns of plain text, so that a log reads the same everywhere.
PLAIN_WIDTH = 100

Row = tuple[str, str]
Record: TypeAlias = "EmcResult | Curve | Estimate"


def write_result(result: Record, path: str | Path) -> None:
    """Write the result as JSON, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(path, result.to_json() + "\n")


def read_result(path: str | Path) -> EmcResult:
    """The EMC result that `write_result` wrote.

    Raises:
        OutputError: there is no such file, or it holds something else.
    """
    found = read_record(path)
    if not isinstance(found, EmcResult):
        kind = _KINDS[type(found).__name__]
        raise OutputError(f'a result file must hold an EMC result, got "{path}" ({kind}); {_REMEDY}')
    return found


def read_record(path: str | Path) -> Record:
    """The EMC result, the curve or the estimate that `write_result` wrote.

    Raises:
        OutputError: there is no such file, or it holds something else.
    """
    values = _read_json(path)
    if isinstance(values, dict) and "contrasts" in values:
        raise OutputError(f'a result file must hold an EMC result, got "{path}" (a comparison); run emc compare again')
    try:
        return _checked(_record_type(values).from_dict(values))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, IndexError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise OutputError(f'a result file must hold an EMC result, got "{path}" ({reason}); {_REMEDY}') from None


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(read_text(path, LARGEST))
    except FileNotFoundError:
        remedy = "write one with emc measure --json PATH"
        raise OutputError(f'a result file must exist, got "{path}"; {remedy}') from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f'a result file must be readable, got "{path}" ({reason}); name a file') from None
    except (ValueError, RecursionError) as error:  # broken JSON, or bytes that are no text
        raise OutputError(f'a result file must be JSON, got "{path}" ({error}); {_REMEDY}') from None


#: What a record that is no EMC result is to a reader.
_KINDS = {"Curve": "a curve", "Estimate": "an estimate, which cannot stand for a measurement"}


def _record_type(values: Any) -> type[EmcResult] | type[Curve] | type[Estimate]:
    """What a file holds: each kind but the EMC result names itself."""
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind == CURVE_KIND:
        from emc.curve_record import Curve

        return Curve
    if kind == ESTIMATE_KIND:
        from emc.estimate_record import Estimate

        return Estimate
    return EmcResult


def _checked(result: Record) -> Record:
    """The result, once all that can be shown of it has been made; `from_dict` checks no types."""
    plain_table(result.rows()), probes_text(result), result.to_json()
    if result.tuning is not None:
        tuning_table(result.tuning)
    return result


_REMEDY = "name a file written by emc measure --json"


def table_rows(result: Record, verbose: bool = False) -> list[Row]:
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


def probes_text(result: Record) -> str:
    """Every probe that did not fit, with its evidence and the numbers behind it; before them, how flat each ended."""
    flat = [probe for probe in result.probes if "flatness" in probe.detail]
    return "\n\n".join(([flatness_table(flat)] if flat else []) + [_failing_text(result)])


def flatness_table(probes: Sequence[ProbeResult]) -> str:
    """The Hessian where each of some trainings ended."""
    head = ("n", "replicate", "attempt", "verdict", "loss", "largest eigenvalue", "trace")
    rows = []
    for probe in probes:
        flat = probe.detail["flatness"]
        name = (str(probe.n), str(probe.replicate), str(probe.attempt), probe.verdict.value)
        rows.append((*name, f"{flat['loss']:.4g}", largest_text(flat), trace_text(flat)))
    return f"flatness: the Hessian of the mean training loss where each training ended\n{columns_text(head, rows)}"


def _failing_text(result: Record) -> str:
    failing = [probe for probe in result.probes if probe.verdict is not Verdict.FITTED]
    if not failing:
        return "no probe failed"
    head = f"{len(failing)} of {len(result.probes)} probes did not fit"
    meaning = ["What the numbers mean", *_section_texts(meanings(failing))]
    return "\n\n".join([head, *map(_probe_text, failing), "\n".join(meaning)])


def tuning_table(tuning: Mapping[str, Any]) -> str:
    """Every candidate of a tuning, rung by rung, the best first."""
    counts = ("steps", "sample-steps", "seconds")
    head = ("rung", "budget", "lr", "batch", "fitted", "diverged", "score", "right", *counts)
    rows = [
        (
            str(trial["rung"] + 1),
            f"{trial['min_steps']:,} steps or {trial['max_epochs']:,} epochs",
            f"{trial['candidate']['lr']:.4g}",
            str(trial["candidate"]["batch_size"]),
            " ".join(map(str, trial["fitted"])),
            str(trial["diverged"]),
            f"{trial['score']:.4g}",
            f"{trial['right']:.2%}",
            f"{trial['cost']['steps']:,.0f}",
            f"{trial['cost']['sample_steps']:,.0f}",
            f"{trial['cost']['seconds']:,.1f}",
        )
        for trial in tuning["trials"]
    ]
    return f"tuned by {tuning['tuner']} on seed {tuning['seed']}\n{columns_text(head, rows)}"


def columns_text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned text under a head.

    >>> print(columns_text(["cell", "EMC"], [["1", "558"], ["2", ">= 1,797"]]))
    cell  EMC
    1     558
    2     >= 1,797
    """
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _probe_text(probe: ProbeResult) -> str:
    head = f"n {probe.n}, replicate {probe.replicate}, attempt {probe.attempt}: {probe.verdict.value}"
    rows = [
        ("correct", f"{probe.correct} of {probe.n} correct ({probe.correct / probe.n:.4%}) after {probe.steps:,} steps")
    ]
    if probe.evidence is not None:
        rows.append(("evidence", f"{probe.evidence.key}: {probe.evidence.value}"))
    return "\n".join([head, _indented(rows, 2), *_section_texts(sections(probe))])


def _section_texts(parts: Mapping[str, Sequence[Row]]) -> list[str]:
    return [f"  {heading}\n{_indented(rows, 4)}" for heading, rows in parts.items()]


def _indented(rows: Sequence[Row], columns: int) -> str:
    return textwrap.indent(plain_table(rows, PLAIN_WIDTH - columns), " " * columns)


def plan_record(
    measurement: Measurement,
    dataset: Mapping[str, Any],
    sizes: Mapping[str, int | None],
    fingerprint: str,
    rough_cost: Mapping[str, float],
    matched: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a dry run knows, as plain JSON values.

    Args:
        measurement: with every plug-in resolved.
        dataset: facts of what was loaded.
        sizes: of the model: trained, stored, bits (or None); empty where they are not known.
        fingerprint: identity of the measurement.
        rough_cost: upper estimate of probes, steps, sample_steps, flops.
        matched: how the model was found by its size, where it was.
    """
    return {
        "measurement": measurement.to_dict(),
        "dataset": dict(dataset),
        "parameters": sizes.get("trained"),
        "stored": sizes.get("stored"),
        "bits": sizes.get("bits"),
        "matched": None if matched is None else dict(matched),
        "fingerprint": fingerprint,
        "rough_cost": dict(rough_cost),
    }


def plan_text(plan: Mapping[str, Any]) -> str:
    """A dry run's plan as a TOML file that `emc measure --config` reads, what is no setting as comments."""
    cost = ", ".join(f"{value:.3g} {name.replace('_', ' ')}" for name, value in plan["rough_cost"].items())
    facts = [
        ("dataset", ", ".join(_fact_text(name, value) for name, value in plan["dataset"].items() if value != [])),
        ("parameters", sizes_text(plan["parameters"], plan["stored"], plan["bits"])),
        ("rough cost", f"{cost}, should every training run to its budget"),
        ("fingerprint", plan["fingerprint"]),
    ]
    if plan.get("matched") is not None:
        facts.insert(2, ("matched", matched_text(plan["matched"])))
    tuner = plan["measurement"].get("tune")
    if tuner is not None:
        facts.insert(0, ("tuning", f"comes first, by {tuner}; its cost and choice are in none of the lines below"))
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
