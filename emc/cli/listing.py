"""`emc list`: the plug-ins that can be named, with their options."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import Any

import click

from emc.cli.completion import one_of
from emc.cli.kinds import KINDS, Kind
from emc.errors import UnknownNameError, did_you_mean
from emc.registry import Option, Plugin, format_value
from emc.specs import option_name


@click.command("list")
@click.argument("kind", required=False, shell_complete=one_of([kind.name for kind in KINDS]))
@click.option("--json", "as_json", is_flag=True, help="print JSON for machines")
def list_plugins(kind: str | None, as_json: bool) -> None:
    """List the plug-ins of one KIND, or of all, each with its options, their types and defaults.

    Kinds are models, recipes, data, optimizers, activations, inits, reparams, augmentations, trainings, labels, inputs,
    schedules, searches, growth and tuners.
    """
    kinds = KINDS if kind is None else (_find_kind(kind),)
    if as_json:
        entries = [_record(each, plugin) for each in kinds for plugin in each.plugins()]
        click.echo(json.dumps(entries, indent=1))
    else:
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        click.echo("\n\n".join(_kind_text(each, width) for each in kinds))


def _find_kind(name: str) -> Kind:
    for kind in KINDS:
        if name in (kind.name, kind.setting):
            return kind
    known = [kind.name for kind in KINDS]
    raise UnknownNameError(f'there is no kind of plug-in "{name}" to list; {did_you_mean(name, known)}')


def _record(kind: Kind, plugin: Plugin[Any]) -> dict[str, Any]:
    return {
        "kind": kind.name,
        "name": plugin.name,
        "summary": plugin.summary,
        "options": [
            {
                "name": option.name,
                "type": option.type,
                "required": option.required,
                "default": None if option.required else option.default,
            }
            for option in plugin.options
        ],
        "open": plugin.open,
        "version": plugin.version,
        "origin": plugin.origin,
    }


def _kind_text(kind: Kind, width: int) -> str:
    plugins = kind.plugins()
    indent = max((len(plugin.name) for plugin in plugins), default=0) + 4
    title = f"{kind.name} ({option_name(kind.setting)} NAME or NAME:key=value,key=value)" + (
        f"; {kind.note}" if kind.note else ""
    )
    return "\n".join([click.style(title, bold=True)] + [_plugin_text(plugin, indent, width) for plugin in plugins])


def _plugin_text(plugin: Plugin[Any], indent: int, width: int) -> str:
    summary = textwrap.wrap(plugin.summary, max(width - indent, 20)) or [""]
    lines = [f"  {plugin.name}".ljust(indent) + summary[0]]
    lines += [" " * indent + line for line in summary[1:]]
    options = [_option_text(option) for option in plugin.options] + (["... and others"] if plugin.open else [])
    return "\n".join(lines + [" " * (indent + 2) + text for text in options])


def _option_text(option: Option) -> str:
    kind = "names separated by |" if option.type == "tuple[str, ...]" else option.type
    return f"{option.name}: {kind} " + ("(required)" if option.required else f"= {format_value(option.default)}")
