"""Optimizers: SGD, full-batch GD, Adam and others, rates tuned (paper, section on optimizers)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.scales import Scale, one

MODEL = {"smoke": "mlp:width=3", "cpu": "mlp:width=8", "gpu": "mlp:width=32", "paper": "cnn:width=64"}
#: Each with its batch size; lr=auto is tuned on draws of its own.
OPTIMIZERS = {
    "smoke": (("sgd:lr=0.1", 16), ("gd:lr=0.1", 2048), ("adam", 16)),
    "cpu": (
        ("sgd:lr=auto", 32),
        ("gd:lr=auto", 2048),
        ("adam:lr=auto", 32),
        ("adam:lr=auto", 2048),
        ("lbfgs", 2048),
        ("muon:ends=true", 2048),
    ),
    "gpu": (
        ("sgd:lr=0.1", 128),
        ("gd:lr=0.3", 2048),
        ("adam", 128),
        ("adam", 2048),
        ("lion", 128),
        ("muon:ends=true", 128),
    ),
    "paper": (
        ("sgd:lr=auto", 128),
        ("gd:lr=auto", 65536),
        ("adam:lr=auto", 128),
        ("adamw:lr=auto,weight_decay=0.01", 128),
        ("shampoo:lr=auto", 128),
    ),
}
#: Those that PyTorch's modules train one at a time on a CPU, with a budget of their own there.
SLOW = {"lbfgs": 2_000, "muon": 2_000}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """One model under each optimizer, random labels."""
    base = {**scale.base, "data": "cifar10" if scale.name == "paper" else "digits", "labels": "random"}
    found = []
    for optimizer, batch_size in OPTIMIZERS[scale.name]:
        slow = SLOW.get(optimizer.partition(":")[0]) if scale.name == "cpu" else None
        budget = {} if slow is None else {"min_steps": slow}
        cell = {"model": MODEL[scale.name], "optimizer": optimizer, "batch_size": batch_size, **budget}
        found.append(one({**base, **cell}))
    return found
