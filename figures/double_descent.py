"""Double descent: test error against n at one model and against width at one n, with the peak where EMC = n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.scales import Scale

#: Nakkiran's share of labels drawn anew.
LABELS = "noise:p=0.2"
GRIDS: Mapping[str, tuple[int, list[int], str, list[int]]] = {
    "smoke": (16, [2, 4], "mlp:width=3", [8, 16]),
    "cpu": (
        200,
        [1, 2, 3, 4, 5, 6, 8, 11, 16, 32],
        "mlp:width=5",
        [25, 50, 75, 100, 150, 200, 300, 500, 800],
    ),
    "gpu": (800, [1, 2, 4, 6, 8, 12, 16, 24, 32, 64, 128], "mlp:width=16", [50, 100, 200, 400, 600, 800, 1000, 1300]),
    "paper": (4000, [2**k for k in range(8)], "resnet18k:width=8", [1000 * 2**k for k in range(6)]),
}


def sweeps(_: Scale) -> Sequence[Mapping[str, Any]]:
    """None: this study asks for curves."""
    return []


def curves(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Models by width at one n, and one model by n; labels of which a fifth are drawn anew, tested on clean ones."""
    n, widths, model, sizes = GRIDS[scale.name]
    kept = {name: value for name, value in scale.base.items() if name not in ("replicates", "n_max")}
    family = "resnet18k" if scale.name == "paper" else "mlp"
    data = "cifar10" if scale.name == "paper" else "digits"
    given = {**kept, "data": data, "labels": LABELS, "test_split": scale.test, "draws": max(2, scale.draws // 2)}
    wide = [{**given, "model": f"{family}:width={width}", "sizes": [n]} for width in widths]
    return [*wide, {**given, "model": model, "sizes": sizes}]
