"""`emc journal`: check a journal, or write it anew without what is superseded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from emc.cli.display import print_table
from emc.cli.options import default_journal
from emc.errors import UnknownNameError, did_you_mean
from emc.files import STDOUT, check_outputs, write_text

if TYPE_CHECKING:
    from emc.journal import Check
    from emc.texts import Row

#: Exit code of a check that found something wrong.
NOT_SOUND = 1

#: The journal that the other commands use, where none is named.
journal_argument = click.argument("path", required=False, type=click.Path(), metavar="[JOURNAL]")


class _Group(click.Group):
    """Says which command may have been meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing and not args[0].startswith("-") and args[0] not in self.commands:
            raise UnknownNameError(f'emc journal has no command "{args[0]}"; {did_you_mean(args[0], self.commands)}')
        return super().resolve_command(ctx, args)


@click.group("journal", cls=_Group, invoke_without_command=True)
@click.pass_context
def journal(ctx: click.Context) -> None:
    """Look after a journal, the file that keeps every verdict.

    It is .emc/journal.jsonl, or $EMC_JOURNAL, where none is named.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@journal.command("check", short_help="Say what it holds and what is wrong with it.")
@journal_argument
@click.option("--json", "json_path", metavar="PATH", type=click.Path(), help="write all counts as JSON; - is stdout")
def check_command(path: str | None, json_path: str | None) -> int:
    """Read the whole of JOURNAL and say what it holds and what is wrong with it.

    Nothing is changed. The exit code is 1 where lines are damaged or of an unknown kind, or where verdicts of one probe
    contradict each other. A torn end, which a killed process leaves, is no damage: nobody was told of it.
    """
    path = path or default_journal()
    check_outputs([json_path], [path])
    from emc.journal import check

    found = check(path)
    text = json.dumps(found.to_dict(), indent=1)
    if json_path == STDOUT:
        click.echo(text)
    elif json_path is not None:
        write_text(json_path, text + "\n")
    print_table(_rows(path, found), err=json_path == STDOUT)
    return 0 if found.sound else NOT_SOUND


@journal.command("compact", short_help="Write it anew without what is superseded.")
@journal_argument
def compact_command(path: str | None) -> None:
    """Write JOURNAL anew with the last line of each probe, the latest result of each measurement, and nothing damaged.

    Older schemas are written as the present one. Measurements may run on the same journal meanwhile.
    """
    from emc.journal import compact

    path = path or default_journal()
    done = compact(path)
    click.echo(
        f"{path}: {done.lines:,} lines ({done.bytes:,} bytes) became {done.kept:,} ({done.bytes_kept:,} bytes); "
        f"{done.superseded:,} superseded, {done.damaged:,} damaged, {done.migrated:,} of an older schema"
    )


def _rows(path: str, found: Check) -> list[Row]:
    verdicts = ", ".join(f"{count:,} {name}" for name, count in found.verdicts.items()) or "none"
    others = ", ".join(f"{count:,} {name}" for name, count in found.kinds.items() if name != "probe") or "none"
    torn = f"{found.torn:,} bytes that nobody was told of; the next process that writes cuts them off"
    remedy = (
        "emc journal compact keeps the last whole line of each probe"
        if found.damaged or found.contradictions
        else "update emc to read what it does not know"
    )
    differ = "; ".join(f"{each.key} on {_lines(each.lines)}" for each in found.contradictory)
    return [
        ("journal", path),
        ("size", f"{found.lines:,} lines, {found.bytes:,} bytes"),
        ("verdicts", verdicts),
        ("other records", others),
        ("duplicates", f"{found.duplicates:,}"),
        ("torn end", torn if found.torn else "none"),
        ("damaged", _listed(found.damaged, found.damaged_lines)),
        ("unknown kinds", _listed(found.unknown, found.unknown_lines)),
        ("contradictions", f"{found.contradictions:,}: {differ}" if found.contradictions else "none"),
        ("sound", "yes" if found.sound else f"no; {remedy}"),
    ]


def _listed(count: int, lines: tuple[int, ...]) -> str:
    return f"{count:,}: {_lines(lines)}{', ...' if count > len(lines) else ''}" if count else "none"


def _lines(numbers: tuple[int, ...]) -> str:
    return f"line{'s' if len(numbers) > 1 else ''} " + ", ".join(map(str, numbers))
