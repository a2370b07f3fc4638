"""`emc estimate`: parse, one library call, write, print."""

from __future__ import annotations

from typing import Any

import click

from emc.cli.config import build_specs, named_files, read_config
from emc.cli.display import print_table, saying
from emc.cli.live import watching
from emc.cli.options import SectionCommand, add_settings, default_journal, given_settings
from emc.files import STDOUT, check_outputs, write_text


@click.command("estimate", cls=SectionCommand)
@add_settings
@click.option("--config", type=click.Path(), help="TOML file of settings; the command line beats it")
@click.option("--data-root", type=click.Path(), help="folder of datasets [default: $EMC_DATA, else the user's cache]")
@click.option("--json", "json_path", metavar="PATH", type=click.Path(), help="write the estimate as JSON; - is stdout")
@click.option("-q", "--quiet", is_flag=True, help="no live view")
@click.option("-v", "--verbose", is_flag=True, help="also say what was picked: the trainer, and why")
@click.pass_context
def estimate(
    ctx: click.Context,
    /,
    config: str | None,
    data_root: str | None,
    json_path: str | None,
    quiet: bool,
    verbose: bool,
    **_: Any,
) -> int:
    """Extrapolate the EMC from fits well below it, at a part of a measurement's cost.

    Settings are those of `emc measure`. Each replicate grows n until a fit takes a tenth of its budget or a
    probe fails; the steps are extrapolated towards the budget. No number to publish: measure for that.
    """
    values = {"journal": default_journal()} | (read_config(config) if config else {}) | given_settings(ctx)
    measurement, execution = build_specs(values)
    check_outputs([json_path], [config, execution.journal, *named_files(values.items())])
    if data_root is not None:
        from emc.data.cache import set_data_root

        set_data_root(data_root)
    from emc.api import prepare
    from emc.extrapolation import run_estimate

    prepared = prepare(measurement, execution=execution)
    with saying(verbose), watching(quiet) as observer:
        found = run_estimate(prepared, observer)
    try:
        if json_path == STDOUT:
            click.echo(found.to_json())
        elif json_path is not None:
            write_text(json_path, found.to_json() + "\n")
    finally:
        print_table(found.rows(), err=json_path == STDOUT)
    return 130 if found.interrupted else 0
