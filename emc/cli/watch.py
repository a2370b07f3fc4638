"""`emc watch`: what the processes on a journal train now, and the last verdicts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from emc.cli.journal import journal_argument
from emc.cli.options import default_journal

if TYPE_CHECKING:
    from emc.journal import Running
    from emc.results import ProbeResult

#: Seconds between two looks.
EVERY_S = 1.0
#: Trainings of one process, and verdicts, that are shown at most.
MAX_ROWS, MAX_VERDICTS = 12, 8


@click.command("watch")
@journal_argument
@click.option("--once", is_flag=True, help="print what there is now and end, as always where stdout is no terminal")
def watch(path: str | None, once: bool) -> None:
    """Show what runs now on JOURNAL, by every live process on it, and the last verdicts; Ctrl-C ends it.

    Without a name the journal is .emc/journal.jsonl, or $EMC_JOURNAL. Nothing is changed.
    """
    path = path or default_journal()
    text = snapshot(path)
    if once or not sys.stdout.isatty():
        click.echo(text)
        return
    try:
        _follow(path)
    except KeyboardInterrupt:
        click.echo(snapshot(path))


def _follow(path: str) -> None:
    """Show it on a terminal until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(Text(snapshot(path)), refresh=True)
            time.sleep(EVERY_S)


def snapshot(path: str | os.PathLike[str]) -> str:
    """What runs now, and the last verdicts, as text.

    Raises:
        JournalError: the journal cannot be read.
    """
    from emc.journal import last_verdicts, running

    verdicts, processes, now = last_verdicts(path, MAX_VERDICTS), running(path), time.time()
    lines = [f"{path}: {_count(len(processes), 'process', 'processes')} at work"]
    for process in processes:
        lines += ["", *_process_lines(process, now)]
    lines += ["", "last verdicts" if verdicts else "no verdicts yet"]
    return "\n".join([*lines, *_verdict_lines(verdicts)])


def _process_lines(process: Running, now: float) -> Iterator[str]:
    status = process.status
    yield f"{_printable(process.host)} {process.pid}: {_printable(process.command)}"
    facts = [
        f"{_duration(now - process.started)} long",
        *(f"{_number(status[name])} {name}" for name in ("probes", "steps") if name in status),
        *_cells(status.get("cells")),
    ]
    silent = now - process.shown
    yield "  " + "; ".join([*facts, *([f"silent for {_duration(silent)}"] if silent > 10 * EVERY_S else [])])
    trainings = [each for each in _list(status.get("running")) if isinstance(each, Mapping)]
    if trainings:
        shown = [_training(each) for each in trainings[:MAX_ROWS]]
        yield from _columns(("base", "n", "replicate", "attempt", "accuracy", "steps", "of budget"), shown)
    if len(trainings) > MAX_ROWS:
        yield f"  ... and {len(trainings) - MAX_ROWS} more"


def _cells(cells: object) -> list[str]:
    """How many cells there are by state."""
    if not isinstance(cells, Mapping) or not cells:
        return []
    return ["cells: " + ", ".join(f"{_number(count)} {_printable(str(state))}" for state, count in cells.items())]


def _training(values: Mapping[str, Any]) -> tuple[str, ...]:
    n, correct, steps, budget = (values.get(name) for name in ("n", "correct", "steps", "budget"))
    places = (_number(values.get(name)) for name in ("n", "replicate", "attempt"))
    shares = _share(correct, n), _number(steps), _share(steps, budget, digits=0)
    return _printable(str(values.get("base", "")))[:8], *places, *shares


def _verdict_lines(verdicts: Sequence[ProbeResult]) -> Iterator[str]:
    if verdicts:
        titles = ("n", "replicate", "attempt", "verdict", "evidence", "accuracy", "steps", "seconds")
        yield from _columns(titles, [_verdict(each) for each in verdicts])


def _verdict(result: ProbeResult) -> tuple[str, ...]:
    evidence = "" if result.evidence is None else result.evidence.key
    where = f"{result.n:,}", str(result.replicate), str(result.attempt)
    accuracy = _share(result.correct, result.n) if result.trained else ""
    return *where, result.verdict.value, evidence, accuracy, f"{result.steps:,}", f"{result.seconds:,.1f}"


def _columns(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        yield "  " + "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))


# What a process says of itself comes from a file, so anything may stand there.


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else _printable(str("" if value is None else value))


def _share(part: object, whole: object, digits: int = 2) -> str:
    if not isinstance(part, int) or not isinstance(whole, int) or whole < 1:
        return ""
    return f"{part / whole:.{digits}%}"


def _printable(text: str) -> str:
    """Without what could drive a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
