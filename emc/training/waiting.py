"""Probes that wait for their turn: needed ones first, those asked ahead of need behind them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from emc.specs import Probe


class Waiting:
    """A queue of probes, each kind in the order it came.

    >>> waiting = Waiting()
    >>> waiting.add(Probe("base", 32, 0), ahead=True)
    >>> waiting.add(Probe("base", 16, 0))
    >>> waiting.take().n, waiting.take().n
    (16, 32)
    """

    def __init__(self) -> None:
        self._needed: OrderedDict[Probe, None] = OrderedDict()
        self._ahead: OrderedDict[Probe, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._needed) + len(self._ahead)

    def __iter__(self) -> Iterator[Probe]:
        """The probes in the order of their turns."""
        return iter([*self._needed, *self._ahead])

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; one that waits as asked ahead becomes needed if it comes again without."""
        if not ahead:
            self._ahead.pop(probe, None)
        (self._ahead if ahead else self._needed)[probe] = None

    def put_back(self, probes: Iterable[Probe]) -> None:
        """Let probes that had their turn wait again, before all others and in this order."""
        for probe in reversed(list(probes)):
            self._needed[probe] = None
            self._needed.move_to_end(probe, last=False)

    def remove(self, probe: Probe) -> None:
        """Forget a probe, if it waits."""
        self._needed.pop(probe, None)
        self._ahead.pop(probe, None)

    def peek(self) -> Probe:
        """The next probe."""
        return next(iter(self._needed or self._ahead))

    def take(self) -> Probe:
        """The next probe, which waits no longer."""
        return (self._needed or self._ahead).popitem(last=False)[0]

    def clear(self) -> None:
        """Forget all."""
        self._needed.clear()
        self._ahead.clear()
