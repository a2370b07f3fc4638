"""Scaling: depth against width at equal numbers of parameters (paper, section on scaling)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.pools import pool
from figures.scales import Scale

#: Rows of members of about equal size, from the shallowest to the deepest.
MEMBERS = {
    "smoke": ("mlp:width=3", "mlp:width=3,depth=2"),
    "cpu": (
        "mlp:width=5", "mlp:width=5,depth=2", "mlp:width=4,depth=3",
        "mlp:width=8", "mlp:width=7,depth=2", "mlp:width=6,depth=3",
    ),
    "gpu": (
        "vit:patch=4,dim=12,depth=2,heads=2", "vit:patch=4,dim=8,depth=4,heads=2",
        "resnet:width=4,blocks=2|2,norm=group", "resnet:width=6,blocks=1|1,norm=group",
    ),
    "paper": (),
}  # fmt: skip
#: (family, recipe) whose members `emc scale` names, for the paper's own grids.
RECIPES = (
    ("resnet", "width"), ("resnet", "depth"), ("resnet_rs", "resnet_rs"), ("efficientnet", "compound"),
    ("vit", "depth"), ("vit", "width"), ("vit:patch=16", "svit"), ("vit:patch=16", "sovit"),
)  # fmt: skip
PARAMETERS = tuple(int(10 ** (k / 2)) for k in range(9, 16))


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """Members of equal size; the paper's scale asks for them by recipe."""
    base = {**scale.base, **pool(scale)}
    labels = {"labels": ["semantic", "random"]}
    if scale.name != "paper":
        return [{"base": base, "grid": {"model": list(MEMBERS[scale.name]), **labels}}]
    return [
        {
            "base": {**base, "model": family, "match_recipe": recipe},
            "grid": {"match_parameters": list(PARAMETERS), **labels},
        }
        for family, recipe in RECIPES
    ]
