"""The one contract between the engine and whatever trains."""

from __future__ import annotations

from typing import Protocol

from emc.results import ProbeResult, RunningProbe
from emc.specs import Probe


class Executor(Protocol):
    """Takes probes and hands back verdicts; probes are deterministic and may be started anew at any time."""

    name: str

    def add(self, probe: Probe) -> None:
        """Take a probe in."""
        ...

    def drop(self, probe: Probe) -> None:
        """Forget a probe, under way or not."""
        ...

    def running(self) -> list[RunningProbe]:
        """The trainings under way."""
        ...

    def advance(self) -> list[ProbeResult]:
        """Go on for a moment; the verdicts that came."""
        ...
