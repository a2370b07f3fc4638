"""Nodes of a Ray cluster on this machine, made to die."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

#: A dead node is known to be dead within seconds instead of half a minute, but not one that a busy machine keeps
#: waiting; workers compete with tests as equals.
QUICK = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 12,
    "worker_niceness": 0,
}


def processes(node: Any) -> list[int]:
    """The ids of a node's own processes."""
    return [process.process.pid for group in node.all_processes.values() for process in group]


def workers(node: Any) -> list[int]:
    """The ids of a node's processes that run tasks or wait for some."""
    parents, found = set(processes(node)), []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent in parents and (folder / "cmdline").read_bytes().startswith(b"ray::"):
                found.append(int(folder.name))
    return found


def kill(*pids: int) -> None:
    """As kill -9 does."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_node(node: Any) -> None:
    """Kill all that runs on a node, as when its machine is gone."""
    kill(*workers(node), *processes(node))
