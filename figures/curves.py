"""Training accuracy and P(fit) against n, which no paper shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.scales import Scale


def sweeps(_: Scale) -> Sequence[Mapping[str, Any]]:
    """None: this study asks for curves."""
    return []


def curves(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """An MLP with random labels on digits, and the linear model that Cover's theorem knows."""
    kept = {name: value for name, value in scale.base.items() if name not in ("replicates", "n_max")}
    given = {**kept, "labels": "random", "draws": scale.draws}
    linear = {"model": "linear", "data": "gaussian:dim=20", "optimizer": "lbfgs", "min_steps": 2_000}
    sizes, cover = GRIDS[scale.name]
    return [
        {**given, "model": MODEL[scale.name], "data": "digits", "sizes": sizes},
        {**given, **linear, "draws": 4 * scale.draws, "sizes": cover},
    ]


MODEL = {"smoke": "mlp:width=3", "cpu": "mlp:width=8", "gpu": "mlp:width=32", "paper": "mlp:width=64"}
GRIDS = {
    "smoke": ([8, 16, 48], [30, 44]),
    "cpu": ([80, 110, 140, 170, 200, 230, 260, 300, 350], list(range(30, 58, 3))),
    "gpu": ([400, 500, 600, 700, 800, 950, 1100, 1300, 1500], list(range(30, 58, 3))),
    "paper": ([1000, 1200, 1400, 1600, 1750], list(range(30, 58, 3))),
}
