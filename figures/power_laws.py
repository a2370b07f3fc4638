"""Power laws: EMC = a * parameters ** b, with intervals of the exponent b."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.pools import families, pool
from figures.scales import Scale

WIDTHS = {
    "smoke": (2, 3, 4),
    "cpu": (2, 3, 4, 5, 8, 11),
    "gpu": (4, 8, 16, 32, 48),
    "paper": tuple(2**k for k in range(1, 12)),
}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """MLPs by width with random labels on digits; MLPs and CNNs of the other studies beside them."""
    base = {**scale.base, "data": "mnist" if scale.name == "paper" else "digits", "labels": "random"}
    shared = {**scale.base, **pool(scale)}
    return [
        {"base": base, "grid": {"model": [f"mlp:width={width}" for width in WIDTHS[scale.name]]}},
        {"base": shared, "grid": {"model": families(scale, "mlp", "cnn"), "labels": ["semantic", "random"]}},
    ]
