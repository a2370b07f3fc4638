"""What every check and benchmark prints beside its numbers, and a way to train a list of probes."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from emc.api import Prepared, prepare
from emc.executors.inline import InlineExecutor
from emc.results import ProbeResult
from emc.session import versions
from emc.specs import Execution, Measurement, Probe


def describe_machine() -> str:
    """Processor, cores and versions in one line."""
    name = platform.processor() or platform.machine()
    parts = ", ".join(f"{key} {value}" for key, value in versions().items())
    return f"# {name}, {os.cpu_count()} cores; {parts}"


def prepared(trainer: str = "auto", **settings: Any) -> Prepared:
    """A measurement from flat settings, ready to train."""
    return prepare(Measurement.from_flat(settings), execution=Execution(trainer=trainer, stack=512))


def train(ready: Prepared, probes: Iterable[Probe]) -> tuple[list[ProbeResult], float]:
    """Train probes to their verdicts, in the order of the probes; with the seconds it took."""
    executor = InlineExecutor(ready.setup, ready.execution)
    wanted = list(probes)
    for probe in wanted:
        executor.add(probe)
    found: dict[str, ProbeResult] = {}
    started = time.perf_counter()
    while len(found) < len(wanted):
        found |= {result.key: result for result in executor.advance()}
    return [found[probe.key] for probe in wanted], time.perf_counter() - started


def as_single(ready: Prepared) -> Prepared:
    """The same measurement, one training at a time."""
    return replace(ready, execution=Execution(trainer="single"))


def use_one_thread() -> None:
    """Tiny products lose tenfold when two threads spin on shared cores."""
    torch.set_num_threads(1)
