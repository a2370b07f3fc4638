"""Flatness: the Hessian of the fitted model beside the EMC, for each optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.optimizers import sweeps
from figures.scales import Scale

__all__ = ["curves", "sweeps"]

#: Each optimizer with its batch size, at rates near those that tuning finds; the size that all of them fit.
OPTIMIZERS = (
    ("sgd:lr=0.1", 32), ("gd:lr=0.3", 2048), ("adam", 32), ("adam", 2048), ("adamw:weight_decay=0.01", 32),
    ("lbfgs", 2048), ("sam:base=sgd|lr=0.1", 32),
)  # fmt: skip
GRID = {
    "smoke": ("mlp:width=3", 12, 2),
    "cpu": ("mlp:width=8", 80, 4),
    "gpu": ("mlp:width=32", 300, 7),
    "paper": ("mlp:width=64", 1000, 7),
}


def curves(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Every optimizer at one size well below the EMC, with the curvature where it fitted."""
    model, n, count = GRID[scale.name]
    kept = {name: value for name, value in scale.base.items() if name not in ("replicates", "n_max")}
    given = {
        **kept,
        "data": "digits",
        "labels": "random",
        "flatness": True,
        "draws": scale.draws,
        "model": model,
        "sizes": [n],
    }
    return [
        {**given, "optimizer": optimizer, "batch_size": batch_size}
        for optimizer, batch_size in OPTIMIZERS[: None if scale.name != "smoke" else count]
    ]
