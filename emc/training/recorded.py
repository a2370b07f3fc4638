"""Steps on a GPU recorded once and replayed: with small nets, launching one operation after another is all the cost.

A recorded step (a CUDA graph) runs the very kernels of the step it was recorded from, on the same memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

logger = logging.getLogger("emc")

#: Steps that are done as they are before one is recorded: by then libraries have loaded their kernels and workspaces.
WARM = 3

#: Steps to come for which recording pays: it takes about as long as a few steps.
LEAST = 10

#: Of each device the stream that steps are recorded and replayed on, and the memory that they have in common: they
#: follow one another, and none leaves anything there for another.
_streams: dict[torch.device, torch.cuda.Stream] = {}
_pools: dict[torch.device, Any] = {}


class Recorded:
    """A step recorded on the current stream, to be replayed there.

    Args:
        step: does one step, on tensors that stay where they are; recording runs it without any effect on them.

    Raises:
        Exception: whatever the step does, or CUDA where it holds something that cannot be recorded.
    """

    def __init__(self, step: Callable[[], None]) -> None:
        self._graph = torch.cuda.CUDAGraph()
        device = torch.device("cuda", torch.cuda.current_device())
        if device not in _pools:
            _pools[device] = torch.cuda.MemPool()
        self._graph.capture_begin(pool=_pools[device].id)
        try:
            step()
        except BaseException:
            _abandon(self._graph)
            raise
        self._graph.capture_end()

    def replay(self) -> None:
        """Do the step."""
        self._graph.replay()


def _abandon(graph: torch.cuda.CUDAGraph) -> None:
    try:
        graph.capture_end()
    except RuntimeError as error:  # that the recording is void
        logger.debug("a recording was given up: %s", error)


def try_recording(step: Callable[[], None]) -> Recorded | None:
    """The step recorded; None, and a word to the logger `emc`, where that cannot be done."""
    try:
        return Recorded(step)
    except RuntimeError as error:
        logger.info("steps are not recorded as a CUDA graph: %s", str(error).splitlines()[0] if str(error) else "")
        return None


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """On a GPU a stream on which steps can be recorded, one for each device; elsewhere nothing."""
    if device.type != "cuda":
        yield
        return
    if device not in _streams:
        _streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream = _streams[device]
    stream.wait_stream(torch.cuda.current_stream(device))
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        torch.cuda.current_stream(device).wait_stream(stream)
