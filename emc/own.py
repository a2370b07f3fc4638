"""What a user brings in Python: files named as `file.py:name`, and what functions are known by.

A file is run only because a user names it, as `python file.py` would be, but not as `__main__`. What it imports that is
not installed is part of its identity, and from its own folder it imports that folder's modules, whatever other files
did before.
"""

from __future__ import annotations

import dataclasses
import dis
import functools
import hashlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NoReturn

import numpy as np

from emc.errors import SpecError, UnknownNameError, did_you_mean
from emc.files import read_text
from emc.imports import LARGEST, SUFFIX, Folder, is_installed, reached, root_of
from emc.registry import Option, PluginSpec, Value, read_value


def is_own(spec: PluginSpec) -> bool:
    """Whether a spec names a user's file."""
    return spec.name.endswith(SUFFIX)


@dataclass(frozen=True, eq=False)
class OwnObject:
    """A function or class of a user's file.

    Attributes:
        value: it, called with what is handed over, then with the options.
        options: as given, typed, and the defaults of the others.
        source: the text of its file, and of those that it imports and that are not installed.
    """

    value: InFolder
    options: Mapping[str, Value]
    source: str


@dataclass(frozen=True, eq=False)
class InFolder:
    """A function that can import from a folder while it is called.

    Attributes:
        function: itself.
        folder: of its file.
    """

    function: Callable[..., Any]
    folder: Folder

    def __call__(self, *values: Any, **options: Any) -> Any:
        """Call it; its folder comes first among those that are imported from."""
        with self.folder:
            return self.function(*values, **options)


def resolve_own(spec: PluginSpec, setting: str, handed: tuple[str, ...]) -> PluginSpec:
    """The spec with its options typed and filled in, as a registry does for a plug-in.

    Raises:
        SpecError, UnknownNameError: the file cannot be loaded, or does not hold what was named.
    """
    found = load_own(spec, setting, handed)
    return PluginSpec(spec.name, (("", _name_of(spec, setting)), *found.options.items()))


def load_own(spec: PluginSpec, setting: str, handed: tuple[str, ...]) -> OwnObject:
    """Load what `file.py:name` or `file.py:name,key=value` names; one file is run once.

    Args:
        spec: the name.
        setting: that takes it, for messages.
        handed: names of the arguments that it is called with before its options.

    Raises:
        SpecError, UnknownNameError: the file cannot be loaded, or does not hold what was named.
    """
    name = _name_of(spec, setting)
    module, source, folder = _load(spec.name, setting)
    known = {key: value for key, value in vars(module).items() if callable(value) and not key.startswith("_")}
    if not callable(getattr(module, name, None)):
        state = "something that cannot be called" if hasattr(module, name) else "none"
        raise UnknownNameError(
            f'{setting} needs a function or class "{name}" in {spec.name}, got {state}; {did_you_mean(name, known)}'
        )
    value: Callable[..., Any] = getattr(module, name)
    given = {key: each for key, each in spec.options if key}
    options = _options(value, handed, given, f"{name} of {spec.name}")
    return OwnObject(InFolder(value, folder), options, source)


def _name_of(spec: PluginSpec, setting: str) -> str:
    name = dict(spec.options).get("")
    if not isinstance(name, str) or not name.isidentifier():
        got = "no name" if name is None else f'"{name}"'
        raise SpecError(f"{setting} takes file.py:name, got {got} for {spec.name}; write {spec.name}:name")
    return name


def _options(
    value: Callable[..., Any], handed: tuple[str, ...], given: Mapping[str, Value], owner: str
) -> dict[str, Value]:
    """The options by the signature: what follows the arguments that are handed over."""
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    first = [parameter for parameter in parameters if parameter.kind in places]
    any_number = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
    if len(first) < len(handed) and not any_number:
        takes = ", ".join(parameter.name for parameter in first) or "none"
        raise SpecError(
            f"{owner} is called with ({', '.join(handed)}) and then its options by name, got one that takes ({takes}); "
            "write a function that takes these and name it instead"
        )
    rest = first[len(handed) :] + [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    known = [parameter.name for parameter in rest]
    for key in given:
        if key not in known and not takes_any:
            raise UnknownNameError(
                f'{owner} has no option "{key}"; {did_you_mean(key, known) if known else "it takes none"}'
            )
    found = {parameter.name: _typed(parameter, given, owner) for parameter in rest}
    others = {key: _read(given[key]) for key in sorted(given) if key not in known}
    return {key: each for key, each in (found | others).items() if isinstance(each, int | float | str | None)}


def _typed(parameter: inspect.Parameter, given: Mapping[str, Value], owner: str) -> Any:
    """An option's value by its annotation, else by its looks; its default where it is not given."""
    if parameter.name not in given:
        if parameter.default is inspect.Parameter.empty:
            raise SpecError(f"{owner} needs {parameter.name}; write {parameter.name}=... behind a comma")
        return parameter.default
    value, annotation = given[parameter.name], parameter.annotation
    kind = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    if kind.removesuffix(" | None") in ("int", "float", "bool", "str"):
        return Option(parameter.name, kind, parameter.default).convert(value, owner)
    return _read(value)


def _read(value: Value) -> Value:
    return read_value(value) if isinstance(value, str) else value


def _load(path: str, setting: str) -> tuple[ModuleType, str, Folder]:
    try:
        text = read_text(Path(path).expanduser(), LARGEST)
    except FileNotFoundError:
        raise SpecError(f'{setting} needs a file that exists, got "{path}"; check the path') from None
    except (OSError, ValueError) as error:
        reason = ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
        raise SpecError(f'{setting} needs a file of Python, got "{path}" ({reason}); name another') from None
    place = Path(path).expanduser().absolute()
    try:
        beside = reached(text, "", str(place.parent))
    except (OSError, ValueError) as error:
        raise SpecError(f'what "{path}" imports must be readable, got {error}; mend it') from None
    return _run(str(place), text, tuple(beside.items()))


@lru_cache(maxsize=64)
def _run(path: str, text: str, beside: tuple[tuple[str, str], ...]) -> tuple[ModuleType, str, Folder]:
    """Run a file as a module of its own; with the text of all that it is made of, and the folder it imports from.

    Args:
        path: of the file.
        text: of it.
        beside: paths and texts of the modules that it names in its imports; changed ones make it run again.
    """
    try:
        code = compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise SpecError(f'a file of yours must be Python, got "{path}" ({reason}{line}); mend it') from error
    stem, known = re.sub(r"\W", "_", Path(path).stem), repr((path, text, beside))
    module = ModuleType(f"{stem}_{hashlib.sha256(known.encode()).hexdigest()[:8]}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    folder = Folder(str(Path(path).parent))
    try:
        with folder:
            exec(code, module.__dict__)
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        del sys.modules[module.__name__]
        message = " ".join(str(error).split())
        raise SpecError(
            f'a file of yours must load without errors, got {type(error).__name__}: {message} in "{path}"; '
            "mend it (--debug shows where)"
        ) from error
    texts = dict(sorted((dict(beside) | _texts_of(folder)).items()))
    return module, text + "".join(f"\0{Path(each).name}\0{texts[each]}" for each in texts), folder


def _texts_of(folder: Folder) -> dict[str, str]:
    """Texts by path of what was imported from a folder, by whatever means."""
    paths = [getattr(module, "__file__", None) for module in folder.modules.values()]
    return {path: read_text(path, LARGEST) for path in paths if path is not None and path.endswith(SUFFIX)}


def known_by(value: Any) -> str | None:
    """Digest of a function by its source, what it holds and what it calls of modules that are not installed.

    None where a part of it is known by nothing: a false digest would take another function's results from a journal.
    Equal digests mean equal behaviour as far as installed packages stay the same.

    >>> def adding(k):
    ...     return lambda x: x + k
    >>> known_by(adding(1)) == known_by(adding(2))
    False
    """
    digest = hashlib.sha256()
    try:
        _add(digest.update, value, {})
    except (_UnknownError, RecursionError):
        return None
    return digest.hexdigest()[:16]


class _UnknownError(Exception):
    """An object that nothing but itself is known by."""


#: Types that a text says everything of.
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))


def _add(update: Callable[[bytes], None], value: Any, seen: dict[int, tuple[int, Any]]) -> None:
    """Take an object into a digest.

    Args:
        update: of the digest.
        value: the object.
        seen: number and object by `id` of what was taken in; kept alive, since a freed object's `id` is another's next.
    """
    update(f"{type(value).__qualname__}:".encode())
    if type(value) in PLAIN:
        text = repr(value).encode()
        update(len(text).to_bytes(8, "big") + text)
        return
    if id(value) in seen:
        update(f"number {seen[id(value)][0]};".encode())
        return
    seen[id(value)] = len(seen), value
    parts = list(_parts(value))
    update(len(parts).to_bytes(8, "big"))
    for part in parts:
        _add(update, part, seen)


def _parts(value: Any) -> Iterable[Any]:
    """What an object is made of.

    Raises:
        _UnknownError: that cannot be told.
    """
    if isinstance(value, FunctionType | BuiltinFunctionType | type):
        return _parts_of_callable(value)
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, value.co_freevars, value.co_varnames, *value.co_consts]
    if isinstance(value, ModuleType):
        return _parts_of_module(value, ())
    if type(value) is np.ndarray or isinstance(value, np.generic):
        if value.dtype.hasobject:
            raise _UnknownError
        return [repr((value.shape, value.dtype)), value.tobytes()]
    if type(value) in (list, tuple):
        return list(value)
    if type(value) is dict:
        return [each for pair in value.items() for each in pair]
    if type(value) is frozenset:
        return sorted(map(repr, value)) if all(type(each) in PLAIN for each in value) else _unknown()
    if type(value) is functools.partial:
        return [value.func, value.args, value.keywords]
    if type(value) is MethodType:
        return [value.__func__, value.__self__]
    if isinstance(value, np.ufunc):
        return [value.__name__]
    if type(value) in (staticmethod, classmethod):
        return [value.__func__]
    if type(value) is property:
        return [value.fget, value.fset, value.fdel]
    plain = callable(value) and hasattr(value, "__dict__") and not isinstance(value, list | tuple | dict | np.ndarray)
    if plain and not _is_installed(type(value).__module__):
        return [type(value), vars(value)]
    return _unknown()


def _unknown() -> NoReturn:
    raise _UnknownError


#: Attributes of a class that do not change what it does, or that its source and its other attributes say.
BOOKKEEPING = {
    *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__orig_bases__"),
    *("__parameters__", "__abstractmethods__", "_abc_impl", "__dataclass_params__", "__dataclass_fields__"),
    *("__firstlineno__", "__static_attributes__", "__classcell__"),
}


def _parts_of_callable(value: Any) -> list[Any]:
    """The name alone of what is installed, with what it holds of a user's; source and uses of what is a user's own."""
    if isinstance(value, BuiltinFunctionType):
        held = None if isinstance(value.__self__, ModuleType) else value.__self__
        return [value.__module__, value.__qualname__, held] if _is_installed(value.__module__) else _unknown()
    if _is_installed(value.__module__):
        return [value.__module__, value.__qualname__, *_cells(value)]
    return _parts_of_class(value) if isinstance(value, type) else [_source(value), *_parts_of_function(value)]


def _parts_of_class(kind: type) -> list[Any]:
    """Its source, what its methods use, and its attributes as they are now."""
    made = getattr(kind, "__dataclass_fields__", {}).values()
    found: list[Any] = [each for field in made for each in (field.default, field.default_factory)]
    found = [each for each in found if each is not dataclasses.MISSING]
    for name, each in sorted(vars(kind).items()):
        if name in BOOKKEEPING or (made and _is_generated(each)):
            continue
        found += [name, *(_parts_of_function(each) if isinstance(each, FunctionType) else [each])]
    return [_source(kind), *kind.__bases__, type(kind), *found]


def _is_generated(value: Any) -> bool:
    """Whether a dataclass made this method, which follows from its source and fields."""
    method = inspect.unwrap(value) if isinstance(value, FunctionType) else None
    return isinstance(method, FunctionType) and method.__code__.co_filename == "<string>"


def _parts_of_function(function: FunctionType) -> list[Any]:
    code, known = function.__code__, function.__globals__
    used = [known[name] for name in _names(code, ("LOAD_GLOBAL", "LOAD_NAME")) if name in known]
    attributes = _names(code, ("LOAD_ATTR", "LOAD_METHOD"))
    parts = [_parts_of_module(each, attributes) if isinstance(each, ModuleType) else each for each in used]
    settings = [_cells(function), function.__defaults__, function.__kwdefaults__, vars(function)]
    return [code, *settings, parts, _texts_of_imports(function)]


def _cells(function: Any) -> list[Any]:
    try:
        return [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    except ValueError:  # not filled yet
        raise _UnknownError from None


def _parts_of_module(module: ModuleType, attributes: Iterable[str]) -> list[Any]:
    """Name and version of an installed module; the texts of another and of those it imports, and what is used of it."""
    if _is_installed(module.__name__):
        return [module.__name__, str(getattr(module, "__version__", ""))]
    path = getattr(module, "__file__", None)
    if path is None or not path.endswith(SUFFIX):
        return _unknown()
    try:
        text = read_text(path, LARGEST)
        return [
            module.__name__,
            text,
            list(reached(text, module.__package__ or "", str(root_of(path, module.__name__))).values()),
            [vars(module)[name] for name in attributes if name in vars(module)],
        ]
    except (OSError, ValueError):
        return _unknown()


def _texts_of_imports(function: FunctionType) -> list[str]:
    """Texts of the modules that a function imports when it is called."""
    if not _names(function.__code__, ("IMPORT_NAME",)):
        return []
    text = textwrap.dedent(_source(function))
    package = function.__globals__.get("__package__") or ""
    path, name = function.__code__.co_filename, str(function.__module__)
    try:
        return list(reached(text, package, str(root_of(path, name))).values())
    except (OSError, ValueError):
        return _unknown()


def _is_installed(module: str | None) -> bool:
    """Whether a module came with Python or a package, and so is known by its name."""
    if module is None or module == "__main__" or module not in sys.modules:
        return module is None
    return is_installed(sys.modules[module])


def _names(code: CodeType, operations: tuple[str, ...]) -> list[str]:
    """Names that a function uses in some way, also within functions inside it."""
    names = [str(each.argval) for each in dis.get_instructions(code) if each.opname in operations]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names += _names(constant, operations)
    return sorted(set(names))


def _source(value: Any) -> str:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        raise _UnknownError from None
