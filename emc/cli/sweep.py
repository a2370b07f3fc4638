"""`emc sweep`: read the file, plan or run its cells, print."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from emc.cli.config import named_files
from emc.cli.display import print_columns, print_table, saying
from emc.cli.options import SectionCommand, add_settings, default_journal, given_settings, settings
from emc.cli.sweep_live import counting, duration_text, watching_sweep
from emc.errors import sentence
from emc.files import STDOUT, check_outputs, write_text
from emc.specs import Execution

if TYPE_CHECKING:
    from emc.planning import CellPlan
    from emc.sweeping import SweepResult
    from emc.sweeps import Cell, Sweep

#: Exit codes where some cells failed, and where Ctrl-C came.
SOME_FAILED, INTERRUPTED = 1, 130
#: Rows of a printed table of cells, at most; the rest is said to be there.
MAX_TABLE = 200


def _execution_only(command: Callable[..., Any]) -> Callable[..., Any]:
    return add_settings(command, without=[name for name, item in settings().items() if item.part != Execution.KIND])


@click.command("sweep", cls=SectionCommand)
@click.argument("file", type=click.Path())
@_execution_only
@click.option("--cells", "numbers", metavar="NUMBERS", help="run only these, such as 3,7-9; --dry-run numbers them")
@click.option("--data-root", type=click.Path(), help="folder of datasets [default: $EMC_DATA, else the user's cache]")
@click.option("--json", "json_path", metavar="PATH", type=click.Path(), help="write a summary as JSON; - is stdout")
@click.option("--dry-run", is_flag=True, help="print the cells and the work left, train nothing")
@click.option("-q", "--quiet", is_flag=True, help="no live view")
@click.option("-v", "--verbose", is_flag=True, help="also say what was picked: device, trainer")
@click.pass_context
def sweep(
    ctx: click.Context,
    /,
    file: str,
    numbers: str | None,
    data_root: str | None,
    json_path: str | None,
    dry_run: bool,
    quiet: bool,
    verbose: bool,
    **_: Any,
) -> int:
    """Measure every cell of FILE, a grid of settings in TOML.

    \b
    name = "widths"
    [base]                           # settings of every cell
    data = "digits"
    labels = "random"
    [grid]                           # every combination
    "model.width" = {log2 = [4, 64]} # 4, 8, 16, 32, 64: an option of a plug-in as an axis of its own
    seed = {range = [0, 4]}          # 0, 1, 2, 3, 4: both ends included; a third number is the step
    optimizer = ["adam", "sgd:lr=0.1"]
    [[zip]]                          # axes that move together
    batch_size = [32, 128]
    min_steps = [4000, 1000]
    [[exclude]]                      # cells left out: all of it equal; a list means any of
    "model.width" = [32, 64]
    optimizer = "sgd:lr=0.1"
    [execution]                      # where and how, as the options below
    device = "cpu"

    Further ranges are {log10 = [1e-4, 1e-1]} (times ten) and {geometric = [16, 1024, 7]} (seven, both ends included).

    All cells train together; each is journaled as it ends, and the same command continues. Exit code 0 says that all
    are done, 1 that some failed, 130 that the sweep was interrupted.
    """
    from emc.sweeps import read_numbers, read_sweep

    found = read_sweep(file)
    chosen = None if numbers is None else read_numbers(numbers, len(found))
    cells = [found[number - 1] for number in chosen] if chosen is not None else list(found)
    execution = Execution.from_dict({"journal": default_journal(), **found.execution, **given_settings(ctx)})
    check_outputs([json_path], [file, execution.journal, *named_files(found.values())])
    if data_root is not None:
        from emc.data.cache import set_data_root

        set_data_root(data_root)
    if dry_run:
        _print_plan(found, cells, execution, json_path, quiet)
        return 0
    from emc.sweeping import run_cells

    words = ctx.find_root().obj or []
    try:
        with saying(verbose), watching_sweep(quiet, found.varying) as observer:
            result = run_cells(found, cells, execution, observer)
    except KeyboardInterrupt:  # while it prepares, or a second one
        return _say_interrupted(execution, words)
    _write(result.to_json(), json_path)
    _print_result(result, err=json_path == STDOUT)
    return _exit_code(result, execution, words)


def _write(text: str, json_path: str | None) -> None:
    if json_path == STDOUT:
        click.echo(text)
    elif json_path is not None:
        write_text(json_path, text + "\n")


def _print_result(result: SweepResult, err: bool) -> None:
    head, rows = result.table()
    _print_rows(head, rows, err)
    click.echo("", err=err)
    print_table(result.rows(), err=err)


def _print_rows(head: Sequence[str], rows: Sequence[Sequence[str]], err: bool) -> None:
    print_columns(head, rows[:MAX_TABLE], err=err)
    if len(rows) > MAX_TABLE:
        click.echo(f"... and {len(rows) - MAX_TABLE:,} more cells; --json PATH writes all", err=err)


def _say_interrupted(execution: Execution, words: Sequence[str]) -> int:
    """Say how to go on; the exit code."""
    kept = [word for word in words if word != "--fresh"]
    go_on = f"continue with: {shlex.join(['emc', *kept])}"
    click.echo(f"interrupted; {go_on if execution.journal else 'name a --journal to be able to continue'}", err=True)
    return INTERRUPTED


def _exit_code(result: SweepResult, execution: Execution, words: Sequence[str]) -> int:
    """What the sweep came to, with a word on what to do about it."""
    if result.interrupted:
        return _say_interrupted(execution, words)
    if not result.failures:
        return 0
    number, error = next(iter(result.failures.items()))
    cells = ",".join(map(str, list(result.failures)[:20])) + (",..." if len(result.failures) > 20 else "")
    what = f"{len(result.failures):,} of {len(result.cells):,} cells failed ({cells})"
    click.echo(f"error: {what}; the first, cell {number}: {sentence(str(error))}", err=True)
    return SOME_FAILED


def _print_plan(sweep: Sweep, cells: Sequence[Cell], execution: Execution, json_path: str | None, quiet: bool) -> None:
    from emc.planning import plan_cells, totals

    with counting(len(cells), quiet) as told:
        plans = plan_cells(cells, execution, told)
    total = totals(plans)
    if json_path is not None:
        records = [_plan_record(plan) for plan in plans]
        _write(json.dumps({"name": sweep.name, "cells": records, "left": total}, indent=1), json_path)
    if json_path == STDOUT:
        return
    head = [
        "cell",
        *sweep.varying,
        "parameters",
        "journal",
        "probes there",
        "probes left",
        "steps left",
        "time left",
        "",
    ]
    _print_rows(head, [_plan_row(plan, sweep.varying) for plan in plans], err=False)
    states = ", ".join(f"{count:,} {state}" for state, count in total["states"].items())
    mark = "at most " if total["bound"] else "about "
    work = f"{mark}{total['probes']:,} probes and {total['steps']:,} steps"
    time = "time not known" if total["seconds"] is None else f"{mark}{duration_text(total['seconds'])} of training"
    where = f"journal {execution.journal}" if execution.journal else "no journal"
    left = f"{work}; {time}, one probe at a time" if total["probes"] else "nothing"
    click.echo(f"\n{len(plans):,} cells: {states} ({where})\nleft: {left}")


def _plan_row(plan: CellPlan, varying: Sequence[str]) -> list[str]:
    from emc.results import parameters_text
    from emc.sweeping import setting_text

    start = [str(plan.cell.number), *(setting_text(plan.cell.settings.get(name)) for name in varying)]
    if plan.state in ("failed", "same"):
        return [*start, "", plan.state, "", "", "", "", plan.note]
    mark = "<= " if plan.bound else ""
    left = [f"{mark}{plan.left_probes:,}", f"{mark}{plan.left_steps:,}"] if plan.left_probes else ["0", "0"]
    seconds = "not known" if plan.left_s is None else mark + duration_text(plan.left_s) if plan.left_probes else ""
    return [*start, parameters_text(plan.parameters), plan.state, f"{plan.probes:,}", *left, seconds, plan.note]


def _plan_record(plan: CellPlan) -> dict[str, Any]:
    numbers = {name: getattr(plan, name) for name in plan.__dataclass_fields__ if name != "cell"}
    return {"cell": plan.cell.number, "settings": dict(plan.cell.settings), **numbers}
