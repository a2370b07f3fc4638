"""Where datasets are looked for, and where what was downloaded or decoded is kept, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from emc.errors import DataError

#: Environment variable that names the folder datasets are read from; `--data-root` sets it.
DATA_VARIABLE = "EMC_DATA"


def cache_root() -> Path:
    """The user's cache folder of this tool, by the XDG rule."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emc"


def data_root() -> Path:
    """The folder datasets are read from and downloaded to: EMC_DATA, else a folder of the user's cache."""
    chosen = os.environ.get(DATA_VARIABLE)
    return Path(chosen).expanduser() if chosen else cache_root() / "data"


def set_data_root(path: str | Path) -> None:
    """Make `path` the data root of this process and of those it starts.

    Raises:
        DataError: `path` is there and is no folder.
    """
    folder = Path(path).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise DataError(
            f"the data root must be a folder, got the file {folder}; name the folder that holds the datasets"
        )
    os.environ[DATA_VARIABLE] = str(folder)


def existing_file(path: str, owner: str) -> Path:
    """The file a user named.

    Raises:
        DataError: there is none, or a device or pipe, whose reading may never end.
    """
    found = _expanded(path, owner)
    if not found.is_file():
        state = "is a folder" if found.is_dir() else "is a device or pipe" if found.exists() else "does not exist"
        raise DataError(f"{owner} needs a file, got {found.absolute()}, which {state}; correct path")
    return found


def existing_folder(path: str | Path, owner: str) -> Path:
    """The folder a user named.

    Raises:
        DataError: there is none.
    """
    found = _expanded(path, owner)
    if not found.is_dir():
        state = "is a file" if found.exists() else "does not exist"
        raise DataError(f"{owner} needs a folder, got {found.absolute()}, which {state}; correct path")
    return found


def _expanded(path: str | Path, owner: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # "~name" of nobody
        raise DataError(f'{owner} needs a path, got "{path}" without such a home folder; correct path') from None


def check_memory(num_bytes: int, what: str) -> None:
    """Refuse what cannot fit into this machine's memory, before it is tried and the process killed for it.

    Raises:
        DataError: it cannot.
    """
    held = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if num_bytes > held:
        raise DataError(
            f"{what} must fit into memory, got {num_bytes / 2**30:,.1f} GiB for a machine of {held / 2**30:,.1f} GiB; "
            "use fewer or smaller samples"
        )


@contextmanager
def staging(home: Path) -> Iterator[Path]:
    """A hidden folder inside `home` to download into; whatever is not installed from it is removed at the end.

    Raises:
        DataError: nothing can be written there.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".partial-", dir=home))
    except OSError as error:
        raise DataError(
            f"downloads need a writable folder, got {home} ({one_line(error)}); point {DATA_VARIABLE} at another one"
        ) from error
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def install(stage: Path, home: Path, parts: Iterable[Path]) -> None:
    """Move finished files or folders from `stage` to the same place in `home`, each in one step.

    A part that another process has installed meanwhile stays as it is.
    """
    for part in parts:
        target = home / part
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(stage / part, target)
        except OSError:
            if not target.exists():
                raise


def one_line(error: BaseException, length: int = 240) -> str:
    """What an exception says, as one line of bounded length.

    >>> one_line(ValueError("two\\nlines"))
    'two lines'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else text[: length - 3] + "..."
