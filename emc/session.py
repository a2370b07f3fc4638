"""One drive of searches: executor, journal, threads and engine put together, the same for everything that trains."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import emc
from emc.engine import Engine, Observer
from emc.errors import EmcError
from emc.executors.routing import make_executor
from emc.journal import Journal, side_folder
from emc.results import ProbeResult, RunningProbe, Trained, unused
from emc.sought import Sought
from emc.specs import RESULTS_VERSION, Execution
from emc.stopping import stoppable
from emc.training.checkpoints import discard
from emc.training.setup import Setup

#: Told of a search that ended: its number, what went wrong with it or None, and the versions at hand.
Ended = Callable[[int, EmcError | None, Mapping[str, Any]], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Driven:
    """How a drive ended.

    Attributes:
        interrupted: whether Ctrl-C stopped it before every search had ended.
        versions: what its numbers were made with: versions, device type, threads, trainer.
        trained: verdicts that it trained for, whether a search used them or not.
        unfinished: trainings that it broke off.
        failures: by the number of each search that came to no end because a training came to no verdict, why.
    """

    interrupted: bool
    versions: Mapping[str, Any]
    trained: Sequence[Trained] = ()
    unfinished: Sequence[RunningProbe] = ()
    failures: Mapping[int, EmcError] = field(default_factory=dict)

    def after(self, earlier: Driven | None) -> Driven:
        """The same, with what an earlier drive trained."""
        if earlier is None:
            return self
        trained, unfinished = (*earlier.trained, *self.trained), (*earlier.unfinished, *self.unfinished)
        return replace(self, trained=trained, unfinished=unfinished)

    def unused(self, used: Iterable[ProbeResult]) -> dict[str, float]:
        """What it trained beside the probes that were used; see `emc.results.unused`."""
        return unused(used, self.trained, self.unfinished)


def drive(
    setups: Mapping[str, Setup],
    execution: Execution,
    searches: Sequence[Sought],
    observer: Observer | None = None,
    *,
    ended: Ended | None = None,
    lenient: bool = False,
) -> Driven:
    """Drive searches to their end; Ctrl-C or SIGTERM stops asking, and they then know what was known by then.

    Args:
        setups: what trains, by what its probes share (`Probe.base`), on one device.
        execution: where and how.
        searches: each with the base of its probes; the first ones are driven first.
        observer: told how it goes, a few times a second.
        ended: told of each search that ended, once all its verdicts are synced; a record it returns is journaled.
        lenient: whether a training that comes to no verdict ends its own measurement (`Sought.cell`) alone.

    Raises:
        JournalError: the journal cannot be read or written.
        TrainingError: a training raised, and `lenient` is not set.
    """
    path = execution.journal
    if path is not None and not all(setup.identified for setup in setups.values()):
        warnings.warn(f"the model has no source to be known by, so nothing is kept in {path}", stacklevel=3)
        path = None
        execution = replace(execution, checkpoint_every=None)
    folder = None if path is None else side_folder(path) / "checkpoints"
    settled = partial(discard, folder) if folder is not None and execution.checkpoint_every is not None else None
    asked = max(1, sum(len(sought.search.ask(1)) for sought in searches))
    with (
        stoppable() as stopping,
        _threads(execution.threads or 1),
        closing(make_executor(setups, execution, asked, folder)) as executor,
    ):
        device = ", ".join({setup.pool.device.type: None for setup in setups.values()})
        facts = {**versions(), "device": device, "trainer": executor.name}
        with Journal(path) as journal:  # after the executor, which may refuse: then there shall be no journal
            engine = Engine(
                executor, journal, fresh=execution.fresh, speculation=execution.speculation, lenient=lenient
            )
            for base, setup in setups.items():
                journal.note(_description(base, setup))
            told = None if ended is None else lambda number, error: ended(number, error, facts)
            interrupted = engine.run(searches, observer, ended=told, stopping=stopping, settled=settled)
        return Driven(interrupted, facts, engine.trained, engine.unfinished, engine.failures)


def _description(base: str, setup: Setup) -> dict[str, Any]:
    """What a base stands for, to be journaled: what all its probes share."""
    pool = setup.pool
    return {
        "kind": "base",
        "base": base,
        "task": pool.task.to_dict(),
        "procedure": setup.procedure.to_dict(),
        "seed": setup.seed,
        "device": pool.device.type,
        "dataset": pool.dataset.facts.to_dict(),
        "results_version": RESULTS_VERSION,
    }


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Use a number of CPU threads, then the one before again."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        with threadpool_limits(number, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def versions() -> dict[str, Any]:
    """What a number was made with."""
    return {
        "emc": emc.__version__,
        "results": RESULTS_VERSION,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "mkl_cbwr": os.environ.get("MKL_CBWR"),
    }
