"""Activations: ReLU, tanh and none (paper, section on activations), and GELU beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.scales import Scale

MODELS = {
    "smoke": ("mlp:width=3",),
    "cpu": ("mlp:width=5", "mlp:width=8"),
    "gpu": ("mlp:width=16", "mlp:width=32", "cnn:width=8,hidden=16"),
    "paper": tuple(f"mlp:width={2**k}" for k in range(2, 11)) + tuple(f"cnn:width={2**k}" for k in range(2, 9)),
}
ACTIVATIONS = ["relu", "tanh", "identity", "gelu"]


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """The same models with other activations, random labels."""
    base = {**scale.base, "data": "cifar10" if scale.name == "paper" else "digits", "labels": "random"}
    return [{"base": base, "grid": {"model": list(MODELS[scale.name]), "activation": ACTIVATIONS}}]
