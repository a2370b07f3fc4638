"""`emc report`: what a journal holds, as one page for a browser."""

from __future__ import annotations

from collections.abc import Sequence

import click

from emc.cli.display import say
from emc.cli.options import default_journal
from emc.cli.results import Condition, filtered
from emc.files import check_outputs


@click.command("report")
@click.argument("journal", required=False, type=click.Path())
@click.option("-o", "--output", metavar="FILE", type=click.Path(), required=True, help="the page, an HTML file")
@click.option("--title", metavar="TEXT", help="title of the page; default: the journal's name")
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="keep measurements such as 'emc>100' or 'model=mlp*' (as emc results does); curves are kept; all have to hold",
)
def report(journal: str | None, output: str, title: str | None, conditions: Sequence[str]) -> None:
    """Write what JOURNAL holds as one page that needs no network: measurements, searches, curves, comparisons, cost.

    JOURNAL is .emc/journal.jsonl, or $EMC_JOURNAL, where it is not named.

    \b
    emc report -o report.html
    emc report widths.jsonl -o widths.html --where 'model=mlp*' --title "Widths"
    """
    asked = [Condition.parse(text) for text in conditions]
    path = journal or default_journal()
    check_outputs([output], [path])
    from emc.pages.page import report as write

    write(path, output, title, _kept(path, asked) if asked else None)
    say(f"wrote {output}")


def _kept(journal: str, conditions: Sequence[Condition]) -> set[str]:
    """Fingerprints of the measurements that meet the conditions."""
    from emc.frames import load

    return set(filtered(load(journal), conditions)["fingerprint"])
