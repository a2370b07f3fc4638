"""What a user sees while a measurement runs: a live view on a terminal, occasional lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from emc.results import Bracket, Progress, RunningProbe, brackets_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Observer = Callable[[Progress], None]

#: Seconds between plain lines, at least.
LINE_INTERVAL_S = 5.0
#: Running probes shown at once, at most.
MAX_ROWS = 12


@contextmanager
def watching(quiet: bool) -> Iterator[Observer | None]:
    """The observer to run a measurement with; what it drew on a terminal disappears at the end."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield PlainLines()
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        yield PlainLines()
        return
    view = LiveView()
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield lambda progress: live.update(view.render(progress), refresh=True)


class PlainLines:
    """Prints a line on stderr where a bracket has changed, at most one every few seconds."""

    def __init__(self) -> None:
        self._shown: tuple[Bracket, ...] = ()
        self._shown_at = -LINE_INTERVAL_S

    def __call__(self, progress: Progress) -> None:
        """Take note of the progress, and print it if there is something new."""
        if progress.brackets == self._shown or progress.seconds - self._shown_at < LINE_INTERVAL_S:
            return
        self._shown, self._shown_at = progress.brackets, progress.seconds
        click.echo(f"{count_text(progress)}; {progress.what} {brackets_text(progress.brackets)}", err=True)


class LiveView:
    """Draws progress; remembers the last one, since a probe's step rate is a difference."""

    def __init__(self) -> None:
        self._last: Progress | None = None
        self._rates: dict[tuple[int, int, int], float] = {}

    def render(self, progress: Progress) -> RenderableType:
        """Overall counts, every replicate's bracket, the running probes."""
        from rich.console import Group
        from rich.text import Text

        self._update_rates(progress)
        done = sum(status is not None for _, _, status in progress.brackets)
        head = Text(f"{count_text(progress)}; {done} of {len(progress.brackets)} searches done", style="bold")
        brackets = Text(f"{progress.what} " + brackets_text(progress.brackets))
        if not progress.running:
            return Group(head, brackets)
        more = len(progress.running) - MAX_ROWS
        tail = [Text(f"... and {more} more", style="dim")] if more > 0 else []
        return Group(head, brackets, self._running_table(progress.running[:MAX_ROWS]), *tail)

    def _running_table(self, running: Sequence[RunningProbe]) -> Table:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("n", "replicate", "attempt", "correct", "accuracy", "steps", "of budget", "steps/s"):
            table.add_column(title, justify="right")
        for probe in running:
            rate = self._rates.get(_probe_key(probe))
            table.add_row(
                f"{probe.n:,}",
                str(probe.replicate),
                str(probe.attempt),
                f"{probe.correct:,}",
                f"{probe.correct / probe.n:.2%}",
                f"{probe.steps:,}",
                f"{probe.steps / probe.budget:.0%}",
                "" if rate is None else f"{rate:,.0f}",
            )
        return table

    def _update_rates(self, progress: Progress) -> None:
        last, self._last = self._last, progress
        if last is None or progress.seconds <= last.seconds:
            return
        elapsed = progress.seconds - last.seconds
        before = {_probe_key(probe): probe.steps for probe in last.running}
        for probe in progress.running:
            gained = probe.steps - before.get(_probe_key(probe), probe.steps)
            if gained > 0:
                self._rates[_probe_key(probe)] = gained / elapsed


def count_text(progress: Progress) -> str:
    """How much has been done, and how fast."""
    rate = f" ({progress.steps / progress.seconds:,.0f}/s)" if progress.seconds > 0 else ""
    return f"{progress.seconds:,.0f} s: {progress.probes:,} probes, {progress.steps:,} steps{rate}"


def _probe_key(probe: RunningProbe) -> tuple[int, int, int]:
    return probe.n, probe.replicate, probe.attempt
