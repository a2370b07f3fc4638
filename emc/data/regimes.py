"""Label and input regimes as pure functions of a key, row by row (DESIGN 2.2 and 2.11).

A label regime sees the semantic labels of the whole pool and returns one label a pool row. An input regime sees rows in
their replicate's order, a block at a time, so that a prefix of the order always has the same inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.errors import SpecError
from emc.registry import PluginSpec, Registry
from emc.seeds import derive

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Labels = npt.NDArray[np.int64]
    Inputs = npt.NDArray[np.float32]
    LabelRegime = Callable[[Labels, int, np.random.Generator], Labels]
    InputRegime = Callable[[Inputs, "PoolStatistics", int, int], Inputs]

#: A label regime maps (semantic labels of the pool in 0 .. K - 1, K, generator) to one label a row. Facts:
#: `uniform=True` where every label is drawn uniformly, so that n log2 K bits are stored; `semantic=True` where the
#: dataset's classes matter, so that K may not exceed them.
LABELS: Registry[LabelRegime] = Registry("label regime", None, "emc.labels")

#: An input regime maps (a block of rows, pool statistics, replicate's seed, block's seed) to that block's inputs. Fact:
#: `keeps_repeats=True` where equal rows stay equal.
INPUTS: Registry[InputRegime] = Registry("input regime", None, "emc.inputs")

#: Rows of a replicate's order that share one generator.
BLOCK = 256


class PoolStatistics:
    """Mean and standard deviation of the pool, by channel for images (rows, channels, height, width), else by feature.

    Attributes:
        mean, std: broadcast against one row.
    """

    def __init__(self, X: Inputs) -> None:
        import numpy as np

        axes = (0, 2, 3) if X.ndim == 4 else (0,)
        self.mean = X.mean(axes, dtype=np.float64, keepdims=True)[0]
        self.std = X.std(axes, dtype=np.float64, keepdims=True)[0]


def _generator(seed: int) -> np.random.Generator:
    import numpy as np

    return np.random.Generator(np.random.Philox(seed))


@LABELS.register("semantic", semantic=True)
def semantic() -> LabelRegime:
    """The dataset's own labels."""
    return lambda y, _classes, _rng: y


@LABELS.register("random", uniform=True)
def random() -> LabelRegime:
    """Labels drawn uniformly over the K classes."""
    return lambda y, classes, rng: rng.integers(classes, size=len(y))


@LABELS.register("shuffled", semantic=True)
def shuffled() -> LabelRegime:
    """The dataset's own labels, permuted over the rows: class frequencies stay."""
    return lambda y, _classes, rng: rng.permutation(y)


@LABELS.register("noise", semantic=True)
def noise(*, p: float = 0.2) -> LabelRegime:
    """Each label re-drawn uniformly with probability p, so that a share p (1 - 1/K) changes."""
    if not 0 <= p <= 1:
        raise SpecError(f"label regime noise takes p between 0 and 1, got {p}")

    def regime(y: Labels, classes: int, rng: np.random.Generator) -> Labels:
        import numpy as np

        redrawn = rng.random(len(y)) < p
        return np.where(redrawn, rng.integers(classes, size=len(y)), y)

    return regime


@INPUTS.register("natural", keeps_repeats=True)
def natural() -> InputRegime:
    """The dataset's own inputs."""
    return lambda X, _pool, _replicate_seed, _block_seed: X


@INPUTS.register("gaussian")
def gaussian() -> InputRegime:
    """Gaussian noise with the pool's mean and variance, by channel or feature."""

    def regime(X: Inputs, pool: PoolStatistics, _replicate_seed: int, block_seed: int) -> Inputs:
        import numpy as np

        drawn = _generator(block_seed).standard_normal((BLOCK, *X.shape[1:]))[: len(X)]
        return np.asarray(pool.mean + pool.std * drawn, dtype=np.float32)

    return regime


@INPUTS.register("permuted", keeps_repeats=True)
def permuted() -> InputRegime:
    """One fixed permutation of features, or of pixels, for all rows of a replicate."""

    def regime(X: Inputs, _pool: PoolStatistics, replicate_seed: int, _block_seed: int) -> Inputs:
        flat = _places(X)
        order = _generator(replicate_seed).permutation(flat.shape[-1])
        return flat[..., order].reshape(X.shape)

    return regime


@INPUTS.register("pixel_shuffled")
def pixel_shuffled() -> InputRegime:
    """A permutation of features, or of pixels, drawn anew for each row."""

    def regime(X: Inputs, _pool: PoolStatistics, _replicate_seed: int, block_seed: int) -> Inputs:
        import numpy as np

        flat = _places(X)
        order = _generator(block_seed).random((BLOCK, flat.shape[-1])).argsort(axis=1)[: len(X)]
        order = order.reshape(len(X), *([1] * (flat.ndim - 2)), -1)
        return np.take_along_axis(flat, order, axis=-1).reshape(X.shape)

    return regime


def _places(X: Inputs) -> Inputs:
    """Images as (rows, channels, pixels), anything else as (rows, features)."""
    return X.reshape(*X.shape[:2], -1) if X.ndim == 4 else X.reshape(len(X), -1)


def replicate_labels(y: Labels, classes: int, spec: PluginSpec, asked: int | None, key: int) -> tuple[Labels, int]:
    """One replicate's label for every pool row.

    Args:
        y: (rows,) semantic labels.
        classes: the dataset's number of classes.
        spec: the label regime.
        asked: number of classes K asked for; None for the dataset's own.
        key: the replicate's order key.

    Returns:
        (rows,) labels in 0 .. K - 1, and K. With K below the dataset's classes these are first merged at random into K
        groups of sizes that differ by at most one.

    Raises:
        SpecError: more classes asked for than there are, where the regime needs the dataset's.
    """
    import numpy as np

    K = check_classes(classes, spec, asked)
    y = merge_classes(y, classes, K, key)
    regime = LABELS.build(spec)
    return np.asarray(regime(y, K, _generator(derive("labels", key, str(spec), K))), dtype=np.int64), K


def merge_classes(y: Labels, classes: int, K: int, key: int) -> Labels:
    """Semantic labels, the classes merged at random into K balanced groups where there are more than K."""
    import numpy as np

    if classes <= K:
        return y
    group = np.empty(classes, dtype=np.int64)
    group[_generator(derive("merge", key)).permutation(classes)] = np.arange(classes) % K
    return group[y]


def check_classes(classes: int, spec: PluginSpec, asked: int | None) -> int:
    """The number of classes K of a task, if the label regime allows it.

    Raises:
        SpecError: more classes asked for than there are, where the regime needs the dataset's.
    """
    K = classes if asked is None else asked
    if classes < K and LABELS.get(spec.name).facts.get("semantic"):
        raise SpecError(f"{spec.name} labels have at most the dataset's {classes} classes, got --classes {K}; lower it")
    return K


def replicate_inputs(X: Inputs, pool: PoolStatistics, spec: PluginSpec, key: int, start: int, stop: int) -> Inputs:
    """Inputs at the positions start .. stop of a replicate's order; both are multiples of `BLOCK`, or the end.

    Args:
        X: (stop - start, *shape), the pool's rows in the replicate's order.
        pool: the pool's statistics.
        spec: the input regime.
        key: the replicate's order key.
        start, stop: positions.
    """
    import numpy as np

    regime = INPUTS.build(spec)
    replicate_seed = derive("inputs", key, str(spec))
    blocks = []
    for at in range(start, stop, BLOCK):
        rows = X[at - start : min(at + BLOCK, stop) - start]
        blocks.append(regime(rows, pool, replicate_seed, derive("inputs", key, str(spec), at // BLOCK)))
    return np.concatenate(blocks)
