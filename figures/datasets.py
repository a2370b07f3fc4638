"""Datasets: EMC against parameters for tables and images (paper, section on datasets)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from figures.pools import IMAGES
from figures.scales import Scale

TABLES = {
    "smoke": ("wine",),
    "cpu": ("wine", "breast_cancer"),
    "gpu": ("breast_cancer",),
    "paper": ("covertype", "adult", "credit"),
}
PICTURES = {
    "smoke": ("digits",),
    "cpu": ("digits", IMAGES["cpu"]),
    "gpu": ("digits", "synthetic_images:count=40000,size=8,channels=1"),
    "paper": ("mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet:size=64"),
}
#: Read from EMC_DATA, where `--with-data` says so.
ON_DISK = ("adult", "credit")
SIZES = {
    "smoke": (140,),
    "cpu": (140, 270, 540),
    "gpu": (270, 540, 1080, 2160),
    "paper": tuple(1000 * 2**k for k in range(12)),
}


def sweeps(scale: Scale) -> Sequence[Mapping[str, Any]]:
    """MLPs of equal size on every dataset: random labels of two classes, one label space for all; semantic labels.

    Beside them the linear model, of which Cover's theorem says one sample a parameter for two classes.
    """
    data = [*TABLES[scale.name], *PICTURES[scale.name], *(ON_DISK if scale.on_disk else ())]
    base = {**scale.base, "model": "mlp", "test_split": scale.test}
    linear = {"model": "linear", "optimizer": "lbfgs", "min_steps": 2_000, "labels": "random", "classes": 2}
    grid = {"data": data, "match_parameters": list(SIZES[scale.name])}
    return [
        {"base": {**base, "labels": "random", "classes": 2}, "grid": grid},
        {"base": {**base, "labels": "semantic"}, "grid": grid},
        {"base": {**base, **linear}, "grid": {"data": data}},
    ]
