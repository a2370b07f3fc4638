"""What a user brings in Python: files named as `file.py:name`, and what functions are known by.

A file is run only because a user names it, as `python file.py` would be, but not as `__main__`. What it imports from
its own folder is part of its identity.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from emc.errors import SpecError, UnknownNameError, did_you_mean
from emc.files import read_text
from emc.registry import Option, PluginSpec, Value, read_value

SUFFIX = ".py"

#: Bytes of the largest file.
LARGEST = 2**24


def is_own(spec: PluginSpec) -> bool:
    """Whether a spec names a user's file."""
    return spec.name.endswith(SUFFIX)


@dataclass(frozen=True, eq=False)
class OwnObject:
    """A function or class of a user's file.

    Attributes:
        value: it, called with what is handed over, then with the options.
        options: as given, typed, and the defaults of the others.
        source: the text of its file, and of those beside it that it imports.
    """

    value: Callable[..., Any]
    options: Mapping[str, Value]
    source: str


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
    module, source = _load(spec.name, setting)
    known = {key: value for key, value in vars(module).items() if callable(value) and not key.startswith("_")}
    if not callable(getattr(module, name, None)):
        state = "something that cannot be called" if hasattr(module, name) else "none"
        raise UnknownNameError(
            f'{setting} needs a function or class "{name}" in {spec.name}, got {state}; {did_you_mean(name, known)}'
        )
    value: Callable[..., Any] = getattr(module, name)
    given = {key: each for key, each in spec.options if key}
    return OwnObject(value, _options(value, handed, given, f"{name} of {spec.name}"), source)


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


def _load(path: str, setting: str) -> tuple[ModuleType, str]:
    try:
        text = read_text(Path(path).expanduser(), LARGEST)
    except FileNotFoundError:
        raise SpecError(f'{setting} needs a file that exists, got "{path}"; check the path') from None
    except (OSError, ValueError) as error:
        reason = ((error.strerror if isinstance(error, OSError) else None) or str(error)).lower()
        raise SpecError(f'{setting} needs a file of Python, got "{path}" ({reason}); name another') from None
    return _run(str(Path(path).expanduser().absolute()), text)


@lru_cache(maxsize=64)
def _run(path: str, text: str) -> tuple[ModuleType, str]:
    """Run a file as a module of its own; with its text and those of the modules beside it that this imported."""
    folder = str(Path(path).parent)
    try:
        code = compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise SpecError(f'a file of yours must be Python, got "{path}" ({reason}{line}); mend it') from error
    stem = re.sub(r"\W", "_", Path(path).stem)
    module = ModuleType(f"{stem}_{hashlib.sha256((path + text).encode()).hexdigest()[:8]}")
    module.__file__ = path
    sys.modules[module.__name__] = module
    before = set(sys.modules)
    sys.path.insert(0, folder)
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:  # whatever a user's file may raise
        del sys.modules[module.__name__]
        message = " ".join(str(error).split())
        raise SpecError(
            f'a file of yours must load without errors, got {type(error).__name__}: {message} in "{path}"; '
            "mend it (--debug shows where)"
        ) from error
    finally:
        sys.path.remove(folder)
    return module, text + "".join(_texts(sorted(set(sys.modules) - before), folder))


def _texts(names: Iterable[str], folder: str) -> Iterable[str]:
    """The texts of those modules that lie in a folder."""
    for name in names:
        path = getattr(sys.modules[name], "__file__", None)
        if path is not None and path.endswith(SUFFIX) and Path(path).is_relative_to(folder):
            yield read_text(path, LARGEST)


def known_by(value: Any) -> str | None:
    """Digest of a function by its source, what it holds and what it calls of its own module; None where that fails.

    Equal digests mean equal behaviour as far as installed packages stay the same.

    >>> def adding(k):
    ...     return lambda x: x + k
    >>> known_by(adding(1)) == known_by(adding(2))
    False
    """
    digest = hashlib.sha256()
    try:
        _add(digest.update, value, set())
    except _UnknownError:
        return None
    return digest.hexdigest()[:16]


class _UnknownError(Exception):
    """An object that nothing but itself is known by."""


def _add(update: Callable[[bytes], None], value: Any, seen: set[int]) -> None:
    """Take an object into a digest."""
    update(f"{type(value).__qualname__}:".encode())
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        update(repr(value).encode())
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    for part in _parts(value):
        if isinstance(part, bytes):
            update(len(part).to_bytes(8, "big") + part)
        else:
            _add(update, part, seen)


def _parts(value: Any) -> Iterable[Any]:
    """What an object is made of: bytes, and further objects."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return [repr((value.shape, value.dtype)).encode(), value.tobytes()]
    if isinstance(value, list | tuple):
        return [len(value), *value]
    if isinstance(value, dict):
        return [each for pair in value.items() for each in pair]
    if isinstance(value, ModuleType):
        return [value.__name__, str(getattr(value, "__version__", ""))]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, np.ufunc):
        return [value.__name__]
    if isinstance(value, FunctionType | BuiltinFunctionType | type):
        if _is_installed(value.__module__):
            return [str(value.__module__), value.__qualname__]
        return [_source(value), *value.__bases__] if isinstance(value, type) else _parts_of_function(value)
    if callable(value) and hasattr(value, "__dict__") and not _is_installed(type(value).__module__):
        return [type(value), vars(value)]
    raise _UnknownError


def _is_installed(module: str | None) -> bool:
    """Whether a module came with Python or a package, and so is known by its name."""
    if module is None or module == "__main__" or module not in sys.modules:
        return module is None
    if module.partition(".")[0] in sys.stdlib_module_names:
        return True
    path = getattr(sys.modules[module], "__file__", None) or ""
    return not path or {"site-packages", "dist-packages"} & set(Path(path).parts) != set()


def _parts_of_function(function: Any) -> list[Any]:
    if not isinstance(function, FunctionType):
        raise _UnknownError
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    used = [function.__globals__[name] for name in _global_names(function.__code__) if name in function.__globals__]
    return [_source(function), cells, function.__defaults__, function.__kwdefaults__, used]


def _global_names(code: CodeType) -> list[str]:
    """Names of globals that a function uses, also within functions inside it."""
    names = [str(each.argval) for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names += _global_names(constant)
    return sorted(set(names))


def _source(value: Any) -> bytes:
    try:
        return inspect.getsource(value).encode()
    except (OSError, TypeError):
        raise _UnknownError from None
