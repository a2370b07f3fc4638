"""`emc curve`: parse, one library call, write, print."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from emc.cli.config import build_specs, named_files, read_config
from emc.cli.display import saying
from emc.cli.live import watching
from emc.cli.measure import Outputs, say_interruption
from emc.cli.options import SectionCommand, add_settings, default_journal, given_settings
from emc.errors import SpecError
from emc.search.fixed import DRAWS, REPLACED

#: More sizes than this are a slip of the pen.
MAX_SIZES = 1_000


@click.command("curve", cls=SectionCommand)
@partial(add_settings, without=REPLACED)
@click.option("--sizes", metavar="SIZES", help="first:last:step or n,n,...; default: found by a few rough searches")
@click.option("--draws", type=int, default=DRAWS, show_default=True, help="draws of samples and inits at each size")
@click.option(
    "--config", type=click.Path(), help="TOML file of settings; the command line beats it; a search is not used"
)
@click.option("--data-root", type=click.Path(), help="folder of datasets [default: $EMC_DATA, else the user's cache]")
@click.option("--json", "json_path", metavar="PATH", type=click.Path(), help="write the curve as JSON; - is stdout")
@click.option("--plot", "plot_path", metavar="PATH", type=click.Path(), help="draw the curve (png, pdf, svg)")
@click.option("-q", "--quiet", is_flag=True, help="no live view")
@click.option("-v", "--verbose", is_flag=True, help="also say what was picked: device, trainer, versions")
@click.pass_context
def curve(
    ctx: click.Context,
    /,
    sizes: str | None,
    draws: int,
    config: str | None,
    data_root: str | None,
    json_path: str | None,
    plot_path: str | None,
    quiet: bool,
    verbose: bool,
    **_: Any,
) -> int:
    """Measure P(fit) and mean training accuracy against n, with intervals, the fitted curve and n50.

    Every draw is tried at every size: they are the replicates of `emc measure`, which shares the journal. For a linear
    model on Gaussian inputs with random labels the curve is held against Cover's theorem.
    """
    outputs = Outputs(json_path, plot_path, quiet, verbose)
    wanted = None if sizes is None else read_sizes(sizes)
    configured = {name: value for name, value in read_config(config).items() if name not in REPLACED} if config else {}
    values = {"journal": default_journal()} | configured | given_settings(ctx)
    measurement, execution = build_specs(values)
    outputs.check([config, execution.journal, *named_files(values.items())])
    if data_root is not None:
        from emc.data.cache import set_data_root

        set_data_root(data_root)
    from emc.api import prepare
    from emc.curves import check_draws, run_curve

    check_draws(draws)
    prepared = prepare(measurement, execution=execution)
    with saying(verbose), watching(quiet) as observer:
        found = run_curve(prepared, wanted, draws, observer)
    outputs.write(found)
    return say_interruption(found.interrupted, execution)


def read_sizes(text: str) -> list[int]:
    """Sizes as a user writes them.

    Raises:
        SpecError: neither a list nor an ascending range.

    >>> read_sizes("30:36:3"), read_sizes("30,36,42")
    ([30, 33, 36], [30, 36, 42])
    """
    try:
        if ":" not in text:
            return [int(part) for part in text.split(",")]
        first, last, step = map(int, (text if text.count(":") > 1 else f"{text}:1").split(":"))
    except ValueError:
        raise SpecError(f'--sizes takes first:last:step or n,n,..., got "{text}"; write 30:60:3 or 30,36,42') from None
    if first > last or step < 1:
        raise SpecError(f'--sizes takes a range that ascends, got "{text}"; write the smaller size first, step above 0')
    if (last - first) // step >= MAX_SIZES:
        raise SpecError(f'--sizes takes at most {MAX_SIZES:,} sizes, got "{text}"; raise the step')
    return list(range(first, last + 1, step))
