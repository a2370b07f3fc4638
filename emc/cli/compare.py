"""`emc compare`: read result files, compare the first with each other one, print."""

from __future__ import annotations

import click

from emc.cli.display import print_table
from emc.files import STDOUT, check_outputs, write_text
from emc.specs import Measurement


@click.command("compare")
@click.argument("results", nargs=-1, required=True, type=click.Path(), metavar="A.json B.json ...")
@click.option(
    "--confidence",
    type=float,
    default=Measurement.confidence,
    show_default=True,
    help="of the intervals; a p-value of at most one minus this shows a difference",
)
@click.option("--json", "json_path", metavar="PATH", type=click.Path(), help="write all numbers as JSON; - is stdout")
def compare(results: tuple[str, ...], confidence: float, json_path: str | None) -> None:
    """Compare the EMC of A with that of each other result, all files written by `emc measure --json`.

    Replicates are paired where dataset, seed and number agree: they had the same samples. Each comparison gives the
    ratio of the EMCs with an interval, a permutation test's p-value (by Holm's correction where there are several) and
    how often A is larger. Censored replicates are tried at both extremes; where that changes what is shown, the
    comparison is undecided.
    """
    check_outputs([json_path], results)
    from emc.comparison import compare_files

    comparison = compare_files(results, confidence)
    if json_path == STDOUT:
        click.echo(comparison.to_json())
    elif json_path is not None:
        write_text(json_path, comparison.to_json() + "\n")
    print_table(comparison.rows(), err=json_path == STDOUT)
