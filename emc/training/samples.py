"""One replicate's samples in their order, on the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import torch

from emc.data.dataset import Dataset
from emc.data.regimes import BLOCK, INPUTS, PoolStatistics, merge_classes, replicate_inputs, replicate_labels
from emc.seeds import order_key
from emc.specs import Task

if TYPE_CHECKING:
    from torch import Tensor


#: Replicates whose samples are kept though nothing is trained on them.
KEPT = 64


class Pool:
    """A dataset as whole tensors on one device, shared by all replicates.

    Args:
        dataset: the pool.
        task: its regimes.
        seed: of the measurement.
        device, dtype: where and how inputs are held.
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
        self.X: Tensor | None = None
        self.test_X: Tensor | None = None
        if like is not None and like.natural and self.natural:
            self.X, self.test_X = like.X, like.test_X
        elif self.natural:
            self.X = dataset.X.to(device, dtype)
            self.test_X = None if dataset.test is None else dataset.test.X.to(device, dtype)
        self._statistics: list[PoolStatistics] = [] if like is None else like._statistics
        self._samples: WeakValueDictionary[int, Samples] = WeakValueDictionary()
        self._recent: deque[Samples] = deque(maxlen=KEPT) if like is None else like._recent

    def __getstate__(self) -> dict[str, Any]:
        """All but the samples made so far: another process makes its own."""
        return {name: value for name, value in vars(self).items() if name not in ("_samples", "_recent")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._samples, self._recent = WeakValueDictionary(), deque(maxlen=KEPT)

    @property
    def statistics(self) -> PoolStatistics:
        """Mean and spread of the natural inputs, computed once."""
        if not self._statistics:
            self._statistics.append(PoolStatistics(self.dataset.X.numpy()))
        return self._statistics[0]

    def samples(self, replicate: int) -> Samples:
        """The replicate's samples, made anew once nobody holds them and `KEPT` others came after."""
        found = self._samples.get(replicate)
        if found is None:
            found = self._samples[replicate] = Samples(self, replicate)
            self._recent.append(found)
        return found


class Samples:
    """A replicate's draw: order, labels and inputs; a probe at n sees the first n.

    Attributes:
        y: (rows,) int64 labels at each position of the order, on the device.
        num_classes: K.
        first_conflict: smallest n whose samples hold equal inputs with different labels; None if there is none.
    """

    def __init__(self, pool: Pool, replicate: int) -> None:
        facts, task = pool.dataset.facts, pool.task
        self._pool = pool
        self._key = order_key(pool.seed, facts.content_hash, replicate)
        self._order = np.random.Generator(np.random.Philox(self._key)).permutation(facts.rows)
        labels, self.num_classes = replicate_labels(
            pool.dataset.y.numpy(), len(facts.classes), task.labels, task.classes, self._key
        )
        self.y = torch.from_numpy(labels[self._order]).to(pool.device)
        self.first_conflict = self._find_conflict(labels[self._order])
        self._index = torch.from_numpy(self._order).to(pool.device)
        self._own: Tensor | None = None

    def _find_conflict(self, labels: npt.NDArray[np.int64]) -> int | None:
        pool = self._pool
        if pool.dataset.facts.repeats == 0 or not INPUTS.get(pool.task.inputs.name).facts.get("keeps_repeats"):
            return None
        seen: dict[int, int] = {}
        for position, group in enumerate(pool.dataset.group.numpy()[self._order]):
            if seen.setdefault(int(group), int(labels[position])) != labels[position]:
                return position + 1
        return None

    def store(self, n: int) -> tuple[Tensor, Tensor]:
        """Inputs and where the first n samples are in them: (rows, *shape) and (n,) int64 row numbers.

        Natural inputs share one tensor among all replicates; a regime's inputs are made when first needed.
        """
        if self._pool.X is not None:
            return self._pool.X, self._index[:n]
        if self._own is None or len(self._own) < n:
            self._own = self._make(n)
        return self._own, torch.arange(n, device=self._pool.device)

    def _make(self, n: int) -> Tensor:
        """The regime's inputs for at least n positions, doubling what there was."""
        pool, rows = self._pool, len(self._order)
        old = self._own
        start = 0 if old is None else len(old)
        stop = min(rows, -(-max(n, 2 * start) // BLOCK) * BLOCK)
        X = pool.dataset.X.numpy()[self._order[start:stop]]
        made = replicate_inputs(X, pool.statistics, pool.task.inputs, self._key, start, stop)
        new = torch.from_numpy(made).to(pool.device, pool.dtype)
        return new if old is None else torch.cat([old, new])

    @property
    def test(self) -> tuple[Tensor, Tensor] | None:
        """Held-out inputs in the replicate's input regime and their clean labels, its classes merged; None without any.

        Natural inputs are one tensor for all replicates. A regime's are made at each call; their positions follow the
        pool's, so that its noise is fresh.
        """
        pool, held = self._pool, self._pool.dataset.test
        if held is None:
            return None
        y = merge_classes(held.y.numpy(), len(pool.dataset.facts.classes), self.num_classes, self._key)
        labels = torch.from_numpy(y).to(pool.device)
        if pool.test_X is not None:
            return pool.test_X, labels
        start = -(-len(self._order) // BLOCK) * BLOCK
        X = replicate_inputs(held.X.numpy(), pool.statistics, pool.task.inputs, self._key, start, start + len(held.X))
        return torch.from_numpy(X).to(pool.device, pool.dtype), labels

    def first(self, n: int) -> tuple[Tensor, Tensor]:
        """The first n inputs and labels as tensors of their own: (n, *shape) and (n,)."""
        store, index = self.store(n)
        return store.index_select(0, index), self.y[:n]


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
