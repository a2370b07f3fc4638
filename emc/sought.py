"""What the engine keeps of each search, and of each probe that searches wait for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from emc.errors import EmcError
from emc.results import Status
from emc.search.base import Ask, AskTell
from emc.specs import Probe


@dataclass(frozen=True)
class Sought:
    """A search to be driven.

    Attributes:
        base: what its probes share (`Probe.base`).
        search: asks for probes.
        cell: its measurement: a training that comes to no verdict ends all searches of the measurement.
    """

    base: str
    search: AskTell
    cell: int = 0


@dataclass(eq=False)
class Line:
    """A search with the probes it waits for, by key.

    Attributes:
        number: its place among the searches.
        sought: the search.
        needed, ahead: probes that are out for it.
        guesses: the next ones to be asked ahead, the likeliest first.
        refused: those that cannot be, for now.
        told: probes that are out for it though it knows their verdict.
        breadth: of what was asked of the search last, guesses included.
        exhausted: whether it has no more guesses.
        offered: probes ahead when it was last offered for more; -1 once it was taken up.
        shown: its bracket as the observer sees it; None where it is to be made anew.
        ended: whether it asks for nothing more.
        error: why it came to no end of its own.
    """

    number: int
    sought: Sought
    needed: dict[str, Ask] = field(default_factory=dict)
    ahead: dict[str, Ask] = field(default_factory=dict)
    guesses: deque[tuple[Probe, Ask]] = field(default_factory=deque)
    refused: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    breadth: int = 1
    exhausted: bool = False
    offered: int = -1
    shown: tuple[int, int | None, Status | None] | None = None
    ended: bool = False
    error: EmcError | None = None

    def probe(self, ask: Ask) -> Probe:
        """What the search asks for."""
        return Probe(self.sought.base, ask.n, ask.replicate, ask.attempt)

    def bracket(self) -> tuple[int, int | None, Status | None]:
        """Lower and upper end by now, and how it ended or None."""
        if self.shown is None:
            status = self.sought.search.status() if self.error is None else Status.FAILED
            self.shown = (*self.sought.search.bounds(), status)
        return self.shown


@dataclass(eq=False)
class Out:
    """A probe that searches wait for, and whether it was handed to the executor."""

    probe: Probe
    lines: dict[Line, Ask] = field(default_factory=dict)
    handed: bool = False


class Queue:
    """Probes that wait to be handed out, those of earlier searches first."""

    def __init__(self) -> None:
        self._waiting: dict[str, Out] = {}
        self._order: list[tuple[int, int, str]] = []  # heap, some of it outdated
        self._count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, out: Out) -> None:
        """Let a probe wait."""
        self._waiting[out.probe.key] = out
        self._count += 1
        heappush(self._order, (min(line.number for line in out.lines), self._count, out.probe.key))

    def remove(self, key: str) -> None:
        """Forget a probe, if it waits."""
        self._waiting.pop(key, None)

    def take(self, most: int) -> list[Out]:
        """The next probes, which wait no longer."""
        taken: list[Out] = []
        while self._waiting and len(taken) < most:
            out = self._waiting.pop(heappop(self._order)[2], None)
            taken += [] if out is None else [out]
        return taken
