"""Architectures: CNN, ViT and MLP at equal numbers of parameters (paper, section on architectures)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.pools import FAMILIES, families, pool
from figures.scales import Scale

#: Transformers train by PyTorch's modules on a CPU; a budget of their own keeps them to minutes there.
BUDGET = {"cpu": {"min_steps": 2_000}}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Every family, with semantic and random labels; MLP and CNN as in the study of labels."""
    base = {**scale.base, **pool(scale)}
    labels = {"labels": ["semantic", "random"]}
    others = [name for name in FAMILIES[scale.name] if name not in ("mlp", "cnn")]
    beside = {**base, **BUDGET.get(scale.name, {})}
    return [
        {"base": base, "grid": {"model": families(scale, "mlp", "cnn"), **labels}},
        {"base": beside, "grid": {"model": families(scale, *others), **labels}},
    ]
