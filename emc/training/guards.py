"""What ends a program whose starter was killed, and so cannot end it itself."""

from __future__ import annotations

import subprocess
from contextlib import suppress

#: Reads the process group that it is to guard, then waits until the writer of its pipe is gone.
SCRIPT = """
read -r group || group=
while read -r _; do :; done
[ -n "$group" ] && kill -s KILL -- "-$group"
rm -rf -- "$1"
"""


class Guard:
    """A shell that ends a process group and removes a folder once this process is gone, however it ended.

    It has a session of its own, so that what ends this process and its group spares it; where a machine or a batch
    system ends all processes alike, the folder stays.

    Args:
        folder: that is removed.

    Raises:
        OSError: there is no shell.
    """

    def __init__(self, folder: str) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", SCRIPT, "emc-guard", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def watch(self, group: int) -> None:
        """Guard a process group from now on."""
        if self._shell.stdin is not None:
            with suppress(BrokenPipeError):  # somebody ended it: then nothing is guarded
                self._shell.stdin.write(f"{group}\n".encode())
                self._shell.stdin.flush()

    def stop(self) -> None:
        """Guard no longer; more than once does no harm."""
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            with suppress(BrokenPipeError):
                self._shell.stdin.close()
