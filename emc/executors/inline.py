"""Training in this process."""

from __future__ import annotations

from emc.errors import EmcError, SpecError
from emc.executors.base import Executor, as_training_error
from emc.results import ProbeResult, RunningProbe
from emc.specs import Execution, Probe
from emc.training.direct import DirectTrainer
from emc.training.lockstep import LockstepTrainer
from emc.training.setup import Setup, Setups, all_setups, setup_of
from emc.training.single import SingleTrainer
from emc.training.stacking import can_stack


class InlineExecutor:
    """Trains in this process, stacked where that pays.

    Args:
        setups: what trains.
        execution: which trainer, and how many trainings at once.

    Raises:
        SpecError: lockstep was asked for and a procedure cannot be stacked.
    """

    def __init__(self, setups: Setups, execution: Execution) -> None:
        self._setups = setups
        self._lockstep, self._single = LockstepTrainer(setups, execution.stack), SingleTrainer(setups)
        self._direct = DirectTrainer(setups)
        self._chosen = {setup: self._choose(setup, execution.trainer) for setup in all_setups(setups)}
        self._trainers = list(dict.fromkeys(self._chosen.values()))
        self.name = " and ".join(trainer.name for trainer in self._trainers)

    def _choose(self, setup: Setup, trainer: str) -> Executor:
        obstacle = None if trainer == "single" else stacking_obstacle(setup)
        if trainer == "lockstep" and obstacle is not None:
            raise SpecError(f"--trainer lockstep needs a procedure that can be stacked, but {obstacle}; use single")
        if setup.plan.solve is not None:
            return self._direct
        return self._single if trainer == "single" or obstacle is not None else self._lockstep

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; see `Executor.add`."""
        self._chosen[setup_of(self._setups, probe)].add(probe, ahead=ahead)

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; how far it was, if it was under way."""
        return self._chosen[setup_of(self._setups, probe)].drop(probe)

    def running(self) -> list[RunningProbe]:
        """The trainings under way."""
        return [run for trainer in self._trainers for run in trainer.running()]

    def room(self) -> int:
        """Probes that could start now, whichever trainer they are for: the trainers take turns on one thread."""
        return min((trainer.room() for trainer in self._trainers), default=0)

    def close(self) -> None:
        """Let go of all probes."""
        for trainer in self._trainers:
            trainer.close()

    def advance(self) -> list[ProbeResult]:
        """Train up to the next exact count, each trainer in its turn.

        Raises:
            TrainingError: the training raised, which is no verdict on the procedure.
        """
        try:
            return [result for trainer in self._trainers for result in trainer.advance()]
        except EmcError:
            raise
        except Exception as error:  # whatever a user's own module may raise
            raise as_training_error(error) from error


def stacking_obstacle(setup: Setup) -> str | None:
    """Why a procedure cannot be stacked; None if it can."""
    if setup.plan.rule is None:
        return "its optimizer has no stacked form"
    if not can_stack(setup.make_model()):
        return "its model has layers that have no stacked form"
    return None
