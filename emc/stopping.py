"""Stopping a run: Ctrl-C, SIGTERM or SIGHUP once asks it to stop, Ctrl-C once more stops it at once."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger("emc")

#: Asks a run to stop: Ctrl-C, what a batch system sends before it takes the machine away, a terminal that is closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: The signals that asked the run under way to stop; None while there is no run.
_asked: list[int] | None = None


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Whether the run was asked to stop.

    The first signal only asks; what runs is then dropped, and what is known is kept and shown. A second Ctrl-C raises
    `KeyboardInterrupt` wherever the run is. Only the main thread is sent signals; anywhere else nobody asks.

    It may be entered anew inside: a run of several drives, such as one that tunes first, stops as a whole.
    """
    global _asked
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    if _asked is not None:
        outer = _asked
        yield lambda: bool(outer)
        return
    asked = _asked = []

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's signature
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not asked:
            logger.warning("stopping (%s); Ctrl-C once more stops at once", signal.Signals(number).name)
        asked.append(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield lambda: bool(asked)
    finally:
        _asked = None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def no_interrupt() -> Iterator[None]:
    """Ctrl-C waits for the end of the block, and a process that is started in it never sees one.

    Outside the main thread only the latter holds, since the main thread is the one that is interrupted.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by what is started
    asked: list[int] = []
    here = threading.current_thread() is threading.main_thread()
    # The mask is of this thread only: the signal may come to another, which has it handled here all the same.
    handler = signal.signal(signal.SIGINT, lambda number, _frame: asked.append(number)) if here else None
    try:
        yield
    finally:
        if here:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        if asked:
            signal.raise_signal(signal.SIGINT)
