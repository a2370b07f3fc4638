"""The executor of a drive: each setup's probes go to what trains it best."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from emc.errors import SpecError
from emc.executors.base import Executor
from emc.executors.choice import Choice, Place, choose, place, predictions
from emc.executors.clusters import find_cluster
from emc.executors.inline import InlineExecutor
from emc.executors.processes import WAIT_S, ProcessExecutor
from emc.results import ProbeFailure, ProbeResult, RunningProbe
from emc.specs import Execution, Probe
from emc.training.checkpoints import Checkpoints
from emc.training.setup import Setup

logger = logging.getLogger("emc")


def make_executor(
    setups: Mapping[str, Setup], execution: Execution, searches: int = 1, folder: str | Path | None = None
) -> Executor:
    """What trains the probes of several setups; says what it picked and why to the logger `emc`.

    Args:
        setups: by `Probe.base`.
        execution: where and how.
        searches: that ask for probes at once.
        folder: where checkpoints are kept, if any are asked for.

    Raises:
        SpecError: the trainer asked for cannot train a setup, workers were asked for and cannot be handed it, or
            checkpoints were asked for without a folder.
        ClusterError: the cluster cannot be reached.
    """
    checkpoints = _checkpoints(execution, folder)
    if execution.cluster is not None:
        return find_cluster(execution.cluster).executor(setups, execution, checkpoints)
    choices = {base: choose(setup, execution.trainer) for base, setup in setups.items()}
    single = {base: setup for base, setup in setups.items() if _may_leave(choices[base], setup, execution)}
    where = place(list(single.values()), execution, searches) if single else Place(0, "")
    processes, where = _start(single, execution, where, checkpoints)
    _tell(setups, execution, searches, choices, where)
    if processes is None:
        return InlineExecutor(setups, execution, checkpoints)
    rest = {base: setup for base, setup in setups.items() if base not in single}
    return Routed(InlineExecutor(rest, execution, checkpoints), processes, set(single)) if rest else processes


def _may_leave(choice: Choice, setup: Setup, execution: Execution) -> bool:
    """Whether worker processes may train a setup: by the choice of `place`, or for a user's function as asked for."""
    asked = execution.workers is not None or execution.probe_timeout is not None
    return choice.trainer == "single" or (asked and setup.training is not None and not setup.training.apart)


def _checkpoints(execution: Execution, folder: str | Path | None) -> Checkpoints | None:
    if execution.checkpoint_every is None:
        return None
    if folder is None:
        raise SpecError(
            f"--checkpoint-every keeps checkpoints beside a journal, got {execution.checkpoint_every:g} without one; "
            "name a file with --journal"
        )
    return Checkpoints(str(folder), execution.checkpoint_every)


def _start(
    setups: Mapping[str, Setup], execution: Execution, where: Place, checkpoints: Checkpoints | None
) -> tuple[ProcessExecutor | None, Place]:
    """Processes where they were picked; none where a setup cannot be handed to one, unless they were asked for."""
    if where.workers == 0:
        return None, where
    try:
        care = checkpoints, execution.probe_timeout
        return ProcessExecutor(setups, where.workers, execution.threads or 1, *care), where
    except (SpecError, OSError) as error:
        if execution.workers is not None:
            raise
        return None, Place(0, str(error))


def _tell(
    setups: Mapping[str, Setup], execution: Execution, searches: int, choices: Mapping[str, Choice], where: Place
) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    told: dict[str, None] = {}
    for base, choice in choices.items():
        if _may_leave(choice, setups[base], execution):
            spot = f"in {where.workers} processes" if where.workers else "in this process"
            told[f"trainer {choice.trainer}: {choice.why}; {spot}: {where.why}"] = None
        elif choice.trainer == "opaque":
            training = setups[base].training
            apart = training is not None and training.apart
            spot = "each is a program of its own" if apart else "in this process; --workers trains several at once"
            told[f"trainer opaque: {choice.why}; {spot}"] = None
        elif choice.trainer == "direct":
            told[f"trainer direct: {choice.why}"] = None
        elif not any(text.startswith(f"trainer {choice.trainer}") for text in told):
            seconds = predictions(setups[base], execution, searches)
            said = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
            told[f"trainer {choice.trainer}: {choice.why}; predicted here {said}"] = None
    for text in told:
        logger.info(text)


class Routed:
    """Some setups' probes train in this process, the others' in worker processes.

    Args:
        inline: trains here.
        processes: train elsewhere.
        elsewhere: bases of their probes.
    """

    def __init__(self, inline: InlineExecutor, processes: ProcessExecutor, elsewhere: set[str]) -> None:
        self._inline, self._processes, self._elsewhere = inline, processes, elsewhere
        self.name = f"{inline.name} and {processes.name}"

    def _of(self, probe: Probe) -> Executor:
        return self._processes if probe.base in self._elsewhere else self._inline

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; see `Executor.add`."""
        self._of(probe).add(probe, ahead=ahead)

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; how far it was, if it was under way."""
        return self._of(probe).drop(probe)

    def running(self) -> list[RunningProbe]:
        """The trainings under way."""
        return self._inline.running() + self._processes.running()

    def room(self) -> int:
        """Probes that could start now, whichever trainer they are for."""
        return min(self._inline.room(), self._processes.room())

    def wants(self) -> int:
        """What the hungrier of both wants, since the next probe may be for it; see `Executor.wants`."""
        return max(self._inline.wants(), self._processes.wants())

    def advance(self) -> Sequence[ProbeResult | ProbeFailure]:
        """Keep the workers busy, train here up to the next exact count, or wait for news if there is nothing to train.

        Raises:
            EmcError: nothing more can be trained here at all.
        """
        self._processes.start()
        results = self._inline.advance()
        idle = not results and not self._inline.running()
        return [*results, *self._processes.collect(WAIT_S if idle else 0.0)]

    def save(self) -> None:
        """Keep the trainings under way; see `Executor.save`."""
        self._processes.save()
        self._inline.save()

    def close(self) -> None:
        """End the workers, let go of all probes."""
        self._inline.close()
        self._processes.close()
