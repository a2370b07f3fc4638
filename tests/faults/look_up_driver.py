"""Sweeps of look-up models over the real engine and journal, each a process that can be killed.

Importing takes seconds, so one process imports and forks a driver for each line that it reads:

    start JOURNAL CELLS SPECULATION LOG     prints its process id; speculation 0 is as much as there is room for
    wait PID                                prints how it ended, as `os.waitstatus_to_exitcode`

A driver writes to LOG `ready`, then the key of each probe once it is acknowledged: synced and told to the observer.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any

from emc.engine import Engine, Sought
from emc.estimators.replicated import MeasuredReplicate
from emc.journal import Journal
from emc.results import Evidence, ProbeResult, Progress, RunningProbe, Verdict
from emc.specs import Probe, Search

#: Probes at once, and seconds that they take.
SLOTS, SECONDS = 8, 0.001


class LookUp:
    """Ends all it holds a moment later; a cell fits up to a size that its name gives."""

    name = "look-up"

    def __init__(self) -> None:
        self._held: dict[Probe, None] = {}
        self.untold: list[str] = []

    def add(self, probe: Probe, *, ahead: bool = False) -> None:  # noqa: ARG002
        self._held[probe] = None

    def drop(self, probe: Probe) -> RunningProbe | None:
        self._held.pop(probe, None)
        return None

    def running(self) -> list[RunningProbe]:
        return [RunningProbe(probe.n, probe.replicate, probe.attempt, 0, 0, 1) for probe in self._held]

    def room(self) -> int:
        return max(0, SLOTS - len(self._held))

    def wants(self) -> int:
        return self.room()

    def advance(self) -> list[ProbeResult]:
        time.sleep(SECONDS)
        held, self._held = self._held, {}
        self.untold += [probe.key for probe in held]
        return [look_up(probe) for probe in held]

    def close(self) -> None:
        self._held = {}

    def acknowledge(self, _: Progress) -> None:
        """The observer: all that came is synced by now."""
        told, self.untold = self.untold, []
        os.write(1, "".join(f"{key}\n" for key in told).encode())


def look_up(probe: Probe) -> ProbeResult:
    capacity = 20 + int(hashlib.sha256(probe.base.encode()).hexdigest()[:4], 16) % 3000
    fits = probe.n <= capacity
    verdict, evidence = (Verdict.FITTED, None) if fits else (Verdict.NOT_FITTED, Evidence.NOISE_FLOOR)
    where = (probe.n, probe.replicate, probe.attempt)
    return ProbeResult(probe.key, *where, verdict, evidence, min(probe.n, capacity), 0.1, None, 100, 12_800, 0.5)


def sweep(path: str, cells: int, speculation: int) -> None:
    searches = [MeasuredReplicate(Search(), 16, 5000, 0) for _ in range(cells)]
    executor = LookUp()

    def ended(number: int, _: object) -> Mapping[str, Any]:
        found = searches[number].conclude()
        return {"kind": "measurement", "fingerprint": f"cell {number}", "emc": found.emc, "upper": found.upper}

    with Journal(path) as journal:
        os.write(1, b"ready\n")
        sought = [Sought(f"base {number}", search, number) for number, search in enumerate(searches)]
        engine = Engine(executor, journal, lenient=True, speculation=speculation or None)
        engine.run(sought, executor.acknowledge, ended=ended)


def start(path: str, cells: int, speculation: int, log: str) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
        sweep(path, cells, speculation)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def serve() -> None:
    for line in sys.stdin:
        command, *words = line.split()
        if command == "start":
            print(start(words[0], int(words[1]), int(words[2]), words[3]), flush=True)
        else:
            print(os.waitstatus_to_exitcode(os.waitpid(int(words[0]), 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
