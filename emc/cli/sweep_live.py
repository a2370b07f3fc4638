"""What a user sees while a sweep runs: a live table of cells on a terminal, occasional lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from emc.results import brackets_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from emc.sweep_progress import CellProgress, SweepProgress
    from emc.sweeping import Bench

    SweepObserver = Callable[[SweepProgress], None]

#: Seconds between plain lines, at least.
LINE_INTERVAL_S = 5.0
#: Lines of the screen that the table of cells does not get.
OTHER_LINES = 6
#: Characters that a setting is shown in, at most, where there is no room for more.
WIDEST = 24
#: Cells that must have ended before the time left is reckoned from them.
ENOUGH_ENDED = 3


@contextmanager
def watching_sweep(quiet: bool, varying: Sequence[str]) -> Iterator[SweepObserver | None]:
    """The observer to run a sweep with; what it drew on a terminal disappears at the end."""
    if quiet:
        yield None
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not sys.stderr.isatty() or console.is_dumb_terminal:
        yield SweepLines()
        return
    from rich.live import Live

    view = SweepView(varying, lambda: console.size.height)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        yield lambda progress: live.update(view.render(progress), refresh=True)


@contextmanager
def counting(count: int, quiet: bool) -> Iterator[Callable[[Bench], None]]:
    """What says on a terminal how many cells are prepared."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    shown = 0.0

    def told(bench: Bench) -> None:
        nonlocal shown
        number = len(bench.prepared) + len(bench.failures) + len(bench.same)
        if time.monotonic() - shown > 0.5:
            shown = time.monotonic()
            click.echo(f"\rpreparing, {number:,} of {count:,} cells", nl=False, err=True)

    yield told
    if shown:
        click.echo("\r\x1b[K", nl=False, err=True)


class SweepLines:
    """Prints a line on stderr where something has changed, at most one every few seconds."""

    def __init__(self) -> None:
        self._shown = ""
        self._next = time.monotonic() + LINE_INTERVAL_S / 5

    def __call__(self, progress: SweepProgress) -> None:
        """Take note of the progress, and print it if there is something new."""
        text = state_text(progress)
        if text != self._shown and time.monotonic() >= self._next:
            self._shown, self._next = text, time.monotonic() + LINE_INTERVAL_S
            click.echo(f"{text}{throughput_text(progress)}", err=True)


class SweepView:
    """Draws the cells: those in training first, then those that ended last, as many as fit.

    Args:
        varying: settings that tell cells apart.
        height: lines of the screen.
    """

    def __init__(self, varying: Sequence[str], height: Callable[[], int]) -> None:
        self._varying, self._height = varying, height

    def render(self, progress: SweepProgress) -> RenderableType:
        """Counts and throughput, then the table."""
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        head = Text(state_text(progress), style="bold")
        rate = Text(throughput_text(progress).removeprefix("; "))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        rows = [self._row(cell) for cell in progress.shown[: max(self._height() - OTHER_LINES, 1)]]
        for place, title in enumerate(("cell", *self._varying, "state", "brackets")):
            width = max(len(text) for text in (title, *(row[place] for row in rows)))
            least = None if title == "brackets" else min(width, WIDEST)  # what does not fit is cut off the brackets
            table.add_column(title, no_wrap=True, overflow="ellipsis", min_width=least)
        for row in rows:
            table.add_row(*row)
        return Group(head, rate, table) if progress.shown else Group(head, rate)

    def _row(self, progress: CellProgress) -> list[str]:
        settings = (progress.cell.settings.get(name) for name in self._varying)
        texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in settings]
        return [str(progress.cell.number), *texts, progress.state.value, brackets_text(progress.brackets)]


def state_text(progress: SweepProgress) -> str:
    """What is being done, and how many cells are in each state."""
    counts = ", ".join(f"{count:,} {state.value}" for state, count in progress.counts.items() if count)
    return f"{progress.what}: {counts}"


def throughput_text(progress: SweepProgress) -> str:
    """Probes, steps, their rates, and the time left."""
    engine = progress.engine
    if engine is None or engine.seconds <= 0:
        return ""
    rates = f"{engine.probes / engine.seconds:,.1f} probes/s, {engine.steps / engine.seconds:,.0f} steps/s"
    text = f"; {duration_text(engine.seconds)}, {engine.probes:,} probes, {engine.steps:,} steps ({rates})"
    if progress.left_s is None or progress.ended < ENOUGH_ENDED:
        return f"{text}; time left not known yet"
    return f"{text}; about {duration_text(progress.left_s)} left, by the {progress.ended:,} cells ended so far"


def duration_text(seconds: float) -> str:
    """Seconds as a user reads them.

    >>> duration_text(7.4), duration_text(200), duration_text(9000), duration_text(400_000)
    ('7 s', '3 min', '2 h 30 min', '4 d 15 h')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:,.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours < 48 else f"{hours // 24:,} d {hours % 24} h"
