"""What a task of Ray does on a worker."""

from __future__ import annotations

import os
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import ray
import torch
from ray.exceptions import RayError

from emc.errors import ClusterError
from emc.executors.inline import InlineExecutor
from emc.executors.payload import unpack
from emc.executors.remote import News, prepare_process, train
from emc.specs import RESULTS_VERSION, Execution, Probe
from emc.training.checkpoints import Checkpoints
from emc.training.setup import Setup

#: Setups that a worker keeps for further tasks.
KEPT = 256

#: Setups unpacked in this process, by the name of their pack, those used last at the end.
_unpacked: OrderedDict[str, Setup] = OrderedDict()


@dataclass(frozen=True)
class Pack:
    """A setup in Ray's object store.

    Attributes:
        name: its own among all packs.
        content: reference to what `pack` gave.
        arrays: references to its large arrays, by their keys.
    """

    name: str
    content: Any
    arrays: Mapping[int, Any]


@dataclass(frozen=True)
class Started:
    """The task has everything it needs and begins to train."""


@dataclass(frozen=True)
class Lost:
    """The object store holds what trains no more: the node is gone that had it."""


def versions() -> tuple[Any, ...]:
    """What must be the same on all machines for a verdict to be what the driver takes it for."""
    return RESULTS_VERSION, torch.__version__.split("+")[0], np.__version__


def run(
    packs: Mapping[str, Pack],
    probes: Sequence[Probe],
    execution: Execution,
    checkpoints: Checkpoints | None,
    expected: tuple[Any, ...],
    stopped: Callable[[], bool],
) -> Iterator[Started | Lost | News]:
    """Train probes, and tell.

    Args:
        packs: what trains, by `Probe.base`.
        probes: to be trained.
        execution: of this task.
        checkpoints: where trainings are kept; None keeps none.
        expected: `versions` of the driver.
        stopped: whether to stop, asked between two exact counts.

    Raises:
        ClusterError: this machine's packages are other ones.
    """
    if versions() != expected:
        raise ClusterError(
            f"all machines of a cluster must have the same versions of results, torch and numpy, got {versions()} on a "
            f"worker and {expected} here; install the same ones"
        )
    try:
        setups = {base: _unpack(pack) for base, pack in packs.items()}
    except RayError:  # whichever way the objects cannot be had
        yield Lost()
        return
    prepare_process(setups.values(), execution.threads or 1)
    executor = InlineExecutor(setups, execution, checkpoints)
    yield Started()
    try:
        yield from train(executor, probes, stopped)
    except Exception:  # such as a GPU that works no more: another worker may do better
        traceback.print_exc()
        os._exit(1)


def _unpack(pack: Pack) -> Setup:
    if pack.name not in _unpacked:
        arrays = dict(zip(pack.arrays, ray.get(list(pack.arrays.values())), strict=True))
        _unpacked[pack.name] = cast("Setup", unpack(ray.get(pack.content), arrays.__getitem__))
        while len(_unpacked) > KEPT:
            _unpacked.popitem(last=False)
    _unpacked.move_to_end(pack.name)
    return _unpacked[pack.name]
