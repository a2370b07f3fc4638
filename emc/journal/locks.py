"""Locks that all processes on a file see, or a sentence why there can be none."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from hashlib import blake2b
from pathlib import Path

from emc.errors import JournalError

#: Where Linux lists what is mounted.
MOUNTS = Path("/proc/self/mountinfo")

#: Mount options, by file system, with which other machines see no lock of this one.
_LOCAL_LOCKS = {
    "nfs": ("nolock", "local_lock=flock", "local_lock=posix", "local_lock=all"),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
    "lustre": ("localflock",),
}
_LOCAL_LOCKS["nfs4"] = _LOCAL_LOCKS["nfs"]

#: Files that claims are spread over.
FILES = 64

#: What a file system without locks answers.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
#: What it answers where another process holds the lock.
_TAKEN = (errno.EACCES, errno.EAGAIN)


def check_mount(path: str | os.PathLike[str]) -> None:
    """Refuse a file system whose locks stay on one machine.

    Raises:
        JournalError: it is mounted so.
    """
    mount = _mount_of(os.path.realpath(path))
    if mount is None:
        return
    point, system, options = mount
    for option in _LOCAL_LOCKS.get(system, ()):
        if option in options:
            raise JournalError(
                f"a journal needs locks that every machine sees, got {path} on {point}, which is {system} mounted with "
                f"{option}; mount it without, or choose another with --journal"
            )


def _mount_of(path: str) -> tuple[str, str, list[str]] | None:
    """The mount point a path is below, its file system and its options; None where that cannot be told."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    found = None
    for line in lines:
        words, _, rest = line.partition(" - ")
        fields, system = words.split(" "), rest.split(" ")
        if len(fields) < 6 or len(system) < 3:
            continue
        point = _unescape(fields[4])
        # Of two mounts on one point the later one hides the earlier.
        if (path == point or path.startswith(point.rstrip("/") + "/")) and (
            found is None or len(point) >= len(found[0])
        ):
            found = point, system[0], [*fields[5].split(","), *system[2].split(",")]
    return found


def _unescape(text: str) -> str:
    for code in ("040", "011", "012"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text.replace("\\134", "\\")


def lock(descriptor: int, how: int, path: object) -> None:
    """Wait for a lock on a whole file (`fcntl.flock`).

    Raises:
        JournalError: its file system has none.
    """
    try:
        fcntl.flock(descriptor, how)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise _no_locks(path, error) from error
        raise


def unlock(descriptor: int) -> None:
    """Let go of it."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _no_locks(path: object, error: OSError) -> JournalError:
    return JournalError(
        f"a journal needs file locks, got {path} on a file system without them ({error.strerror}); choose another with "
        "--journal"
    )


class _ClaimFiles:
    """Files whose bytes stand for keys, locked by this process; the only ones of their folder in the process.

    POSIX locks belong to a process, which never conflicts with itself and loses all of a file's locks when it closes
    any descriptor of it: so there is one descriptor a file, and a table of who holds what within the process. The
    kernel keeps a file's locks in a list: with 20,000 in one file a claim took 3.5 ms, so there are many files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.users = folder, 0
        self._guard = threading.Lock()
        self._holders: dict[int, dict[str, object]] = {}
        self._descriptors: dict[str, int] = {}
        folder.mkdir(exist_ok=True)

    def take(self, key: str, owner: object) -> bool:
        with self._guard:
            holders = self._holders.setdefault(_byte_of(key), {})
            if not holders and not self._lock(_byte_of(key)):
                del self._holders[_byte_of(key)]
                return False
            return holders.setdefault(key, owner) is owner

    def free(self, key: str, owner: object) -> None:
        with self._guard:
            holders = self._holders.get(_byte_of(key), {})
            if holders.get(key) is not owner:
                return
            del holders[key]
            if not holders:
                del self._holders[_byte_of(key)]
                fcntl.lockf(self._file_of(_byte_of(key)), fcntl.LOCK_UN, 1, _byte_of(key))

    def free_all(self, owner: object) -> None:
        with self._guard:
            held = [key for holders in self._holders.values() for key, holder in holders.items() if holder is owner]
        for key in held:
            self.free(key, owner)

    def is_taken(self, key: str) -> bool:
        with self._guard:
            holders = self._holders.get(_byte_of(key))
            return key in holders if holders else _is_locked(self._file_of(_byte_of(key)), key)

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)

    def _file_of(self, byte: int) -> int:
        name = _file_name(byte)
        if name not in self._descriptors:
            self._descriptors[name] = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        return self._descriptors[name]

    def _lock(self, byte: int) -> bool:
        try:
            fcntl.lockf(self._file_of(byte), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise _no_locks(self.folder, error) from error
        return True


#: Those in use, by process (a forked child inherits no lock) and path.
_open: dict[tuple[int, str], _ClaimFiles] = {}
_opening = threading.Lock()


class Claims:
    """What one journal object has claimed; the kernel frees it when the process dies.

    Args:
        folder: of the files, made if it is not there.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._name = os.getpid(), os.path.realpath(folder)
        with _opening:
            if self._name not in _open:
                _open[self._name] = _ClaimFiles(folder)
            self._files = _open[self._name]
            self._files.users += 1

    def take(self, key: str) -> bool:
        """Claim a key; False where another process, or another journal object of this one, has it.

        Two keys may share one byte (one pair in 2**62): then one process at a time has both or either.

        Raises:
            JournalError: the file system has no such locks.
        """
        return self._files.take(key, self)

    def free(self, key: str) -> None:
        """Let go of a key; nothing where it is not held."""
        self._files.free(key, self)

    def close(self) -> None:
        """Let go of all."""
        if self._name[0] != os.getpid():  # a forked child holds nothing
            return
        self._files.free_all(self)
        with _opening:
            self._files.users -= 1
            if not self._files.users:
                del _open[self._name]
                self._files.close()


def is_claimed(folder: Path, key: str) -> bool:
    """Whether a live process, this one included, has claimed a key."""
    with _opening:
        own = _open.get((os.getpid(), os.path.realpath(folder)))
        if own is not None:  # opening a file once more, and closing it, would free all of this process's claims in it
            return own.is_taken(key)
        try:
            descriptor = os.open(folder / _file_name(_byte_of(key)), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return _is_locked(descriptor, key)
        finally:
            os.close(descriptor)


def _is_locked(descriptor: int, key: str) -> bool:
    """Whether another process holds a key's byte; a shared lock is tried, which a file that is only read allows."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, _byte_of(key))
    except OSError as error:
        return error.errno in _TAKEN
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _byte_of(key))
    return False


def _file_name(byte: int) -> str:
    return f"{byte % FILES:03}"


def _byte_of(key: str) -> int:
    """Where in its file a key's byte is: the file stays empty, only locks are there."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 2
