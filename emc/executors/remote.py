"""Training on another machine: what a task or job of a cluster does with the probes it was given."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

import torch
from threadpoolctl import threadpool_limits

from emc.executors.base import Executor, as_training_error
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


def train(make: Callable[[], Executor], probes: Sequence[Probe], stopped: Callable[[], bool]) -> Iterator[News]:
    """Train probes to their end.

    Args:
        make: makes what trains; anew for each probe where it raised with several, to find out which one it was.
        probes: to be trained.
        stopped: whether to stop, asked between two exact counts.
    """
    left = {probe.key: probe for probe in probes}
    told = time.monotonic()
    with closing(make()) as executor:
        for probe in probes:
            executor.add(probe)
        while left and not stopped():
            try:
                outcomes = executor.advance()
            except Exception as error:  # whatever a user's own module may raise
                if len(left) > 1:
                    break
                (probe,) = left.values()
                yield ProbeFailure(probe, as_training_error(error), "".join(traceback.format_exception(error)))
                return
            for outcome in outcomes:
                if left.pop(key_of(outcome), None) is not None:
                    yield outcome
            if left and time.monotonic() - told >= STATUS_EVERY_S:
                told = time.monotonic()
                yield tuple(executor.running())
    for probe in left.values():
        if not stopped():
            yield from train(make, [probe], stopped)


def key_of(outcome: ProbeResult | ProbeFailure) -> str:
    """The key of the probe that an outcome is of."""
    return outcome.key if isinstance(outcome, ProbeResult) else outcome.probe.key
