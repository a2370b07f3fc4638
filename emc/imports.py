"""Imports of a user's files: which modules a text reaches, found without running it, and each folder's own modules.

Two folders may each hold a `helper.py`, while Python knows modules by their names alone.
"""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from emc.files import read_text

SUFFIX = ".py"

#: Bytes of the largest file.
LARGEST = 2**24

#: Folders' names below which packages are installed.
INSTALLED = {"site-packages", "dist-packages"}


def is_installed(module: ModuleType) -> bool:
    """Whether a module came with Python or a package; emc's own are told apart by its version of results."""
    top = module.__name__.partition(".")[0]
    if top == __name__.partition(".")[0]:
        return True
    path = getattr(module, "__file__", None) or getattr(sys.modules.get(top), "__file__", None)
    if path is None:
        return top in sys.stdlib_module_names
    return is_installed_path(path)


def is_installed_path(path: str) -> bool:
    """Whether a file or folder is Python's or a package's."""
    standard = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return bool(INSTALLED & set(Path(path).parts)) or any(Path(path).is_relative_to(each) for each in standard)


def root_of(path: str, name: str) -> Path:
    """The folder that a module's top package lies in, from its file and its dotted name."""
    file = Path(path).absolute()
    depth = name.count(".") + (file.stem == "__init__")
    return file.parents[min(depth, len(file.parents) - 1)]


def reached(text: str, package: str, folder: str) -> dict[str, str]:
    """Texts by path of the modules that a text imports at any place, also within functions, and of what these import.

    Modules are looked for in the folder and in those of `sys.path` in which nothing is installed.

    Args:
        text: of Python.
        package: that it belongs to, for relative imports.
        folder: in which its imports are looked for first.

    Raises:
        OSError, ValueError: a file cannot be read.
    """
    others = [Path(each or ".").absolute() for each in sys.path if not is_installed_path(each)]
    roots = list(dict.fromkeys([Path(folder).absolute(), *(each for each in others if each.is_dir())]))
    found: dict[str, str] = {}
    waiting = list(_imported(text, package))
    while waiting:
        for path, inside in _files(waiting.pop(), roots):
            if str(path) not in found:
                found[str(path)] = read_text(path, LARGEST)
                waiting += _imported(found[str(path)], inside)
    return dict(sorted(found.items()))


def _imported(text: str, package: str) -> Iterator[str]:
    """Dotted names that a text may import; a last part `*` is all of a package."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):  # told where it is run
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}".strip(".") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def _files(name: str, roots: list[Path]) -> Iterator[tuple[Path, str]]:
    """Files that importing a dotted name may run, with the packages they belong to."""
    parts = name.split(".")
    if not parts[0] or parts[0] == __name__.partition(".")[0]:
        return
    for root in roots:
        for depth in range(1, len(parts) + 1):
            place, inside = root.joinpath(*parts[: depth - 1]), ".".join(parts[: depth - 1])
            if parts[depth - 1] == "*":
                yield from ((path, inside) for path in sorted(place.glob(f"*{SUFFIX}")) if depth > 1)
                continue
            as_file, as_package = place / f"{parts[depth - 1]}{SUFFIX}", place / parts[depth - 1] / f"__init__{SUFFIX}"
            if as_package.is_file():
                yield as_package, ".".join(parts[:depth])
            elif as_file.is_file():
                yield as_file, inside


#: What was imported on behalf of users' files and still is in `sys.modules`, by name.
_left: dict[str, ModuleType] = {}

#: Names by which two files mean different modules; `sys.modules` keeps neither, so that nobody gets the other's.
_contested: set[str] = set()

_lock = threading.RLock()


class Folder:
    """A user's folder, which a `with` block can import from; names that it holds mean its own modules there.

    What is imported from it is kept for later blocks. A copy in another process imports anew.

    Args:
        path: of the folder.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.modules: dict[str, ModuleType] = {}
        self._aside: dict[str, ModuleType] = {}
        self._before: set[str] = set()
        self._depth = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Folder, (self.path,)

    def __enter__(self) -> Folder:
        _lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self._take_over()
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._give_back()
        _lock.release()

    def _take_over(self) -> None:
        names = {name.partition(".")[0] for name in os.listdir(self.path)} if os.path.isdir(self.path) else set()
        ours = [name for name in list(sys.modules) if name.partition(".")[0] in names]
        self._aside = {name: sys.modules.pop(name) for name in ours if self._is_other(name)}
        self._before = set(sys.modules)
        sys.modules.update(self.modules)
        sys.path.insert(0, self.path)

    def _is_other(self, name: str) -> bool:
        """Whether a module stands where this folder has one of its own."""
        module = sys.modules[name]
        left = _left.get(name) is module and self.modules.get(name) is not module
        return not is_installed(module) and (left or not _lies_in(module, self.path))

    def _give_back(self) -> None:
        sys.path.remove(self.path)
        new = set(sys.modules) - self._before
        self.modules |= {name: sys.modules[name] for name in new if _lies_in(sys.modules[name], self.path)}
        others = {name for name in self._aside if _left.get(name) is self._aside[name] and name in self.modules}
        _contested.update(others)
        for name in self.modules:
            if name in _contested or name in self._aside:
                sys.modules.pop(name, None)
                _left.pop(name, None)
            else:
                _left[name] = self.modules[name]
        sys.modules.update({name: module for name, module in self._aside.items() if name not in others})
        self._aside = {}


def _lies_in(module: ModuleType, folder: str) -> bool:
    places = [getattr(module, "__file__", None), *list(getattr(module, "__path__", ()))[:1]]
    return any(place is not None and Path(place).is_relative_to(folder) for place in places)
