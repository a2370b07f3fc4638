"""Number of classes: classes merged at random, the model kept (paper, section on the number of classes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.scales import Scale

POOL = {
    "smoke": ("digits", "cnn:width=2,hidden=4", (2, 5)),
    "cpu": ("synthetic_images:count=4000,size=8,channels=1,classes=20", "cnn:width=2,hidden=4", (2, 5, 20)),
    "gpu": ("synthetic_images:count=40000,size=16,channels=3,classes=50", "cnn:width=12,hidden=16", (2, 5, 10, 25, 50)),
    "paper": ("cifar100", "cnn:width=64", (2, 5, 10, 20, 50, 100)),
}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """One pool, merged to fewer and fewer classes, with semantic and with random labels."""
    data, model, classes = POOL[scale.name]
    base = {**scale.base, "data": data, "model": model, "n_start": max(classes)}
    return [{"base": base, "grid": {"labels": ["semantic", "random"], "classes": list(classes)}}]
