"""Shell completion: of plug-in names with their options, and the command that prints a shell's script."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from emc.cli.kinds import Kind
from emc.errors import UnknownNameError, did_you_mean
from emc.registry import Option, Plugin, format_value

SHELLS = ("bash", "zsh", "fish")


def one_of(names: Iterable[str]) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """The completion of an argument that is one of some names."""
    return lambda _ctx, _param, incomplete: [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_plugin(kind: Kind, incomplete: str) -> list[CompletionItem]:
    """What can follow `incomplete` in a plug-in: a name, an option's key, or an option's value."""
    name, colon, rest = incomplete.partition(":")
    plugins = {plugin.name: plugin for plugin in kind.plugins()}
    if not colon:
        return [_name_item(plugin) for plugin in plugins.values() if plugin.name.startswith(name)]
    if name not in plugins:
        return []
    written, _, last = rest.rpartition(",")
    head = f"{name}:{written}," if written else f"{name}:"
    taken = {pair.partition("=")[0] for pair in written.split(",")}
    free = [option for option in plugins[name].options if option.name not in taken]
    texts = [text for option in free for text in _option_texts(option, last)]
    return [CompletionItem(head + text) for text in texts if text.startswith(last)]


def _name_item(plugin: Plugin[Any]) -> CompletionItem:
    if any(option.required for option in plugin.options):
        return CompletionItem(f"{plugin.name}:")
    return CompletionItem(plugin.name, help=plugin.summary)


def _option_texts(option: Option, typed: str) -> list[str]:
    """`key=` until the key is typed, then `key=value` with the values that are known."""
    if not typed.startswith(f"{option.name}="):
        return [f"{option.name}="]
    if option.type == "bool":
        return [f"{option.name}=true", f"{option.name}=false"]
    return [] if option.required else [f"{option.name}={format_value(option.default)}"]


@add_completion_class
class ColonBashComplete(BashComplete):
    """Bash completion of words with `:` and `=` in them, where bash itself breaks words.

    click hands over bash's own words, in which `mlp:width` is three; here the whole line comes over, and what bash
    takes to be finished is cut off the answers.
    """

    source_template = BashComplete.source_template.replace(
        'COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD',
        'COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_CWORD="" EMC_WORDBREAKS="$COMP_WORDBREAKS"',
    ).replace("COMPREPLY+=($value)", "COMPREPLY+=($value)\n            [[ $value == *[:=] ]] && compopt -o nospace")

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor's, and the cursor's."""
        words, incomplete = _split_line(os.environ["COMP_WORDS"])
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """The item without the part of the word that bash takes to be finished."""
        value = str(item.value)
        _, word = _split_line(os.environ["COMP_WORDS"])
        if word.startswith("-"):
            word = word.partition("=")[2]
        breaks = [sign for sign in ":=" if sign in os.environ.get("EMC_WORDBREAKS", ":=")]
        finished = word[: max((word.rfind(sign) for sign in breaks), default=-1) + 1]
        return f"{item.type},{value.removeprefix(finished)}"


@add_completion_class
class OpenZshComplete(ZshComplete):
    """Zsh completion that leaves the cursor beside an option's `=` for its value."""

    source_template = ZshComplete.source_template.replace(
        "compadd -U -V unsorted -a completions",
        "local -a suffix; [[ ${completions[1]} == *[:=] ]] && suffix=(-S '')\n"
        '        compadd "${suffix[@]}" -U -V unsorted -a completions',
    )


@add_completion_class
class CommaFishComplete(FishComplete):
    """Fish completion of words with `,` in them, where click's script ends them."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')


def _split_line(line: str) -> tuple[list[str], str]:
    words = split_arg_string(line)
    return (words, "") if not words or line[-1].isspace() else (words[:-1], words[-1])


@click.command("completion")
@click.argument("shell", shell_complete=one_of(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options, plug-ins and their options in SHELL: bash, zsh or fish.

    \b
    bash:  echo 'eval "$(emc completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(emc completion zsh)"' >> ~/.zshrc
    fish:  emc completion fish > ~/.config/fish/completions/emc.fish
    """
    found = get_completion_class(shell) if shell in SHELLS else None
    if found is None:
        raise UnknownNameError(f'there is no completion for the shell "{shell}"; {did_you_mean(shell, SHELLS)}')
    click.echo(found(ctx.find_root().command, {}, "emc", "_EMC_COMPLETE").source())
