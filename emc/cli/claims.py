"""`emc claims`: put the paper's claims to a journal, print."""

from __future__ import annotations

import click

from emc.cli.display import print_columns, print_table, say
from emc.cli.options import default_journal
from emc.errors import SpecError
from emc.files import STDOUT, check_outputs, write_text
from emc.specs import Measurement


@click.command("claims")
@click.argument("journal", required=False, type=click.Path())
@click.option("--claim", "name", metavar="NAME", help="one claim, with all its strata and cells")
@click.option(
    "--confidence",
    type=float,
    default=Measurement.confidence,
    show_default=True,
    help="of the intervals; a corrected p-value of at most one minus this decides",
)
@click.option("--format", "form", type=click.Choice(("table", "markdown")), default="table", show_default=True)
@click.option("--json", "json_path", metavar="PATH", type=click.Path(), help="write all numbers as JSON; - is stdout")
def claims(journal: str | None, name: str | None, confidence: float, form: str, json_path: str | None) -> None:
    """Test the claims of the paper on the measurements in JOURNAL: supported, contradicted or undecided.

    JOURNAL is .emc/journal.jsonl, or $EMC_JOURNAL, where it is not named; any journal will do. Each claim is tested on
    the results that are equal in all but what it is about, paired by replicate where they share their samples, and all
    p-values are corrected by Holm's method. Censored replicates are tried at both extremes.

    \b
    emc claims figures/cpu/journal.jsonl.gz
    emc claims --claim random_below_semantic
    """
    journal = journal or default_journal()
    check_outputs([json_path], [journal])
    if name is not None and form == "markdown":
        raise SpecError(f'--format markdown prints all claims, got --claim "{name}" with it; leave out one of the two')
    from emc import claiming
    from emc.hypotheses import CLAIMS
    from emc.recorded import require_finished

    if name is not None:
        CLAIMS.get(name)
    require_finished(journal, "a claim is tested on")
    found = claiming.claims(journal, confidence=confidence)
    one = None if name is None else found[name]
    if json_path is not None:
        text = (found if one is None else one).to_json()
        if json_path == STDOUT:
            click.echo(text)
        else:
            write_text(json_path, text + "\n")
    err = json_path == STDOUT
    if one is not None:
        print_table(claiming.detail_rows(one), err=err)
    elif form == "markdown":
        say(found.to_markdown().rstrip("\n"), err=err)
    else:
        print_columns(claiming.HEAD, [each.row() for each in found.claims], err=err)
        click.echo(err=err)
        print_columns(claiming.QUESTION_HEAD, [each.row() for each in found.questions], err=err)
        click.echo(err=err)
        print_table(found.rows(), err=err)
