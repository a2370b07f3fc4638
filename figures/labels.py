"""Inputs and labels: what of an EMC comes from the data's structure (paper, section on inputs and labels)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.pools import families, pool
from figures.scales import Scale


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Semantic and random labels on natural inputs, semantic labels on noise and on permuted inputs.

    The linear model is trained by L-BFGS, which ends, on two classes: there its linear program tells at once whether a
    failure could have been a fit (with ten classes it takes a minute a failure).
    """
    base = {**scale.base, **pool(scale)}
    linear = {"model": "linear", "optimizer": "lbfgs", "min_steps": 2_000, "classes": 2}
    given = families(scale, "mlp", "cnn")
    few = [model for place, model in enumerate(given) if place % 3 != 1] if len(given) > 4 else given
    labels = {"labels": ["semantic", "random"]}
    inputs = {"inputs": ["gaussian", "permuted"]}
    return [
        {"base": base, "grid": {"model": given, **labels}},
        {"base": base, "grid": {"model": few, **inputs}},
        {"base": {**base, **linear}, "grid": labels},
        {"base": {**base, **linear}, "grid": inputs},
    ]
