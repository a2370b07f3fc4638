"""What earlier runs left in the folder that the jobs of all runs share: verdicts, and jobs of drivers that died."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from emc.errors import JournalError
from emc.executors.slurm_commands import cancel
from emc.executors.slurm_job import Folder, Reader, verdict_of
from emc.journal.locks import check_mount
from emc.results import ProbeResult

#: How the folder of a run begins, and how the name of its jobs does; the rest is the same.
FOLDER, JOBS = "slurm-", "emc-"

#: The file that a live driver holds locked.
CLAIM = "driver"


def job_name(folder: Path) -> str:
    """What Slurm calls the jobs of a run, by which they are found whatever became of their driver."""
    return JOBS + folder.name.removeprefix(FOLDER)


def claim(folder: Path) -> int | None:
    """Say that a run's driver lives, until the descriptor is closed or the process dies.

    None where other machines would not see that: nobody then takes the folder for that of a dead driver.
    """
    new = folder / f"{CLAIM}.new"  # never there unlocked under the name that others look for
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        check_mount(folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, JournalError):
        os.close(descriptor)
        new.unlink()
        return None
    new.rename(folder / CLAIM)
    return descriptor


class Dead:
    """Folders of this user's drivers that died; their jobs are cancelled.

    Held until `close`, so that of several runs one deals with them.

    Args:
        root: the folder of all runs.
    """

    def __init__(self, root: Path) -> None:
        self._claims = dict(_claimed(root))
        for folder in self._claims:
            cancel("--name", job_name(folder))

    def close(self, bases: Collection[str], *, remove: bool) -> None:
        """Let go of them.

        Args:
            bases: what the run trained; a run before it that trained nothing else left nothing for others.
            remove: those folders.
        """
        known = {Folder(Path()).pack(base).name for base in bases}
        for folder, descriptor in self._claims.items():
            if remove and _names(folder / "setups") <= known:
                shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
        self._claims.clear()


def _claimed(root: Path) -> Iterator[tuple[Path, int]]:
    """Folders whose driver died, each with the lock that it held."""
    for folder in _runs(root):
        with suppress(OSError):  # it is being removed, or has no claim
            descriptor = os.open(folder / CLAIM, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # the driver lives
                os.close(descriptor)
                continue
            yield folder, descriptor


def earlier_verdicts(root: Path) -> dict[str, ProbeResult]:
    """Verdicts that jobs of earlier runs wrote and their drivers may have died before they read them, by probe key."""
    found = {}
    for folder in _runs(root):
        for name in sorted(_names(folder / "verdicts")):
            path = folder / "verdicts" / name
            with suppress(OSError):  # another driver removes it
                if path.suffix == ".jsonl" and _is_own(path, stat.S_ISREG):
                    verdicts = map(verdict_of, Reader(path).records())
                    found.update({result.key: result for result in verdicts if result is not None})
    return found


def _runs(root: Path) -> list[Path]:
    """Folders of this user's runs; those of others could hold anything."""
    folders = [root / name for name in sorted(_names(root)) if name.startswith(FOLDER)]
    return [folder for folder in folders if _is_own(folder, stat.S_ISDIR)]


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _is_own(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether it is of a kind, no link, and this user's."""
    try:
        facts = path.lstat()
    except OSError:
        return False
    return kind(facts.st_mode) and facts.st_uid == os.getuid()
