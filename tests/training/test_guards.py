"""What a killed emc leaves behind: nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from emc.training.guards import Guard

STARTER = """
import subprocess, sys, time
from emc.training.guards import Guard
guard = Guard(sys.argv[1])
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
guard.watch(child.pid)
print(child.pid, flush=True)
time.sleep(600)
"""


def is_there(pid: int) -> bool:
    """Whether a process runs; one that nobody waits for may stay as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked at in /proc")
def test_a_killed_starter_takes_its_program_and_folder_along(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", STARTER, str(folder)], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert is_there(pid)
        assert folder.exists()
        starter.kill()
    for _ in range(1000):
        if not is_there(pid) and not folder.exists():
            break
        time.sleep(0.01)
    assert not is_there(pid)
    assert not folder.exists()


def test_one_that_was_stopped_does_nothing(tmp_path: Path) -> None:
    guard = Guard(str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    ) as child:
        guard.watch(child.pid)
        guard.stop()
        guard.stop()
        assert child.poll() is None
        child.communicate(b"\n")
    assert child.returncode == 0
    assert tmp_path.exists()
