"""Training in this process."""

from __future__ import annotations

from emc.errors import EmcError, SpecError, TrainingError
from emc.executors.base import Executor
from emc.results import ProbeResult, RunningProbe
from emc.specs import Execution, Probe
from emc.training.direct import DirectTrainer
from emc.training.lockstep import LockstepTrainer
from emc.training.obstacles import model_obstacle
from emc.training.setup import Setup, Setups, all_setups, setup_of
from emc.training.single import SingleTrainer
from emc.training.stacking import is_dense


class InlineExecutor:
    """Trains in this process, stacked where that pays.

    Args:
        setups: what trains.
        execution: which trainer, and how many trainings at once.

    Attributes:
        notes: sentences on what is not trained as it might have been expected to be.

    Raises:
        SpecError: lockstep was asked for and a procedure cannot be stacked.
    """

    def __init__(self, setups: Setups, execution: Execution) -> None:
        self._setups = setups
        self._lockstep, self._single = LockstepTrainer(setups, execution.stack), SingleTrainer(setups)
        self._direct = DirectTrainer(setups)
        self.notes: tuple[str, ...] = ()
        self._chosen = {setup: self._choose(setup, execution.trainer) for setup in all_setups(setups)}
        self._trainers = list(dict.fromkeys(self._chosen.values()))
        self.name = " and ".join(trainer.name for trainer in self._trainers)

    def _choose(self, setup: Setup, trainer: str) -> Executor:
        if setup.plan.solve is not None and trainer != "lockstep":
            return self._direct
        if trainer == "single" or (trainer == "auto" and not stacking_pays(setup)):
            return self._single
        obstacle = stacking_obstacle(setup)
        if obstacle is None:
            return self._lockstep
        if trainer == "lockstep":
            raise SpecError(f"--trainer lockstep needs a procedure that can be stacked, but {obstacle}; use single")
        note = f"trained one at a time, not in lockstep: {obstacle}"
        self.notes = tuple(dict.fromkeys((*self.notes, note)))
        return self._single

    def add(self, probe: Probe) -> None:
        """Take a probe in."""
        self._chosen[setup_of(self._setups, probe)].add(probe)

    def drop(self, probe: Probe) -> None:
        """Forget a probe, under way or not."""
        self._chosen[setup_of(self._setups, probe)].drop(probe)

    def running(self) -> list[RunningProbe]:
        """The trainings under way."""
        return [run for trainer in self._trainers for run in trainer.running()]

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
            message = str(error).split("\n")[0]
            raise TrainingError(
                f"a training must run without errors, got {type(error).__name__}: {message}; "
                "mend the model (--debug shows where)"
            ) from error


def stacking_obstacle(setup: Setup) -> str | None:
    """Why a procedure cannot be stacked, as the end of a sentence; None if it can."""
    if setup.plan.rule is None:
        return "its optimizer has no stacked form"
    return model_obstacle(setup)


def stacking_pays(setup: Setup) -> bool:
    """Whether stacks train faster: on a GPU those of any model, on CPU those of linear layers (measured: a stack's
    convolutions cost what they cost alone).
    """
    shape = setup.pool.dataset.facts.shape
    return setup.pool.device.type == "cuda" or is_dense(setup.make_model(), shape)
