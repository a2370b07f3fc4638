"""One replicate's samples in their order, on the device."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import torch

from emc.data.dataset import Dataset
from emc.data.regimes import (
    BLOCK,
    INPUTS,
    PoolStatistics,
    check_classes,
    merge_classes,
    replicate_inputs,
    replicate_labels,
)
from emc.data.rows import Rows
from emc.errors import TrainingError
from emc.seeds import order_key
from emc.specs import Task
from emc.training import inputs as held_inputs
from emc.training.inputs import Gathered, moved
from emc.training.memory import SHARE, free_memory

if TYPE_CHECKING:
    from torch import Tensor


#: Replicates whose samples are kept though nothing is trained on them.
KEPT = 64

#: Positions of an order that are kept at least; a longer order is drawn anew when more of it is needed.
LEAST_DRAWN = 1 << 20

#: Rows read at once into a tensor that holds them all.
READ_AT_ONCE = 4096

#: What a pool makes of its dataset.
MADE = ("X", "test_X", "_shared", "_samples", "_recent")


class Pool:
    """A dataset on one device, shared by all replicates: whole tensors, or rows read when they are needed.

    Args:
        dataset: the pool.
        task: its regimes.
        seed: of the measurement.
        device, dtype: where and how inputs are held, from when they are first used: a cluster's device may be one that
            this machine does not have.
        like: a pool of the same dataset, device and dtype, whose inputs are shared where they can be; both together
            then keep `KEPT` replicates.
    """

    def __init__(
        self,
        dataset: Dataset,
        task: Task,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        like: Pool | None = None,
    ) -> None:
        self.dataset, self.task, self.seed = dataset, task, seed
        self.device, self.dtype = device, dtype
        self.natural = INPUTS.get(task.inputs.name).factory is INPUTS.get("natural").factory
        self._like = like if like is not None and like.natural else None
        self._statistics: list[PoolStatistics] = [] if like is None else like._statistics
        self._samples: WeakValueDictionary[int, Samples] = WeakValueDictionary()
        self._recent: deque[Samples] = deque(maxlen=KEPT) if like is None else like._recent

    @cached_property
    def X(self) -> Tensor | None:  # noqa: N802
        """Natural inputs, on the device; None where a regime makes them or they are not in memory."""
        if self.natural and self._like is not None:
            return self._like.X
        held = self.dataset.rows.held
        return held.to(self.device, self.dtype) if self.natural and held is not None else None

    @cached_property
    def _shared(self) -> _Shared:
        if self._like is not None:
            return self._like._shared
        return _Shared(self.dataset.rows, self.device, self.dtype)

    def shared(self, index: npt.NDArray[np.int64]) -> Tensor:
        """A tensor of all natural inputs in which some rows are there: read now, or before for any replicate."""
        return self._shared.with_rows(index)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's inputs."""
        return math.prod(self.dataset.facts.shape) * self.dtype.itemsize

    @property
    def streams(self) -> bool:
        """Whether the inputs are not in memory and all together too large to be held there: a rule without chance."""
        rows = self.dataset.rows
        return rows.held is None and len(rows) * self.row_bytes > held_inputs.HELD_BYTES

    def fits(self, rows: int) -> bool:
        """Whether so many rows of a pool that streams may be held; of any other they may."""
        if not self.streams:
            return True
        needed = rows * self.row_bytes
        return needed <= held_inputs.HELD_BYTES and 2 * needed <= SHARE * free_memory(self.device)

    def let_go(self) -> None:
        """Forget the inputs that replicates hold for themselves; they are read again where they are needed."""
        for samples in self._samples.values():
            samples.let_go()

    @cached_property
    def test_X(self) -> Tensor | None:  # noqa: N802
        """Natural inputs of the rows held out, on the device; None where a regime makes them, or none are in memory."""
        if self.natural and self._like is not None:
            return self._like.test_X
        test = self.dataset.test
        held = test.rows.held if test is not None else None
        return held.to(self.device, self.dtype) if self.natural and held is not None else None

    def __getstate__(self) -> dict[str, Any]:
        """All but what was made of the dataset so far: another process makes its own."""
        return {name: value for name, value in vars(self).items() if name not in MADE}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._samples, self._recent = WeakValueDictionary(), deque(maxlen=KEPT)

    @property
    def statistics(self) -> PoolStatistics:
        """Mean and spread of the natural inputs, or of `Rows.sample` of them; computed once."""
        if not self._statistics:
            self._statistics.append(PoolStatistics(self.dataset.rows.sample()))
        return self._statistics[0]

    def samples(self, replicate: int) -> Samples:
        """The replicate's samples, made anew once nobody holds them and `KEPT` others came after."""
        found = self._samples.get(replicate)
        if found is None:
            found = self._samples[replicate] = Samples(self, replicate)
            self._recent.append(found)
        return found


class _Shared:
    """One tensor of all rows, filled as they are needed; on a CPU its empty part takes no memory."""

    def __init__(self, rows: Rows, device: torch.device, dtype: torch.dtype) -> None:
        self._rows = rows
        self._X = torch.empty(len(rows), *rows.shape, device=device, dtype=dtype)
        self._there = np.zeros(len(rows), dtype=bool)

    def with_rows(self, index: npt.NDArray[np.int64]) -> Tensor:
        missing = np.sort(index[~self._there[index]])
        for start in range(0, len(missing), READ_AT_ONCE):
            part = missing[start : start + READ_AT_ONCE]
            made = moved(torch.from_numpy(self._rows.read(part)), self._X.device, self._X.dtype)
            self._X[torch.from_numpy(part).to(self._X.device)] = made
            self._there[part] = True
        return self._X


class Samples:
    """A replicate's draw: order, labels and inputs; a probe at n sees the first n.

    Attributes:
        num_classes: K.
    """

    def __init__(self, pool: Pool, replicate: int) -> None:
        facts, task = pool.dataset.facts, pool.task
        self._pool, self._rows = pool, facts.rows
        self._key = order_key(pool.seed, facts.content_hash, replicate)
        self.num_classes = check_classes(len(facts.classes), task.labels, task.classes)
        self._order = np.empty(0, dtype=np.int64)
        self._y = self._index = torch.empty(0, dtype=torch.int64)
        self._own: Tensor | None = None

    def _draw(self, n: int) -> None:
        """Order and labels of at least n positions, as the whole order begins."""
        if n <= len(self._order):
            return
        length = min(self._rows, max(2 * n, LEAST_DRAWN))
        order, labels = self._whole()
        self._order = order[:length].copy()
        self._y = torch.from_numpy(labels[self._order]).to(self._pool.device)
        self._index = torch.from_numpy(self._order).to(self._pool.device)

    def _whole(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The whole order, and each row's label."""
        dataset, task = self._pool.dataset, self._pool.task
        order = np.random.Generator(np.random.Philox(self._key)).permutation(self._rows)
        labels, _ = replicate_labels(
            dataset.y.numpy(), len(dataset.facts.classes), task.labels, task.classes, self._key
        )
        return order, labels

    def labels(self, n: int) -> Tensor:
        """(n,) int64 labels of the first n samples, on the device."""
        self._draw(n)
        return self._y[:n]

    @property
    def y(self) -> Tensor:
        """(rows,) int64 labels of the whole order, on the device."""
        return self.labels(self._rows)

    @cached_property
    def first_conflict(self) -> int | None:
        """Smallest n whose samples hold equal inputs with different labels; None if there is none."""
        facts = self._pool.dataset.facts
        keeps = INPUTS.get(self._pool.task.inputs.name).facts.get("keeps_repeats")
        if facts.repeats == 0 or facts.duplicates == "drop" or not keeps:
            return None
        order, labels = self._whole()
        _, first, group = np.unique(self._pool.dataset.group.numpy()[order], return_index=True, return_inverse=True)
        differs = labels[order] != labels[order[first]][group]
        return int(differs.argmax()) + 1 if differs.any() else None

    def store(self, n: int) -> tuple[Tensor, Tensor]:
        """Inputs and where the first n samples are in them: (rows, *shape) and (n,) int64 row numbers.

        Natural inputs share one tensor among all replicates, unless all of them are too many for memory; a regime's
        inputs are made when first needed.

        Raises:
            TrainingError: n samples of a pool that is not in memory are too many for it.
        """
        self._draw(n)
        pool = self._pool
        if pool.X is not None:
            return pool.X, self._index[:n]
        if pool.natural and not pool.streams:
            return pool.shared(self._order[:n]), self._index[:n]
        if self._own is None or len(self._own) < n:
            self._own = self._make(n)
        return self._own, torch.arange(n, device=pool.device)

    def inputs(self, n: int) -> tuple[Tensor | Gathered, Tensor]:
        """As `store`, but where n samples are too many for memory their inputs are gathered at each use.

        Raises:
            TrainingError: they are too many, and a regime makes them.
        """
        pool = self._pool
        if pool.fits(n) or not pool.natural:
            return self.store(n)
        self._draw(n)
        gathered = Gathered(pool.dataset.rows, self._order[:n], pool.device, pool.dtype)
        return gathered, torch.arange(n, device=pool.device)

    def fits(self, n: int) -> bool:
        """Whether the first n samples may be held in memory."""
        return self._pool.fits(n)

    def let_go(self) -> None:
        """Forget the inputs that are this replicate's own."""
        self._own = None

    def _make(self, n: int) -> Tensor:
        """The inputs of at least n positions; of a regime, doubling what there was."""
        pool = self._pool
        old = self._own
        start = 0 if old is None else len(old)
        stop = n if pool.natural else min(self._rows, -(-max(n, 2 * start) // BLOCK) * BLOCK)
        if pool.streams:
            pool.let_go()  # of other replicates, so that one at a time is held
            if not pool.fits(stop):
                raise TrainingError(
                    f"inputs {pool.task.inputs} of a pool this large must fit into memory, got n={n} samples of "
                    f"{pool.row_bytes:,} bytes; lower --n-max"
                )
        self._draw(stop)
        parts = [] if old is None else [old]
        for at in range(start, stop, READ_AT_ONCE):
            end = min(at + READ_AT_ONCE, stop)
            X = pool.dataset.rows.read(self._order[at:end])
            if not pool.natural:
                X = replicate_inputs(X, pool.statistics, pool.task.inputs, self._key, at, end)
            parts.append(moved(torch.from_numpy(X), pool.device, pool.dtype))
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    @property
    def test(self) -> tuple[Tensor | Gathered, Tensor] | None:
        """Held-out inputs in the replicate's input regime and their clean labels, its classes merged; None without any.

        Natural inputs are one tensor for all replicates, or gathered at each use. A regime's are made at each call;
        their positions follow the pool's, so that its noise is fresh.
        """
        pool, held = self._pool, self._pool.dataset.test
        if held is None:
            return None
        y = merge_classes(held.y.numpy(), len(pool.dataset.facts.classes), self.num_classes, self._key)
        labels = torch.from_numpy(y).to(pool.device)
        if pool.test_X is not None:
            return pool.test_X, labels
        if pool.natural:
            return Gathered(held.rows, np.arange(len(y)), pool.device, pool.dtype), labels
        start = -(-self._rows // BLOCK) * BLOCK
        X = replicate_inputs(held.X.numpy(), pool.statistics, pool.task.inputs, self._key, start, start + len(y))
        return torch.from_numpy(X).to(pool.device, pool.dtype), labels

    def first(self, n: int) -> tuple[Tensor, Tensor]:
        """The first n inputs and labels as tensors of their own: (n, *shape) and (n,).

        Raises:
            TrainingError: see `store`.
        """
        store, index = self.store(n)
        return store.index_select(0, index), self.labels(n)


class Batches:
    """A reshuffled cyclic stream of positions 0 .. n - 1: no sample is ever skipped.

    Args:
        n: samples.
        size: positions a batch, at most n.
        seed: of the stream.
    """

    def __init__(self, n: int, size: int, seed: int) -> None:
        self._n, self._size = n, size
        self._generator = torch.Generator().manual_seed(seed)
        self._rest = torch.empty(0, dtype=torch.int64)

    def state(self) -> dict[str, Any]:
        """What `load_state` takes."""
        return {"generator": self._generator.get_state(), "rest": self._rest}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where another stream of the same probe was."""
        self._generator.set_state(state["generator"])
        self._rest = state["rest"]

    def take(self, steps: int) -> Tensor:
        """The next batches: (steps, size) int64 on the CPU."""
        if self._size == self._n:  # every batch is the whole: its order changes nothing
            return torch.arange(self._n).expand(steps, self._n)
        pieces, held, wanted = [self._rest], len(self._rest), steps * self._size
        while held < wanted:
            pieces.append(torch.randperm(self._n, generator=self._generator))
            held += self._n
        stream = torch.cat(pieces)
        self._rest = stream[wanted:]
        return stream[:wanted].view(steps, self._size)
