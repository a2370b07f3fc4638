"""Training in this process."""

from __future__ import annotations

from emc.errors import EmcError, SpecError, TrainingError
from emc.executors.base import Executor
from emc.results import ProbeResult, RunningProbe
from emc.specs import Execution, Probe
from emc.training.direct import DirectTrainer
from emc.training.lockstep import LockstepTrainer
from emc.training.setup import Setup
from emc.training.single import SingleTrainer
from emc.training.stacking import can_stack


class InlineExecutor:
    """Trains in this process, stacked where that pays.

    Args:
        setup: the resolved measurement.
        execution: which trainer, and how many trainings at once.

    Raises:
        SpecError: lockstep was asked for and the procedure cannot be stacked.
    """

    def __init__(self, setup: Setup, execution: Execution) -> None:
        obstacle = stacking_obstacle(setup)
        if execution.trainer == "lockstep" and obstacle is not None:
            raise SpecError(f"--trainer lockstep needs a procedure that can be stacked, but {obstacle}; use single")
        if setup.plan.solve is not None:
            self._trainer: Executor = DirectTrainer(setup)
        elif execution.trainer != "single" and obstacle is None:
            self._trainer = LockstepTrainer(setup, execution.stack)
        else:
            self._trainer = SingleTrainer(setup)
        self.name = self._trainer.name

    def add(self, probe: Probe) -> None:
        """Take a probe in."""
        self._trainer.add(probe)

    def drop(self, probe: Probe) -> None:
        """Forget a probe, under way or not."""
        self._trainer.drop(probe)

    def running(self) -> list[RunningProbe]:
        """The trainings under way."""
        return self._trainer.running()

    def advance(self) -> list[ProbeResult]:
        """Train up to the next exact count.

        Raises:
            TrainingError: the training raised, which is no verdict on the procedure.
        """
        try:
            return self._trainer.advance()
        except EmcError:
            raise
        except Exception as error:  # whatever a user's own module may raise
            message = str(error).split("\n")[0]
            raise TrainingError(
                f"a training must run without errors, got {type(error).__name__}: {message}; "
                "mend the model (--debug shows where)"
            ) from error


def stacking_obstacle(setup: Setup) -> str | None:
    """Why a procedure cannot be stacked; None if it can."""
    if setup.plan.rule is None:
        return "its optimizer has no stacked form"
    if not can_stack(setup.make_model()):
        return "its model has layers that have no stacked form"
    return None
