"""The one contract between the engine and whatever trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from emc.results import ProbeFailure, ProbeResult, RunningProbe
from emc.specs import Probe
from emc.training.failing import as_training_error

__all__ = ["Executor", "as_training_error"]


class Executor(Protocol):
    """Takes probes and hands back verdicts; probes are deterministic and may be started anew at any time."""

    name: str

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in.

        Args:
            probe: what to train; added again without `ahead`, one that was asked ahead is needed from now on.
            ahead: asked ahead of need: while it waits, all needed ones go before it. The engine asks ahead within
                `room` only, and drops such probes where a needed one finds none.
        """
        ...

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; how far it was, if it was under way."""
        ...

    def running(self) -> list[RunningProbe]:
        """The trainings under way."""
        ...

    def room(self) -> int:
        """Probes that could start now without slowing those under way."""
        ...

    def wants(self) -> int:
        """Needed probes that it would take in now so as not to run short of work; the engine keeps the others."""
        ...

    def advance(self) -> Sequence[ProbeResult | ProbeFailure]:
        """Go on for a moment; the verdicts that came, and the trainings that came to none.

        Raises:
            EmcError: nothing more can be trained here at all; what a single training raises is its `ProbeFailure`.
        """
        ...

    def save(self) -> None:
        """Keep what is under way in checkpoints, where they are asked for; called before `close` when a run is stopped.

        Takes seconds at most: a training in a call that does not end by then keeps its last checkpoint. `drop`, in
        contrast, removes a probe's checkpoint.
        """
        ...

    def close(self) -> None:
        """Let go of threads, processes and memory; what is under way is forgotten."""
        ...
