"""Child processes that a test can kill, as `tests/faults/nursery.py` forks them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

#: `ledger(trials, losses)`: enters what a fault's test did into the table.
Ledger = Callable[[int, int], None]


class Nursery:
    """Forks look-up sweeps and command lines that can be killed; see `nursery.py`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, do: str, **facts: object) -> int:
        """Send one command; its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"do": do, **facts}), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def wait(self, process: int) -> int:
        """A child's exit code, or minus the signal that ended it."""
        return self.ask("wait", process=process)

    def kill(self, process: int) -> bool:
        """Kill a child; whether it was still alive."""
        os.kill(process, signal.SIGKILL)
        return self.wait(process) == -signal.SIGKILL

    def start(self, folder: Path, *words: object, log: str = "log", limit: int | None = None) -> int:
        """A command line of emc in a folder, its output beside it."""
        facts = {"words": [str(word) for word in words], "folder": str(folder), "limit": limit}
        return self.ask("emc", log=str(folder.parent / f"{folder.name}.{log}"), **facts)

    def run(self, folder: Path, *words: object, limit: int | None = None) -> tuple[int, str]:
        """The exit code and the output of a command line."""
        log = folder.parent / f"{folder.name}.run"
        log.unlink(missing_ok=True)
        code = self.wait(self.start(folder, *words, log="run", limit=limit))
        return code, log.read_text()
