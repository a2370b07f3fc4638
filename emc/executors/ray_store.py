"""What trains, in the object store of a Ray cluster."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Hashable, Mapping
from typing import Any

import numpy.typing as npt
import ray

from emc.executors.payload import pack
from emc.executors.ray_task import Pack
from emc.training.setup import Setup

logger = logging.getLogger("emc")

#: Bytes from which an array is an object of its own.
LARGE = 1 << 14


class Store:
    """Setups in Ray's object store: each is put there once, its arrays once for all, and nodes fetch them once.

    Args:
        setups: by `Probe.base`; packed when first asked for.

    Attributes:
        generation: how often everything was put anew.
    """

    def __init__(self, setups: Mapping[str, Setup]) -> None:
        self._setups = setups
        self._name = uuid.uuid4().hex
        self.generation = 0
        self._packs: dict[str, Pack] = {}
        self._arrays: dict[Hashable, tuple[int, npt.NDArray[Any], Any]] = {}

    def pack(self, base: str) -> Pack:
        """A setup as workers find it.

        Raises:
            SpecError: it cannot be pickled.
        """
        if base not in self._packs:
            used: dict[int, Any] = {}

            def save(array: npt.NDArray[Any]) -> int:
                place = (array.__array_interface__["data"][0], array.dtype.str, array.shape, array.strides)
                if place not in self._arrays:
                    self._arrays[place] = len(self._arrays), array, put(array)  # kept: its place is nobody else's
                key, _, reference = self._arrays[place]
                used[key] = reference
                return key

            content = pack(self._setups[base], save, LARGE)
            self._packs[base] = Pack(f"{self._name}-{base}", put(content), used)
        return self._packs[base]

    def put_again(self, generation: int) -> None:
        """Forget the objects of a generation, of which some were lost; a later one is there already."""
        if generation == self.generation:
            logger.warning("a node is gone that held the data; they are put into the cluster again")
            self.generation += 1
            self._packs.clear()
            self._arrays.clear()


def put(value: Any) -> Any:
    """A reference to a value in Ray's object store."""
    return ray.put(value)
