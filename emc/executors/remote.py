"""Training on another machine: what a task or job of a cluster does with the probes it was given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

import torch
from threadpoolctl import threadpool_limits

from emc.executors.base import Executor
from emc.results import ProbeFailure, ProbeResult, RunningProbe
from emc.specs import Probe
from emc.training.setup import Setup

#: Seconds between two reports of how far the trainings are, at least.
STATUS_EVERY_S = 2.0

#: What is told of trainings elsewhere: how an end came, or how far they are.
News = ProbeResult | ProbeFailure | tuple[RunningProbe, ...]


def prepare_process(setups: Iterable[Setup], threads: int) -> None:
    """Make this process train as the one that asks for it: its threads, its precision on a GPU."""
    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")
    on_gpu = [setup for setup in setups if setup.pool.device.type == "cuda"]
    if on_gpu:
        tf32 = all(setup.procedure.tf32 for setup in on_gpu)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32


def train(executor: Executor, probes: Sequence[Probe], stopped: Callable[[], bool]) -> Iterator[News]:
    """Train probes to their end, or until told to stop, which is asked between two exact counts.

    Raises:
        EmcError: nothing can be trained here.
    """
    left = {probe.key for probe in probes}
    told = time.monotonic()
    with closing(executor):
        for probe in probes:
            executor.add(probe)
        while left and not stopped():
            for outcome in executor.advance():
                left.remove(key_of(outcome))
                yield outcome
            if left and time.monotonic() - told >= STATUS_EVERY_S:
                told = time.monotonic()
                yield tuple(executor.running())


def key_of(outcome: ProbeResult | ProbeFailure) -> str:
    """The key of the probe that an outcome is of."""
    return outcome.key if isinstance(outcome, ProbeResult) else outcome.probe.key
