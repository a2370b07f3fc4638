"""Regularisers: weight decay, label smoothing, SAM, dropout, clipping (the paper names no directions known here)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.scales import Scale, one

MODEL = {"smoke": ("mlp", 3), "cpu": ("mlp", 8), "gpu": ("mlp", 32), "paper": ("cnn", 64)}
#: One budget for all, since some train by PyTorch's modules one at a time.
BUDGET = {"cpu": {"min_steps": 2_000}}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """One model without and with each, random labels."""
    family, width = MODEL[scale.name]
    data = "cifar10" if scale.name == "paper" else "digits"
    base = {
        **scale.base,
        **BUDGET.get(scale.name, {}),
        "data": data,
        "labels": "random",
        "model": f"{family}:width={width}",
    }
    changes: list[dict[str, Any]] = [
        {"optimizer": "adamw:weight_decay=0"},
        {"optimizer": "adamw:weight_decay=0.01"},
        {"optimizer": "adamw:weight_decay=0.1"},
        {"label_smoothing": 0.1},
        {"optimizer": "sam:base=adam"},
        {"model": f"{family}:width={width},dropout=0.1"},
    ]
    if scale.name == "smoke":
        changes = changes[:4]
    return [one({**base, **change}) for change in changes]
