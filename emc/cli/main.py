"""The command `emc`, and how every error ends: one sentence on stderr and an exit code."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from emc.cli.display import plain_warnings
from emc.errors import EmcError, UnknownNameError, did_you_mean, sentence

#: Exit codes: what the user can mend, what only a developer can, and ctrl-C.
USER_ERROR, BUG, INTERRUPTED = 2, 1, 130


#: Where each command lives, and its line in `emc --help`; a command's module is imported when it is called.
COMMANDS = {
    "measure": ("emc.cli.measure", "measure", "Measure the EMC of a training procedure."),
    "curve": ("emc.cli.curve", "curve", "Measure P(fit) and training accuracy against n."),
    "estimate": ("emc.cli.estimate", "estimate", "Extrapolate the EMC from fits well below it."),
    "sweep": ("emc.cli.sweep", "sweep", "Measure every cell of a grid of settings."),
    "results": ("emc.cli.results", "results", "List and filter what a journal holds."),
    "report": ("emc.cli.report", "report", "Write what a journal holds as a page for a browser."),
    "scale": ("emc.cli.scale", "scale", "Name a family's members nearest to numbers of parameters."),
    "list": ("emc.cli.listing", "list_plugins", "List models, data, optimizers, ... with their options."),
    "show": ("emc.cli.show", "show", "Print the table of a result file again."),
    "compare": ("emc.cli.compare", "compare", "Say whether one result's EMC is larger than others'."),
    "claims": ("emc.cli.claims", "claims", "Test the paper's claims on what a journal holds."),
    "journal": ("emc.cli.journal", "journal", "Check or compact a journal."),
    "watch": ("emc.cli.watch", "watch", "Show what runs now on a journal."),
    "completion": ("emc.cli.completion", "completion", "Print the completion script of a shell."),
}


class EmcGroup(click.Group):
    """A group whose errors are one sentence; `--debug`, anywhere on the line, shows the traceback instead."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run one command line and exit."""
        words = list(sys.argv[1:] if args is None else args)
        extra |= {"standalone_mode": False, "obj": words}
        if "_EMC_COMPLETE" in os.environ:
            importlib.import_module("emc.cli.completion")  # it tells click how emc completes
        try:
            with plain_warnings():
                code = super().main(words or ["--help"], *rest, **extra)
            sys.stdout.flush()
        except Exception as error:
            if "--debug" in words and not isinstance(error, BrokenPipeError):
                raise
            code = report(error)
        if args is None:  # a process of its own, which ends now: Ctrl-C has nothing left to stop
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        members = command.commands.values() if isinstance(command, click.Group) else ()
        for each in (command, *members):
            if all(param.name != "debug" for param in each.params):
                each.params.append(_debug_option())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may have been meant."""
        if not ctx.resilient_parsing and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UnknownNameError(f'emc has no command "{args[0]}"; {did_you_mean(args[0], COMMANDS)}')
        return super().resolve_command(ctx, args)


def report(error: Exception) -> int:
    """Say on stderr what went wrong, and give the exit code."""
    if isinstance(error, BrokenPipeError):
        # The reader is gone; without this, Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BUG
    if isinstance(error, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    if isinstance(error, MemoryError):
        click.echo(f"error: {sentence(_out_of_memory(error))}", err=True)
        return USER_ERROR
    if isinstance(error, EmcError | OSError | click.ClickException):
        click.echo(f"error: {sentence(_sentence(error))}", err=True)
        return USER_ERROR
    what = sentence(f"{type(error).__name__}: {error}")
    click.echo(f"error: unexpected {what}; run again with --debug to see where, and please report it", err=True)
    return BUG


def _out_of_memory(error: MemoryError) -> str:
    return f"data and model must fit into memory, and more was asked for ({error or 'it ran out'}); use smaller ones"


def _sentence(error: EmcError | OSError | click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        return f'{error.ctx.command_path} has no option "{error.option_name}"; {_near_option(error, error.ctx)}'
    if isinstance(error, click.UsageError):
        command = "emc" if error.ctx is None else error.ctx.command_path
        message = error.format_message().rstrip(".")
        return f"{message[0].lower()}{message[1:]}; see {command} --help"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError):
        place = "" if error.filename is None else f', got "{error.filename}"'
        reason = (error.strerror or str(error)).lower()
        return f"a file must be usable{place} ({reason}); check the path and the space on the disk"
    return str(error)


def _near_option(error: click.NoSuchOption, ctx: click.Context) -> str:
    known = [name for param in ctx.command.get_params(ctx) for name in param.opts + param.secondary_opts]
    remedy = did_you_mean(error.option_name, known)
    # `did_you_mean` would list all fifty options of a measurement.
    return remedy if remedy.startswith("did") else f"see {ctx.command_path} --help"


def _debug_option() -> click.Option:
    return click.Option(["--debug"], is_flag=True, expose_value=False, help="show the traceback of an error")


@click.group("emc", cls=EmcGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="emc", prog_name="emc")
def main() -> None:
    """How many samples can a training procedure really fit?

    \b
    emc measure --model mlp:width=16 --data digits --labels random
    emc list models
    """


main.params.append(_debug_option())
