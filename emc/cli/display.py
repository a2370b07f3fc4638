"""Printing a table on a terminal or anywhere else."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from emc import texts
from emc.errors import printable


def say(text: str, err: bool = False) -> None:
    """Print lines to stdout, or stderr, whatever names of a user's stand in them."""
    click.echo("\n".join(map(printable, text.split("\n"))), err=err)


def print_table(rows: Sequence[texts.Row], err: bool = False) -> None:
    """Print rows to stdout, or stderr: by rich on a terminal, else as plain aligned text."""
    rows = [(printable(name), printable(" ".join(text.split()))) for name, text in rows]
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        click.echo(texts.plain_table(rows), err=err)
        return
    from rich.console import Console

    Console(file=stream).print(texts.rich_table(rows))


def print_columns(head: Sequence[str], rows: Sequence[Sequence[str]], err: bool = False) -> None:
    """Print a table with a head to stdout, or stderr: by rich on a terminal, else as plain aligned text."""
    rows = [[printable(text) for text in row] for row in rows]
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        click.echo(texts.columns_text(head, rows), err=err)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=stream).print(table)


class _Sayer(logging.Handler):
    """Prints each message on stderr, once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message if it is new."""
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            say(text, err=True)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print each warning on stderr as one line, once, without the place in the code."""
    said: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = str(message)
        if text not in said:
            said.add(text)
            say(f"warning: {text}", err=True)

    shown = warnings.showwarning
    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown


@contextmanager
def saying(verbose: bool) -> Iterator[None]:
    """Say on stderr what is picked while it runs, if `verbose`."""
    logger, handler = logging.getLogger("emc"), _Sayer()
    level = logger.level
    if verbose:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
