"""One drive of searches: executor, journal, threads and engine put together, the same for everything that trains."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import emc
from emc.engine import Engine, Observer
from emc.executors.inline import InlineExecutor
from emc.journal import Journal
from emc.search.base import AskTell
from emc.specs import RESULTS_VERSION, Execution
from emc.training.setup import Setup
from emc.training.stacking import is_dense


@dataclass(frozen=True)
class Driven:
    """How a drive ended.

    Attributes:
        interrupted: whether Ctrl-C stopped it before every search had ended.
        versions: what its numbers were made with: versions, device type, threads, trainer.
    """

    interrupted: bool
    versions: Mapping[str, Any]


def drive(
    setups: Mapping[str, Setup],
    execution: Execution,
    searches: Sequence[tuple[str, AskTell]],
    observer: Observer | None = None,
) -> Driven:
    """Drive searches to their end; Ctrl-C stops asking, and they then know what was known by then.

    Args:
        setups: what trains, by what its probes share (`Probe.base`), on one device.
        execution: where and how.
        searches: each with the base of its probes.
        observer: told how it goes, a few times a second.

    Raises:
        JournalError: the journal cannot be read or written.
        TrainingError: a training raised.
    """
    path = execution.journal
    if path is not None and not all(setup.identified for setup in setups.values()):
        warnings.warn(f"the model has no source to be known by, so nothing is kept in {path}", stacklevel=3)
        path = None
    executor = InlineExecutor(setups, execution)  # may refuse, and then there shall be no journal
    with Journal(path) as journal, _threads(_num_threads(setups.values(), execution)):
        engine = Engine(executor, journal, fresh=execution.fresh, speculation=execution.speculation)
        interrupted = engine.run(searches, observer)
        device = ", ".join({setup.pool.device.type: None for setup in setups.values()})
        facts = {"device": device, "trainer": executor.name}
        return Driven(interrupted, {**versions(), **facts})


def _num_threads(setups: Iterable[Setup], execution: Execution) -> int:
    """Dense products gain nothing from a second thread, and lose tenfold where cores are shared."""
    if execution.threads is not None:
        return execution.threads
    dense = all(is_dense(setup.make_model(), setup.pool.dataset.facts.shape) for setup in setups)
    return 1 if dense else torch.get_num_threads()


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Use a number of CPU threads, then the one before again."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
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
