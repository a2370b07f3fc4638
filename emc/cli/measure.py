"""`emc measure`: parse, one library call, write, print."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from emc import texts
from emc.cli.config import build_specs, named_files, read_config
from emc.cli.display import print_table, say, saying
from emc.cli.live import watching
from emc.cli.options import SectionCommand, add_settings, default_journal, given_settings
from emc.files import STDOUT, check_outputs
from emc.results import Status
from emc.specs import Execution

if TYPE_CHECKING:
    from emc.api import Prepared
    from emc.curve_record import Curve
    from emc.results import EmcResult


@dataclass(frozen=True)
class Outputs:
    """Where results go, and how much is said.

    Attributes:
        json_path: file of the result; `-` is stdout, which then holds nothing else.
        plot_path: file of the picture.
        quiet: whether to leave out the live view.
        verbose: whether to say what was picked.
    """

    json_path: str | None
    plot_path: str | None
    quiet: bool
    verbose: bool

    @property
    def table_to_stderr(self) -> bool:
        """Whether stdout is the JSON's alone."""
        return self.json_path == STDOUT

    def check(self, inputs: Iterable[str | None]) -> None:
        """Find out before the training whether everything can be written.

        Args:
            inputs: files of the measurement, which no output may replace.

        Raises:
            OutputError: a path that cannot be written, or a picture of an unknown kind.
        """
        if self.plot_path is not None:
            from emc.plotting import picture_format

            picture_format(self.plot_path)
        check_outputs([self.json_path, self.plot_path], inputs)

    def write(self, result: EmcResult | Curve) -> None:
        """Write the files, then print the table, also where a file could not be written."""
        try:
            self._write_files(result)
        finally:
            print_table(texts.table_rows(result, self.verbose), err=self.table_to_stderr)

    def _write_files(self, result: EmcResult | Curve) -> None:
        if self.json_path == STDOUT:
            click.echo(result.to_json())
        elif self.json_path is not None:
            texts.write_result(result, self.json_path)
        if self.plot_path is not None:
            from emc.plotting import plot_result

            plot_result(result, self.plot_path)


@click.command("measure", cls=SectionCommand)
@add_settings
@click.option("--config", type=click.Path(), help="TOML file of settings; the command line beats it")
@click.option("--data-root", type=click.Path(), help="folder of datasets [default: $EMC_DATA, else the user's cache]")
@click.option("--json", "json_path", metavar="PATH", type=click.Path(), help="write the result as JSON; - is stdout")
@click.option("--plot", "plot_path", metavar="PATH", type=click.Path(), help="draw accuracy against n (png, pdf, svg)")
@click.option("--dry-run", is_flag=True, help="print the resolved specification and a rough cost, train nothing")
@click.option("-q", "--quiet", is_flag=True, help="no live view")
@click.option("-v", "--verbose", is_flag=True, help="also say what was picked: device, trainer, versions")
@click.pass_context
def measure(
    ctx: click.Context,
    /,
    config: str | None,
    data_root: str | None,
    json_path: str | None,
    plot_path: str | None,
    dry_run: bool,
    quiet: bool,
    verbose: bool,
    **_: Any,
) -> int:
    """Measure how many samples a training procedure can really fit.

    A plug-in is written NAME or NAME:key=value,key=value; `emc list` names them all. The same command again continues
    an interrupted measurement from its journal.
    """
    outputs = Outputs(json_path, plot_path, quiet, verbose)
    values = {"journal": default_journal()} | (read_config(config) if config else {}) | given_settings(ctx)
    measurement, execution = build_specs(values)
    outputs.check([config, execution.journal, *named_files(values.items())])
    if data_root is not None:
        from emc.data.cache import set_data_root

        set_data_root(data_root)
    from emc.api import prepare

    prepared = prepare(measurement, execution=execution)
    if dry_run:
        _print_plan(prepared, as_json=json_path == STDOUT)
        return 0
    if verbose:
        _say_plan(prepared)
    with saying(verbose), watching(quiet) as observer:
        result = prepared.run(observer)
    outputs.write(result)
    interrupted = Status.INTERRUPTED in (result.status, *(replicate.status for replicate in result.replicates))
    untuned = result.tuning is not None and result.tuning["chosen"] is None
    return say_interruption(interrupted, execution, " while tuning" if untuned else "")


def _print_plan(prepared: Prepared, as_json: bool) -> None:
    plan = texts.plan_record(
        prepared.measurement,
        prepared.dataset.facts.to_dict(),
        {} if prepared.sizes is None else asdict(prepared.sizes),
        prepared.fingerprint,
        prepared.rough_cost(),
        prepared.matched,
    )
    say(json.dumps(plan, indent=1, allow_nan=False) if as_json else texts.plan_text(plan))


def _say_plan(prepared: Prepared) -> None:
    cost = prepared.rough_cost()
    size = prepared.parameters
    parameters = "parameters not known" if size is None else f"{size:,} parameters"
    text = f"{parameters}; up to {cost['probes']:,.0f} probes and {cost['steps']:,.0f} steps"
    if prepared.measurement.tune is not None:
        text += f", after tuning by {prepared.measurement.tune}"
    click.echo(text, err=True)


def say_interruption(interrupted: bool, execution: Execution, during: str = "") -> int:
    """The exit code, with a word on how to go on where Ctrl-C came; `during` says in the midst of what."""
    if not interrupted:
        return 0
    remedy = "name a --journal to be able to continue" if execution.journal is None else "the same command continues"
    click.echo(f"interrupted{during}: {remedy}", err=True)
    return 130
