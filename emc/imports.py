"""Imports of a user's files: which modules of theirs a text reaches, found without running it."""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

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
