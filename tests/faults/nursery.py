"""A process that imports once, which takes seconds, and then forks whatever is to be killed.

It reads commands, each a line of JSON, and answers each with a number:

    {"do": "look up", "journal": PATH, "cells": 200, "speculation": null, "log": PATH}
    {"do": "emc", "words": [...], "folder": PATH, "log": PATH, "limit": BYTES OR null}
    {"do": "wait", "process": PID}

The first two give the process id of a child whose output goes to `log`, the last how it ended, as
`os.waitstatus_to_exitcode`. "look up" is a sweep of look-up models over the real engine and journal; it writes `ready`,
then the key of each probe once it is acknowledged: synced and told to the observer. "emc" is a command line; no file it
writes may grow beyond `limit`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import hostile_models  # noqa: F401 - registers itself, as the module of an entry point does
from journals import measured

from emc.cli.main import main
from emc.engine import Engine
from emc.estimators.replicated import MeasuredReplicate
from emc.journal import Journal
from emc.results import Evidence, ProbeResult, Progress, RunningProbe, Verdict
from emc.sought import Sought
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


def sweep(journal: str, cells: int, speculation: int | None) -> int:
    searches = [MeasuredReplicate(Search(), 16, 5000, 0) for _ in range(cells)]
    executor = LookUp()

    def ended(number: int, _: object) -> Mapping[str, Any]:
        found = searches[number].conclude()
        return measured(f"cell {number}", emc=found.emc, upper=found.upper)

    with Journal(journal) as opened:
        os.write(1, b"ready\n")
        sought = [Sought(f"base {number}", search, number) for number, search in enumerate(searches)]
        engine = Engine(executor, opened, lenient=True, speculation=speculation)
        engine.run(sought, executor.acknowledge, ended=ended)
    return 0


def command_line(words: list[str], folder: str, limit: int | None) -> int:
    os.chdir(folder)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0


def fork(log: str, task: Callable[[], int]) -> int:
    """The process id of a child that does the task, its output in `log`."""
    process = os.fork()
    if process:
        return process
    code = 99
    try:
        opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, 1)
        os.dup2(opened, 2)
        code = task()
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def answer(do: str, log: str = "", **facts: Any) -> int:
    if do == "wait":
        return os.waitstatus_to_exitcode(os.waitpid(facts["process"], 0)[1])
    return fork(log, lambda: (sweep if do == "look up" else command_line)(**facts))


if __name__ == "__main__":
    for module in ("emc.api", "emc.sweeping", "emc.training.compiled", "sklearn.datasets", "pandas"):
        importlib.import_module(module)
    for line in sys.stdin:
        print(answer(**json.loads(line)), flush=True)
