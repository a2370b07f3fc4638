"""Files that are either written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from emc.errors import OutputError

#: The path of an output that is no file.
STDOUT = "-"


def check_outputs(
    outputs: Iterable[str | os.PathLike[str] | None], inputs: Iterable[str | os.PathLike[str] | None] = ()
) -> None:
    """Find out before the work whether each output can be written to a file of its own, and leave no trace.

    Args:
        outputs: paths; None is no output, `STDOUT` no file.
        inputs: what the outputs are made from; None is no input.

    Raises:
        OutputError: an output is a folder, an input or another output, its folder does not exist, or nothing can be
            created there.
    """
    others = [path for path in inputs if path is not None]
    for path in outputs:
        if path not in (None, STDOUT):
            _check_output(path, others)
            others.append(path)


def _check_output(path: str | os.PathLike[str], others: Iterable[str | os.PathLike[str]]) -> None:
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OutputError(f'an output path names a file, got the folder "{path}"; add a file name')
    if not target.parent.is_dir():
        raise OutputError(f'an output file needs an existing folder, got "{path}"; create "{target.parent}" first')
    if _is_special(target):
        if not os.access(target, os.W_OK):
            raise OutputError(f'an output file must be writable, got "{path}"; choose another path')
        return  # nothing is replaced there
    if any(_is_same(target, other) for other in others):
        raise OutputError(
            f'an output file must be no other file of the command, got "{path}", which it reads or writes too; '
            "name another"
        )
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


def _unwritable(path: str | os.PathLike[str], error: OSError) -> OutputError:
    reason = (error.strerror or str(error)).lower()
    return OutputError(f'an output file must be writable, got "{path}" ({reason}); choose another path')
