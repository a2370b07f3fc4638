"""`emc show`: the table of a result file again."""

from __future__ import annotations

import click

from emc import texts
from emc.cli.display import print_table, say


@click.command("show")
@click.argument("result", type=click.Path())
@click.option(
    "-v",
    "--probes",
    "verbose",
    is_flag=True,
    help="also list tuned candidates and failing probes",
)
def show(result: str, verbose: bool) -> None:
    """Print the table of RESULT, a file written by `emc measure` or `emc curve` with --json, as it was printed then."""
    loaded = texts.read_record(result)
    print_table(texts.table_rows(loaded))
    if verbose and loaded.tuning is not None:
        say("\n" + texts.tuning_table(loaded.tuning))
    if verbose:
        say("\n" + texts.probes_text(loaded))
