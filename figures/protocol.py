"""Sensitivity: how far every number of the protocol moves the EMC, one changed at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.scales import Scale, grid, one

MODEL = {"smoke": "mlp:width=3", "cpu": "mlp:width=8", "gpu": "mlp:width=32", "paper": "mlp:width=64"}

#: Each setting with the values that stand in the place of the protocol's own.
CHANGES: Mapping[str, Sequence[Any]] = {
    "n_start": (8, 64),
    "growth": ("geometric:factor=1.5", "geometric:factor=4", "linear:step=16"),
    "tolerance": (0.02, 0.2),
    "attempts": (3,),
    "check_steps": (25, 400),
    "stall_share": (0.5,),
    "stall_tolerance": (0.001, 0.2),
    "min_steps": (5_000, 100_000),
    "batch_size": (32, 128),
    "optimizer": ("adam:lr=0.001", "adam:lr=0.01"),
    "schedule": ("constant", "cosine"),
    "init": ("kaiming", "orthogonal"),
    "loss": ("squared",),
    "precision": ("float64",),
    "seed": (1,),
}
SMOKE = ("n_start", "tolerance", "seed")


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """The protocol itself, then each change of one setting; random labels on digits."""
    base = {**scale.base, "data": "digits", "labels": "random", "model": MODEL[scale.name]}
    kept = SMOKE if scale.name == "smoke" else tuple(CHANGES)
    if scale.name == "gpu":
        kept = tuple(name for name in kept if name != "min_steps")
    return [one(base), *(grid(base, **{name: list(CHANGES[name])}) for name in kept)]
