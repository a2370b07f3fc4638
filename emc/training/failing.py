"""What becomes of an exception in a training: the failure of that one probe, told in a sentence."""

from __future__ import annotations

import traceback

import torch

from emc.errors import EmcError, TrainingError
from emc.results import ProbeFailure, ProbeResult
from emc.specs import Probe
from emc.training.memory import is_out_of_memory

#: What comes of one training.
Outcome = ProbeResult | ProbeFailure


class TraceError(Exception):
    """Where a training raised, to be shown as the cause: as text, since frames would keep what the model held."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def failure(probe: Probe, error: EmcError, trace: str = "") -> ProbeFailure:
    """The failure of a probe; the error, should it be raised, shows the trace as its cause."""
    if trace:
        error.__cause__ = TraceError(trace)
    return ProbeFailure(probe, error.with_traceback(None), trace)


def raised(probe: Probe, error: Exception) -> ProbeFailure:
    """The failure of a probe whose training raised.

    Raises:
        TrainingError: the device does not work any more, which concerns every training.
    """
    check_device(error)
    return failure(probe, as_training_error(error), trace_of(error))


def check_time(probe: Probe, seconds: float, limit_s: float | None) -> None:
    """Hold a training to its time.

    Raises:
        TrainingError: it took longer.
    """
    if limit_s is not None and seconds > limit_s:
        raise overdue(probe, seconds, limit_s)


def overdue(probe: Probe, seconds: float, limit_s: float) -> TrainingError:
    """What a user is told of a training past its time."""
    return TrainingError(f"{past_time(probe, seconds, limit_s)}; raise it, or lower --min-steps and --max-epochs")


def past_time(probe: Probe, seconds: float, limit_s: float) -> str:
    """The rule that a training past its time breaks, and how."""
    return (
        f"a training must end within --probe-timeout {limit_s:g} s, got n={probe.n} of replicate {probe.replicate} "
        f"after {seconds:.4g} s"
    )


def trace_of(error: Exception) -> str:
    """Where an exception came from, as text."""
    return "".join(traceback.format_exception(error))


def as_training_error(error: Exception) -> EmcError:
    """What a user is told of an exception in a training; one that is told already stays."""
    if isinstance(error, EmcError):
        return error
    got = f"{type(error).__name__}: {_first_line(error)}"
    if is_out_of_memory(error):
        return TrainingError(
            f"one training alone does not fit into memory, got {got}; "
            "take a smaller model or --batch-size, or a larger device"
        )
    return TrainingError(f"a training must run without errors, got {got}; mend the model (--debug shows where)")


def _first_line(error: Exception) -> str:
    try:
        return str(error).split("\n")[0]
    except Exception:  # a user's exception may not even have a text
        return "(without a text)"


def check_device(error: Exception) -> None:
    """Find out whether CUDA still works: some errors leave it broken until the process ends.

    Raises:
        TrainingError: it does not.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    try:
        torch.cuda.synchronize()
    except RuntimeError as broken:
        raise TrainingError(
            f"the GPU must stay usable, got {type(error).__name__}: {_first_line(error)}, after which nothing can be "
            "trained on it in this process; run the same command to continue"
        ) from broken
