"""Training in this process."""

from __future__ import annotations

from collections.abc import Sequence

from emc.errors import EmcError
from emc.executors.base import Executor, as_training_error
from emc.executors.choice import choose
from emc.executors.cores import num_cores
from emc.journal import side_folder
from emc.results import ProbeFailure, ProbeResult, RunningProbe
from emc.specs import Execution, Probe
from emc.training.checkpoints import Checkpoints
from emc.training.compiled import WAIT_S, CompiledTrainer
from emc.training.direct import DirectTrainer
from emc.training.lockstep import LockstepTrainer
from emc.training.opaque import Care, OpaqueTrainer
from emc.training.setup import Setups, all_setups, setup_of
from emc.training.single import SingleTrainer


def opaque_care(execution: Execution) -> Care:
    """How trainings are run that emc cannot look into; what failed ones printed is kept beside the journal."""
    keep = None if execution.journal is None else side_folder(execution.journal) / "failed"
    return Care(execution.threads or 1, execution.probe_timeout, keep)


class InlineExecutor:
    """Trains in this process.

    Args:
        setups: what trains.
        execution: which trainer, how many trainings at once, and for how long.
        checkpoints: where trainings are kept; None keeps none.

    Raises:
        SpecError: the trainer asked for cannot train a setup.
    """

    def __init__(self, setups: Setups, execution: Execution, checkpoints: Checkpoints | None = None) -> None:
        self._setups = setups
        care = checkpoints, execution.probe_timeout
        workers = num_cores() if execution.workers is None else execution.workers
        self._compiled = CompiledTrainer(setups, workers, execution.stack, *care)
        trainers: dict[str, Executor] = {
            "direct": DirectTrainer(setups),
            "compiled": self._compiled,
            "lockstep": LockstepTrainer(setups, execution.stack, *care),
            "single": SingleTrainer(setups, *care),
            "opaque": OpaqueTrainer(setups, workers, opaque_care(execution)),
        }
        self._chosen = {setup: trainers[choose(setup, execution.trainer).trainer] for setup in all_setups(setups)}
        self._trainers = list(dict.fromkeys(self._chosen.values()))
        self.name = " and ".join(trainer.name for trainer in self._trainers)

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

    def wants(self) -> int:
        """What the hungriest trainer wants, since the next probe may be for it; see `Executor.wants`."""
        return max((trainer.wants() for trainer in self._trainers), default=0)

    def save(self) -> None:
        """Keep the trainings under way; see `Executor.save`."""
        for trainer in self._trainers:
            trainer.save()

    def close(self) -> None:
        """Let go of all probes."""
        for trainer in self._trainers:
            trainer.close()

    def advance(self) -> Sequence[ProbeResult | ProbeFailure]:
        """Train up to the next exact count, each trainer in its turn.

        Raises:
            TrainingError: something raised that is no single training's, such as a device that no longer works.
        """
        others = any(trainer.running() for trainer in self._trainers if trainer is not self._compiled)
        self._compiled.wait_s = 0.0 if others else WAIT_S
        try:
            return [result for trainer in self._trainers for result in trainer.advance()]
        except EmcError:
            raise
        except Exception as error:
            raise as_training_error(error) from error
