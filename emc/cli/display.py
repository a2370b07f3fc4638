"""Printing a table on a terminal or anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from emc import report


def print_table(rows: Sequence[report.Row], err: bool = False) -> None:
    """Print rows to stdout, or stderr: by rich on a terminal, else as plain aligned text."""
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        click.echo(report.plain_table(rows), err=err)
        return
    from rich.console import Console

    Console(file=stream).print(report.rich_table(rows))
