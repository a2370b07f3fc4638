"""What `auto` picks, and why.

Trainers differ in the last bits of a verdict. Which one trains a setup is therefore a fixed rule, the same in every
run on one kind of device: `direct` where the optimizer solves; on the CPU `compiled` where its loops know model and
optimizer and the convolutions are narrow, else `lockstep` for nets of linear layers; on a GPU `lockstep` for all that
can be stacked; `single` for the rest.

Whether `single` trains in this process or in several changes no bit, so that is timed: a few steps of the very setup,
times the steps to be expected. Trainings that emc cannot look into (`opaque`) have no steps to time: functions train
one after the other in this process unless workers are asked for; programs are processes of their own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from emc.errors import SpecError
from emc.executors.base import Executor
from emc.executors.cores import num_cores
from emc.executors.processes import has_processes
from emc.reparams.modules.wrapped import Wrapped
from emc.results import ProbeFailure
from emc.specs import Execution, Probe
from emc.training.compiled import Training, kernel_obstacle, kernel_pays
from emc.training.inputs import HELD_BYTES
from emc.training.lockstep import LockstepTrainer
from emc.training.obstacles import model_obstacle
from emc.training.setup import Setup
from emc.training.single import SingleTrainer
from emc.training.stacking import is_dense

if TYPE_CHECKING:
    from torch import nn

#: Seconds until the first worker trains, of which importing torch takes most: measured 4 to 8 on two cores.
START_S = 5.0

#: Probes of a search, of which each is taken to train for the share of its budget before which none may stall.
PROBES_A_SEARCH = 10

#: Steps that are timed, after as many that are not; of an optimizer that does several a call, one call.
TIMED_STEPS, TIMED_CLOSURE_STEPS = 3, 20


@dataclass(frozen=True)
class Choice:
    """What trains a setup.

    Attributes:
        trainer: "opaque", "direct", "compiled", "lockstep" or "single".
        why: completes the sentence that names it.
    """

    trainer: str
    why: str


@dataclass(frozen=True)
class Place:
    """Where `single` and `opaque` train.

    Attributes:
        workers: processes; 0 is this one.
        why: completes the sentence that says so.
    """

    workers: int
    why: str


def choose(setup: Setup, trainer: str) -> Choice:
    """The trainer of a setup.

    Args:
        setup: what trains.
        trainer: as asked for, or "auto".

    Raises:
        SpecError: the trainer asked for cannot train it.
    """
    if setup.training is not None:
        if trainer != "auto":
            raise SpecError(
                f"--trainer is for procedures of emc's own, got {trainer} for a training of yours; leave it out"
            )
        return Choice("opaque", "emc cannot look into it")
    if trainer == "lockstep" and (obstacle := stacking_obstacle(setup)) is not None:
        raise SpecError(f"--trainer lockstep needs a procedure that can be stacked, but {obstacle}; use single")
    if trainer == "compiled" and (obstacle := kernel_obstacle(setup)) is not None:
        raise SpecError(f"--trainer compiled needs a procedure that compiled loops know, but {obstacle}; use auto")
    if trainer in ("lockstep", "compiled") and setup.pool.streams:
        raise SpecError(
            f"--trainer {trainer} needs inputs that fit into memory, got {_size(setup)}; use single or a smaller pool"
        )
    if setup.plan.solve is not None:
        return Choice("direct", "its optimizer solves instead of stepping")
    if trainer != "auto":
        return Choice(trainer, "as asked for")
    if setup.pool.streams:
        return Choice("single", f"its inputs are read as they are needed: {_size(setup)}")
    if kernel_obstacle(setup) is None and kernel_pays(setup):
        return Choice("compiled", "compiled loops know its model and optimizer")
    if not stacking_pays(setup):
        return Choice("single", "on a CPU a stack of its models is no faster")
    obstacle = stacking_obstacle(setup)
    return Choice("lockstep", "its models can be stacked") if obstacle is None else Choice("single", obstacle)


def _size(setup: Setup) -> str:
    rows, limit = setup.pool.dataset.facts.rows, HELD_BYTES / 2**30
    return f"a pool of {rows * setup.pool.row_bytes / 2**30:,.1f} GiB, of which {limit:g} GiB may be held"


def stacking_obstacle(setup: Setup) -> str | None:
    """Why a procedure cannot be stacked; None if it can."""
    if setup.plan.rule is None:
        return "its optimizer has no stacked form"
    if setup.procedure.augment is not None:
        return "its inputs are augmented, which draws random numbers"
    return model_obstacle(setup)


def stacking_pays(setup: Setup) -> bool:
    """Whether stacks train faster: on a GPU those of any model, on a CPU those of linear layers."""
    return _on_gpu(setup) or is_dense(setup.make_model(), setup.pool.dataset.facts.shape)


def _on_gpu(setup: Setup) -> bool:
    return setup.pool.device.type == "cuda"


def place(setups: Sequence[Setup], execution: Execution, searches: int) -> Place:
    """Whether `single` and `opaque` train in this process or in several, whichever is predicted to end first.

    Args:
        setups: that these train, at least one.
        execution: workers, where they are given, are used.
        searches: that ask for probes at once.
    """
    workers = num_cores() if execution.workers is None else execution.workers
    if any(_on_gpu(setup) for setup in setups):
        return Place(0, "a GPU is used from one process")
    if not has_processes():
        return Place(0, "this system cannot start clean processes")
    if execution.probe_timeout is not None:
        return Place(workers, "--probe-timeout ends a training that hangs only in a process of its own")
    if workers == 1:
        return Place(0, "one process is all there may be")
    if execution.workers is not None:
        return Place(workers, "as asked for")
    if execution.threads is not None and execution.threads > 1:
        return Place(0, "each training has several threads")
    here = expected_steps(setups[0], searches) * seconds_a_step(setups[0])
    there = START_S + here / max(1, min(workers, searches))
    said = f"predicted {min(here, there):.0f} s, {'here' if there < here else f'in {workers} processes'} {{:.0f}} s"
    return Place(workers if there < here else 0, said.format(max(here, there)))


def expected_steps(setup: Setup, searches: int) -> int:
    """Roughly the steps of so many searches, at the budget of a probe of one batch."""
    budget = setup.budget(setup.procedure.batch_size)
    return int(searches * PROBES_A_SEARCH * setup.procedure.stall_share * budget)


def predictions(setup: Setup, execution: Execution, searches: int) -> dict[str, float]:
    """Predicted seconds of training a setup in this process, by each trainer that can."""
    steps = expected_steps(setup, searches)
    found = {"single": steps * seconds_a_step(setup)}
    if kernel_obstacle(setup) is None:
        workers = num_cores() if execution.workers is None else execution.workers
        found["compiled"] = steps * seconds_a_compiled_step(setup) / min(workers, max(1, searches))
    if stacking_obstacle(setup) is None:
        found["lockstep"] = steps * seconds_a_step(setup, min(execution.stack, max(1, searches)))
    return found


def seconds_a_step(setup: Setup, stacked: int = 0) -> float:
    """What a step of one model takes on this machine; 0 where a user's model raises, which is told when it trains.

    Args:
        setup: what trains.
        stacked: models in a stack; 0 times `single`.
    """
    steps = TIMED_CLOSURE_STEPS if setup.plan.closure else TIMED_STEPS
    procedure = replace(setup.procedure, check_steps=steps, check_epochs=0, min_steps=10 * steps)
    timed = replace(setup, procedure=procedure, make_model=lambda: _ready(setup.make_model()))
    trainer: Executor = LockstepTrainer(timed, stacked) if stacked else SingleTrainer(timed)
    n = min(procedure.batch_size, timed.pool.dataset.facts.rows)
    for replicate in range(max(1, stacked)):
        trainer.add(Probe("timed", n, replicate))
    failed = any(isinstance(outcome, ProbeFailure) for outcome in trainer.advance())
    started = time.perf_counter()
    failed |= any(isinstance(outcome, ProbeFailure) for outcome in trainer.advance())
    if failed:
        return 0.0
    return (time.perf_counter() - started) / (steps * max(1, stacked))


def _ready(module: nn.Module) -> nn.Module:
    """The module without what is trained before."""
    if isinstance(module, Wrapped):
        module.steps_before = 0
    return module


def seconds_a_compiled_step(setup: Setup) -> float:
    """What a step of one model takes in compiled loops on this machine, with exact counts."""
    procedure = replace(setup.procedure, check_epochs=0, min_steps=10 * setup.procedure.check_steps)
    timed = replace(setup, procedure=procedure)
    training = Training(timed, Probe("timed", min(procedure.batch_size, timed.pool.dataset.facts.rows), 0))
    training.train(lambda: True)
    steps, seconds = training.run.steps, training.run.seconds
    if training.run.stop is None:
        training.train(lambda: True)
        steps, seconds = training.run.steps - steps, training.run.seconds - seconds
    return seconds / steps
