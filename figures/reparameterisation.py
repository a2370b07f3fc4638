"""Reparameterisation: random subspaces and low precision (paper, section on reparameterisation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.scales import Scale, grid, one

MODELS = {
    "smoke": ("mlp:width=3", ("subspace:30",), ("precision:int4",)),
    "cpu": (
        "mlp:width=8",
        ("subspace:100", "subspace:200", "subspace:400"),
        ("precision:bf16", "precision:int8", "precision:int4"),
    ),
    "gpu": (
        "mlp:width=32",
        ("subspace:200", "subspace:400", "subspace:800"),
        ("precision:bf16", "precision:int8", "precision:int4"),
    ),
    "paper": (
        "cnn:width=64",
        ("subspace:1000", "subspace:4000"),
        ("precision:bf16", "precision:int8", "precision:int4"),
    ),
}
#: One budget for all, since these train by PyTorch's modules.
BUDGET = {"cpu": {"min_steps": 2_000}}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """The model itself, and trained in subspaces and at low precision; random labels.

    Coordinates of a subspace move the weights little, so that they take ten times the rate.
    """
    model, subspaces, precisions = MODELS[scale.name]
    data = "cifar10" if scale.name == "paper" else "digits"
    base = {**scale.base, **BUDGET.get(scale.name, {}), "data": data, "labels": "random", "model": model}
    raised = {**base, "optimizer": "adam:lr=0.03"}
    return [
        one(base),
        grid(base, reparam=list(precisions)),
        grid(raised, reparam=list(subspaces)),
    ]
