"""EMC against the budget of steps: how far an unfinished training passes for one that cannot fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.scales import FULL_BATCH, Scale, grid

STEPS = {
    "smoke": [100, 200],
    "cpu": [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000],
    "gpu": [500, 1_000, 2_000, 4_000, 8_000],
    "paper": [10**k * m for k in (3, 4, 5) for m in (1, 2, 5)],
}
MODEL = {"smoke": "mlp:width=3", "cpu": "mlp:width=8", "gpu": "mlp:width=32", "paper": "mlp:width=64"}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """One model with random labels on digits, at one budget after the other, in batches and in one batch."""
    base = {**scale.base, "max_epochs": 1, "data": "digits", "labels": "random", "model": MODEL[scale.name]}
    return [grid(base, batch_size=[64, FULL_BATCH], min_steps=STEPS[scale.name])]
