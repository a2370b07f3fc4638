"""Files that are either written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emc.errors import OutputError


def check_writable(path: str | Path, journal: str | os.PathLike[str] | None = None) -> None:
    """Find out before the work whether its output can be written, and leave no trace.

    Args:
        path: of the output.
        journal: which the output is made from, and must not replace.

    Raises:
        OutputError: the path is a folder or the journal, its folder does not exist, or nothing can be created there.
    """
    target = Path(os.path.realpath(path))
    if journal is not None and _is_same(target, journal):
        raise OutputError(f'an output file is not the journal it is made from, got "{path}"; name another')
    if target.is_dir():
        raise OutputError(f'an output path names a file, got the folder "{path}"; add a file name')
    if not target.parent.is_dir():
        raise OutputError(f'an output file needs an existing folder, got "{path}"; create "{target.parent}" first')
    if _is_special(target):
        if not os.access(target, os.W_OK):
            raise OutputError(f'an output file must be writable, got "{path}"; choose another path')
        return
    try:
        # Permission bits do not tell for root, nor on read-only file systems: only trying does.
        with tempfile.NamedTemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved onto it when the block ends well and removed when it does not.

    Links are followed; a device or pipe is written to directly, since moving a file onto it would destroy it.

    Raises:
        OutputError: the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    special = _is_special(target)
    temporary = target if special else target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
        if not special:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, target)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if not special:
            temporary.unlink(missing_ok=True)


def read_text(path: str | Path, largest: int) -> str:
    """A text file of a user's.

    Raises:
        OSError: it cannot be read, is a device or pipe, which may never end, or has more bytes than `largest`.
        ValueError: it is no UTF-8.
    """
    facts = os.stat(path)
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
    if facts.st_size > largest:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return Path(path).read_text(encoding="utf-8")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _is_same(target: Path, other: str | os.PathLike[str]) -> bool:
    """Whether two paths, there or not, name one file."""
    try:
        return target.samefile(other)
    except OSError:
        return str(target) == os.path.realpath(other)


def _is_special(target: Path) -> bool:
    return target.exists() and not stat.S_ISREG(target.stat().st_mode)


def _unwritable(path: str | Path, error: OSError) -> OutputError:
    reason = (error.strerror or str(error)).lower()
    return OutputError(f'an output file must be writable, got "{path}" ({reason}); choose another path')
