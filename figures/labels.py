"""Inputs and labels: what of an EMC comes from the data's structure (paper, section on inputs and labels)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.pools import families, pool
from figures.scales import Scale

#: Photographs or handwriting beside the synthetic images, with models that their semantic labels can overstrain.
NATURAL = {"smoke": "digits", "cpu": "digits", "gpu": "digits", "paper": "cifar10"}
SMALL = {
    "smoke": ("mlp:width=2",),
    "cpu": (
        "mlp:width=3", "mlp:width=5", "mlp:width=8",
        "cnn:width=2,hidden=4", "cnn:width=4,hidden=8", "cnn:width=5,hidden=10",
    ),
    "gpu": ("mlp:width=8", "mlp:width=16", "cnn:width=8,hidden=16", "cnn:width=12,hidden=24"),
    "paper": tuple(f"mlp:width={2**k}" for k in range(1, 10)) + tuple(f"cnn:width={2**k}" for k in range(2, 9)),
}  # fmt: skip


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
    digits = {**scale.base, "data": NATURAL[scale.name], "test_split": scale.test}
    inputs = {"inputs": ["gaussian", "permuted"]}
    return [
        {"base": base, "grid": {"model": given, **labels}},
        {"base": base, "grid": {"model": few, **inputs}},
        {"base": {**base, **linear}, "grid": labels},
        {"base": {**base, **linear}, "grid": inputs},
        {"base": digits, "grid": {"model": list(SMALL[scale.name]), **labels}},
    ]
