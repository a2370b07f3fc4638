"""What the engine drives: anything that asks for probes and is told their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from emc.results import ProbeResult, Status


@dataclass(frozen=True)
class Ask:
    """One probe a search wants."""

    n: int
    attempt: int = 0
    replicate: int = 0


class AskTell(Protocol):
    """A search as the engine sees it; results may be told in any order."""

    def ask(self, most: int) -> list[Ask]:
        """The probes it waits for, none once it has ended.

        Args:
            most: 1 asks for what it needs now, which may be several probes; more adds up to so many sizes in all that
                it could need next, the likeliest first.
        """
        ...

    def tell(self, ask: Ask, result: ProbeResult) -> None:
        """Take in a result."""
        ...

    def bounds(self) -> tuple[int, int | None]:
        """The bracket so far, for whoever watches."""
        ...

    def status(self) -> Status | None:
        """How it ended; None while it goes on."""
        ...
