"""Command-line options derived from the fields of the specs: names, types, ranges, defaults and help."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection
from dataclasses import Field, dataclass, fields
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from emc.cli.completion import complete_plugin
from emc.cli.kinds import kind_of_setting
from emc.registry import PluginSpec, format_value
from emc.specs import Execution, Measurement, Procedure, Search, Spec, Task, option_name

#: The parts of a configuration, in the order of `--help`.
PARTS: dict[str, type[Spec]] = {
    "task": Task,
    "procedure": Procedure,
    "search": Search,
    "measurement": Measurement,
    "execution": Execution,
}


@dataclass(frozen=True)
class Setting:
    """One field of a spec that a user can set.

    Attributes:
        part: the table of a configuration file it belongs to.
        field: the dataclass field that declares it.
    """

    part: str
    field: Field[Any]

    @property
    def kind(self) -> str:
        """The declared type without its None."""
        return str(self.field.type).removesuffix(" | None")

    @property
    def optional(self) -> bool:
        """Whether it can be None."""
        return str(self.field.type) != self.kind


def settings() -> dict[str, Setting]:
    """Every setting by name."""
    return {
        item.name: Setting(part, item)
        for part, spec in PARTS.items()
        for item in fields(spec)  # type: ignore[arg-type]
        if item.metadata
    }


def default_journal() -> str:
    """The journal of the command line where none is named."""
    return os.environ.get("EMC_JOURNAL") or os.path.join(".emc", "journal.jsonl")


class SettingType(click.ParamType):  # type: ignore[type-arg]
    """Reads a setting's text into the value its spec checks; every judgement, and every message, is the spec's."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.name = setting.kind.lower()

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """What `--help` shows for the value."""
        if "choices" in self.setting.field.metadata:
            return "[" + "|".join(self.setting.field.metadata["choices"]) + "]"
        return {"PluginSpec": "NAME[:KEY=VALUE,...]", "int": "INTEGER", "float": "NUMBER"}.get(
            self.setting.kind, self.setting.field.name.upper()
        )

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Numbers as numbers and `none` as None, where the setting takes them; anything else stays text."""
        if not isinstance(value, str):
            return value
        if self.setting.optional and value.lower() == "none":
            return None
        return _read_number(value) if self.setting.kind in ("int", "float") else value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Plug-in names with their options, the closed choices, or files."""
        if self.setting.kind == "PluginSpec":
            return complete_plugin(kind_of_setting(self.setting.field.name), incomplete)
        if self.setting.field.name == "journal":
            return [CompletionItem(incomplete, type="file")]
        choices = self.setting.field.metadata.get("choices", ())
        return [CompletionItem(choice) for choice in choices if choice.startswith(incomplete)]


def _read_number(text: str) -> int | float | str:
    """The number, or the text itself where it is none; the spec then says so."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


class SectionOption(click.Option):
    """An option that knows under which heading of `--help` it stands."""

    section = "Input, output and display"


class SectionCommand(click.Command):
    """A command whose `--help` groups its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section for each heading."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and not isinstance(param, click.Argument):
                sections.setdefault(getattr(param, "section", SectionOption.section), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def setting_option(setting: Setting) -> SectionOption:
    """The option of one setting; None stands for "not given" until `given_settings` asks click what was."""
    name = option_name(setting.field.name)
    if setting.kind == "bool":
        option = SectionOption([f"{name}/--no-{name[2:]}"], default=None, help=_help(setting))
    else:
        alone = setting.field.metadata.get("alone")
        extra = {} if alone is None else {"is_flag": False, "flag_value": alone}
        option = SectionOption([name], type=SettingType(setting), default=None, help=_help(setting), **extra)
    option.section = _section_title(setting.part)
    return option


def _help(setting: Setting) -> str:
    facts = setting.field.metadata
    default: Any = setting.field.default
    notes = []
    if setting.field.name == "journal":
        notes.append("default: .emc/journal.jsonl, or $EMC_JOURNAL; none keeps nothing")
    elif default is not None:
        notes.append(f"default: {default if isinstance(default, PluginSpec) else format_value(default)}")
    if "alone" in facts:
        notes.append(f"alone: {facts['alone']}")
    if "high" in facts:
        notes.append(f"from {facts['low']} to {facts['high']}")
    elif "low" in facts:
        notes.append(f"at least {facts['low']}")
    return f"{facts['help']} [{'; '.join(notes)}]" if notes else str(facts["help"])


def _section_title(part: str) -> str:
    meaning = re.split("[.:\n]", PARTS[part].__doc__ or "")[0]
    return f"{part.capitalize()} ({meaning[0].lower()}{meaning[1:]})"


def add_settings(command: Callable[..., Any], without: Collection[str] = ()) -> Callable[..., Any]:
    """Decorator that gives a command every setting as an option, but for those named."""
    if not hasattr(command, "__click_params__"):
        command.__click_params__ = []  # type: ignore[attr-defined]
    kept = [item for name, item in settings().items() if name not in without]
    # click collects decorators' parameters from the last to the first, and reverses them.
    command.__click_params__ += [setting_option(item) for item in reversed(kept)]  # type: ignore[attr-defined]
    return command


def given_settings(ctx: click.Context) -> dict[str, Any]:
    """The settings that stand on the command line."""
    given = [name for name in settings() if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    return {name: ctx.params[name] for name in given}
