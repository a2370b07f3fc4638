"""What runs in a worker process: one probe at a time by the single or opaque trainer, as its parent asks."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from threading import Thread

import torch
from threadpoolctl import threadpool_limits

from emc.errors import EmcError, SpecError
from emc.executors.payload import unpack
from emc.results import ProbeFailure, ProbeResult, RunningProbe
from emc.specs import Probe
from emc.training.checkpoints import Checkpoints
from emc.training.failing import as_training_error, trace_of
from emc.training.opaque import OpaqueTrainer
from emc.training.setup import setup_of
from emc.training.single import SingleTrainer

#: Seconds between two reports of how far a training is, at least.
STATUS_EVERY_S = 0.2

#: Seconds from SIGTERM to the end.
TERM_S = 10.0


@dataclass(frozen=True)
class Raised:
    """What a training raised.

    Attributes:
        error: as a user is told.
        trace: where it came from, as text: a traceback cannot leave its process.
    """

    error: EmcError
    trace: str

    @classmethod
    def of(cls, error: Exception) -> Raised:
        """The exception at hand."""
        return cls(as_training_error(error), trace_of(error))


@dataclass(frozen=True)
class Loaded:
    """The worker is ready to train."""


@dataclass(frozen=True)
class Save:
    """Asked of a worker: that it keeps its training, and says `Saved`."""


@dataclass(frozen=True)
class Saved:
    """The worker kept what it trains, where checkpoints are asked for."""


#: What a worker says, with the probe it is about; without one whether it could load what trains.
Message = tuple[Probe | None, RunningProbe | ProbeResult | Raised | Loaded | Saved]


def work(
    connection: Connection,
    content: bytes,
    folder: str,
    threads: int,
    checkpoints: Checkpoints | None,
    timeout_s: float | None,
) -> None:
    """Train the probes that come through the connection, until it is closed.

    A probe is sent to be trained, in place of the one under way if there is one; None ends that one.

    Args:
        connection: to the parent.
        content: what trains, packed.
        folder: of its large arrays, removed if the parent dies.
        threads: of PyTorch and of numpy's products.
        checkpoints: where trainings are kept; None keeps none.
        timeout_s: seconds charged after which a training is broken off.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGTERM, _end_soon)
    Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")
    try:
        setups = unpack(content)
        single, opaque = SingleTrainer(setups, checkpoints, timeout_s), OpaqueTrainer(setups)
    except Exception as error:  # whatever a user's own objects may raise
        message = str(error).split("\n")[0]
        sentence = (
            f"a worker process must be able to load the model, got {type(error).__name__}: {message}; use --workers 1"
        )
        connection.send((None, Raised(SpecError(sentence), trace_of(error))))
        return
    try:
        connection.send((None, Loaded()))
        _serve(connection, lambda probe: single if setup_of(setups, probe).training is None else opaque)
    except (EOFError, OSError):
        return  # the parent is gone


def _end_soon(*_: object) -> None:
    """SIGTERM may have reached the parent too, which then asks for a checkpoint first."""

    def end() -> None:
        time.sleep(TERM_S)
        os._exit(1)

    Thread(target=end, daemon=True).start()


def _end_with_parent(folder: str) -> None:
    """End at once when the parent has died, in whatever a training is just then."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _serve(connection: Connection, trainer_of: Callable[[Probe], SingleTrainer | OpaqueTrainer]) -> None:
    probe: Probe | None = None
    told = 0.0
    while True:
        if probe is None or connection.poll():
            wanted: Probe | Save | None = connection.recv()
            if isinstance(wanted, Save):
                if probe is not None:
                    trainer_of(probe).save()
                connection.send((probe, Saved()))
                continue
            if probe is not None:
                trainer_of(probe).drop(probe)
            probe = wanted
            if probe is not None:
                trainer_of(probe).add(probe)
            continue
        said = _advance(trainer_of(probe), probe)
        if isinstance(said, RunningProbe):
            if time.perf_counter() - told < STATUS_EVERY_S:
                continue
            told = time.perf_counter()
        connection.send((probe, said))
        if not isinstance(said, RunningProbe):
            probe = None


def _advance(trainer: SingleTrainer | OpaqueTrainer, probe: Probe) -> RunningProbe | ProbeResult | Raised:
    """Train up to the next exact count."""
    try:
        outcomes = trainer.advance()
    except Exception as error:  # such as one in this very loop: the parent tells
        trainer.drop(probe)
        return Raised.of(error)
    if not outcomes:
        return trainer.running()[0]
    outcome = outcomes[0]
    return Raised(outcome.error, outcome.trace) if isinstance(outcome, ProbeFailure) else outcome
