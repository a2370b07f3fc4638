"""Plug-ins by name: `name` or `name:key=value,key=value`, options typed from the factory's signature.

A factory's positional parameters are what the caller hands over (input shape, number of classes, ...); its keyword-only
parameters are its options. Their annotations are read as text, so that a plug-in's module need not import torch to be
listed.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from emc.errors import DuplicateNameError, SpecError, UnknownNameError, did_you_mean

T = TypeVar("T")

Value = int | float | bool | str | tuple[str, ...] | None


@dataclass(frozen=True)
class PluginSpec:
    """A plug-in's name and its options, as written by a user or completed by its registry.

    The first option may be written without its key, `file:weights.safetensors`, where the plug-in says which one that
    is; until it is resolved its key is "".

    >>> PluginSpec.parse("mlp:width=16,depth=2")
    PluginSpec(name='mlp', options=(('width', '16'), ('depth', '2')))
    >>> str(PluginSpec("mlp", (("width", 16),)))
    'mlp:width=16'
    """

    name: str
    options: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def parse(cls, text: str) -> PluginSpec:
        """Split `name:key=value,...`; a comma splits only where another `key=` follows, so paths may hold commas.

        Raises:
            SpecError: an option without `=` that is not the first, an empty name, or an option given twice.
        """
        name, colon, rest = (part.strip() for part in text.partition(":"))
        pairs = re.split(r",(?=\s*[A-Za-z_]\w*\s*=)", rest) if rest else []
        options: dict[str, Value] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals and not options:
                key, value = "", pair
            elif not equals or not key.strip():
                raise _keyless(name, pair, text)
            if key.strip() in options:
                raise SpecError(f'an option is given once, got "{key.strip()}" twice in "{text}"; keep one of them')
            options[key.strip()] = value.strip()
        if not name or (colon and not pairs):
            raise SpecError(f'a plug-in is written name or name:key=value,key=value, got "{text}"')
        return cls(name, tuple(options.items()))

    @classmethod
    def of_parts(cls, parts: tuple[str, ...]) -> PluginSpec:
        """A plug-in named within another's option: its name, then its options, as `name|key=value|key=value` is read.

        Raises:
            SpecError: it is not written so.

        >>> str(PluginSpec.of_parts(("mlp", "width=16", "depth=2")))
        'mlp:width=16,depth=2'
        """
        name, options = "".join(parts[:1]), ",".join(parts[1:])
        return cls.parse(f"{name}:{options}" if options else name)

    def __str__(self) -> str:
        if not self.options:
            return self.name
        pairs = (f"{key}={format_value(value)}" if key else format_value(value) for key, value in self.options)
        return f"{self.name}:" + ",".join(pairs)

    def get(self, key: str) -> Value:
        """The value of one option."""
        return dict(self.options)[key]


def _keyless(name: str, pair: str, text: str, options: Sequence[str] | None = None) -> SpecError:
    """The error of an option without a key; `options` are those there are, where they are known."""
    remedy = f"write {name}:key=value" if options != [] else f"{name} takes none"
    known = f", its options are {', '.join(options)}" if options else ""
    return SpecError(f'an option is written key=value, got "{pair}" in "{text}"; {remedy}{known}')


def format_value(value: Value) -> str:
    """An option's value in the form it is parsed from."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "|".join(value)
    return "none" if value is None else str(value)


def _to_int(text: str) -> int:
    number = float(text)
    if number != int(number):
        raise ValueError
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else int(number)


def _to_float(text: str) -> float:
    number = float(text)
    if number != number:  # NaN compares with nothing, so no range check would see it
        raise ValueError
    return number


def _to_bool(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]


def _to_names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


_CONVERTERS: dict[str, Callable[[str], Value]] = {
    "int": _to_int,
    "float": _to_float,
    "bool": _to_bool,
    "str": str,
    "tuple[str, ...]": _to_names,
}


def read_value(text: str) -> Value:
    """A value by its looks: a number, true, false or none, else text.

    >>> read_value("20"), read_value("0.5"), read_value("False"), read_value("gini")
    (20, 0.5, False, 'gini')
    """
    known: dict[str, Value] = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    for convert in (int, _to_float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


@dataclass(frozen=True)
class Option:
    """One keyword-only parameter of a factory; `default` is `inspect.Parameter.empty` when it must be given."""

    name: str
    type: str
    default: Any

    @property
    def required(self) -> bool:
        """Whether the user has to give it."""
        return self.default is inspect.Parameter.empty

    def convert(self, value: Value, owner: str) -> Value:
        """A user's text, or an already typed value, as this option's type.

        Raises:
            SpecError: the value is not of the option's type.
        """
        text = value if isinstance(value, str) else format_value(value)
        kind = self.type.removesuffix(" | None")
        if kind != self.type and text.lower() == "none":
            return None
        try:
            return _CONVERTERS[kind](text)
        except (ValueError, KeyError, OverflowError):
            raise SpecError(f'{owner} takes {self.name} as {kind}, got "{text}"') from None


@dataclass(frozen=True)
class Plugin(Generic[T]):
    """A registered factory with what can be said of it without calling it; `open` where it takes options unnamed here.

    Such options are `**options` of the factory, which judges them; their values are read by their looks.
    """

    name: str
    factory: Callable[..., T]
    summary: str
    options: tuple[Option, ...]
    origin: str
    version: int = 1
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether it takes options that are not among `options`."""
        kinds = (parameter.kind for parameter in inspect.signature(self.factory).parameters.values())
        return inspect.Parameter.VAR_KEYWORD in kinds


def _read_options(factory: Callable[..., Any], name: str) -> tuple[Option, ...]:
    found = []
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        annotation = parameter.annotation
        kind = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        if kind.removesuffix(" | None") not in _CONVERTERS:
            raise SpecError(f"option {parameter.name} of {name} must be one of {sorted(_CONVERTERS)}, got {kind}")
        found.append(Option(parameter.name, kind, parameter.default))
    return tuple(found)


class Registry(Generic[T]):
    """The plug-ins of one kind: built-in ones from a package's modules, others from an entry-point group.

    Args:
        kind: the singular a user reads in messages, such as "model".
        package: package whose modules register the built-in plug-ins when imported; None if they are registered where
            the registry is made.
        group: entry-point group of other distributions' plug-ins; each entry point names a module or factory that
            registers itself when loaded.
    """

    def __init__(self, kind: str, package: str | None = None, group: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._group = group
        self._plugins: dict[str, Plugin[T]] = {}
        self._loaded = False

    def register(self, name: str, *, version: int = 1, **facts: Any) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Decorator that files a factory under `name`.

        Args:
            name: what a user types.
            version: results version; raise it when the same options come to mean other numbers.
            facts: what others may need to know before the factory runs; `bare` names the option that a user may write
                without its key; `spelled` is a pattern of other names for it, whose groups are options; `added` names
                options that came after results were published, which a resolved spec leaves out at their defaults, so
                that it reads as it did; `nests` names options that hold a plug-in of the same kind, written as
                `PluginSpec.of_parts` reads it, which a resolved spec holds with all its options; `shares` names options
                of that plug-in which are this one's own, and its defaults this one's where they are none.

        Raises:
            DuplicateNameError: another factory holds the name.
        """

        def file(factory: Callable[..., T]) -> Callable[..., T]:
            origin = f"{factory.__module__}.{factory.__qualname__}"
            held = self._plugins.get(name)
            if held is not None and held.origin != origin:
                raise DuplicateNameError(
                    f'a {self.kind} has one name, "{name}" is claimed by {held.origin} and {origin}'
                )
            summary = (inspect.getdoc(factory) or "").split("\n")[0]
            options = _read_options(factory, f"{self.kind} {name}")
            self._plugins[name] = Plugin(name, factory, summary, options, origin, version, facts)
            return factory

        return file

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        if self._package is not None:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
        if self._group is not None:
            from importlib.metadata import entry_points  # slow to import, and only listings and look-ups need it

            for entry in entry_points(group=self._group):
                entry.load()

    def __iter__(self) -> Iterator[Plugin[T]]:
        self._load()
        return iter(sorted(self._plugins.values(), key=lambda plugin: plugin.name))

    def names(self) -> list[str]:
        """All names, sorted."""
        return [plugin.name for plugin in self]

    def get(self, name: str) -> Plugin[T]:
        """The plug-in of that name, or of a name of its pattern.

        Raises:
            UnknownNameError: there is none; the message names the nearest.
        """
        return self._find(name)[0]

    def _find(self, name: str) -> tuple[Plugin[T], dict[str, Value]]:
        """The plug-in of a name, and the options that the name itself spells."""
        self._load()
        if name in self._plugins:
            return self._plugins[name], {}
        for plugin in self._plugins.values():
            spelled = re.fullmatch(plugin.facts.get("spelled", r"\b\B"), name)
            if spelled is not None:
                return plugin, {key: value for key, value in spelled.groupdict().items() if value is not None}
        raise UnknownNameError(f'there is no {self.kind} "{name}"; {did_you_mean(name, self._plugins)}')

    def resolve(self, spec: PluginSpec | str) -> PluginSpec:
        """The spec with every option typed and every default filled in, in the factory's order.

        Raises:
            UnknownNameError: no such plug-in or option.
            SpecError: an option of the wrong type, a required one missing, or one that the name spells given again.
        """
        spec = PluginSpec.parse(spec) if isinstance(spec, str) else spec
        plugin, spelled = self._find(spec.name)
        owner = f"{self.kind} {plugin.name}"
        for key in spelled.keys() & dict(spec.options):
            raise SpecError(f'{spec.name} says its {key} already, got {key} again in "{spec}"; write {plugin.name}:...')
        given = spelled | dict(spec.options)
        names = [option.name for option in plugin.options]
        if "" in given:
            bare = plugin.facts.get("bare")
            if bare is None or bare in given:
                raise _keyless(spec.name, format_value(given[""]), str(spec), names)
            given[bare] = given.pop("")
        others = sorted(key for key in given if key not in names)
        if not plugin.open:
            for key in others:
                remedy = did_you_mean(key, names) if names else "it takes none"
                raise UnknownNameError(f'{owner} has no option "{key}"; {remedy}')
        resolved = []
        for option in plugin.options:
            if option.name in given:
                value = option.convert(given[option.name], owner)
            elif option.required:
                raise SpecError(f"{owner} needs {option.name}; write {plugin.name}:{option.name}=...")
            else:
                value = option.default
            if option.name not in plugin.facts.get("added", ()) or value != option.default:
                resolved.append((option.name, value))
        for key in others:
            value = given[key]
            resolved.append((key, read_value(value) if isinstance(value, str) else value))
        return self._with_nested(plugin, PluginSpec(plugin.name, tuple(resolved)))

    def nested(self, spec: PluginSpec) -> list[PluginSpec]:
        """The plug-ins of this kind that the options of a resolved one hold."""
        held = (spec.get(name) for name in self.get(spec.name).facts.get("nests", ()))
        return [PluginSpec.of_parts(value) for value in held if isinstance(value, tuple)]

    def _with_nested(self, plugin: Plugin[T], spec: PluginSpec) -> PluginSpec:
        """The spec with the options of the plug-ins that it holds; what its factory will refuse stays as given."""
        options, shares = dict(spec.options), plugin.facts.get("shares", ())
        for name, given in zip(plugin.facts.get("nests", ()), self.nested(spec), strict=True):
            if self.get(given.name).facts.get("nests") or any(key in shares for key, _ in given.options):
                continue
            found = dict(self.resolve(given).options)
            for key in shares:
                default = found.pop(key, None)
                options[key] = default if options[key] is None else options[key]
            options[name] = given.name, *(f"{key}={format_value(value)}" for key, value in found.items())
        return PluginSpec(spec.name, tuple(options.items()))

    def build(self, spec: PluginSpec | str, *args: Any) -> T:
        """Resolve the spec and call its factory with `args` and the options."""
        resolved = self.resolve(spec)
        return self.get(resolved.name).factory(*args, **dict(resolved.options))
