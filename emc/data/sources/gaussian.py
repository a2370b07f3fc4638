"""Synthetic inputs whose distribution is known exactly."""

from __future__ import annotations

from emc.data import DATA
from emc.data.dataset import Raw
from emc.errors import SpecError


@DATA.register("gaussian", general_position=True)
def gaussian(*, dim: int = 20, size: int = 4000, classes: int = 2, seed: int = 0) -> Raw:
    """Synthetic: i.i.d. standard normal inputs with uniformly random classes, not standardised further.

    Inputs depend on `dim` and `seed` alone, and a smaller pool is the beginning of a larger one.

    Raises:
        SpecError: an option out of range.
    """
    import numpy as np

    for name, value, least in (("dim", dim, 1), ("classes", classes, 2), ("size", size, classes), ("seed", seed, 0)):
        if value < least:
            raise SpecError(f"data gaussian takes {name} of at least {least}, got {value}")
    X = np.random.default_rng([seed, 0]).standard_normal((size, dim)).astype(np.float32)
    y = np.random.default_rng([seed, 1]).integers(classes, size=size, dtype=np.int64)
    return Raw(f"Gaussian, {dim} dimensions", X, y, tuple(map(str, range(classes))))
