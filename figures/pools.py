"""Datasets and models that several studies share, so that their cells are trained once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from figures.scales import Scale

#: Images whose classes a linear model cannot tell: random labels and semantic ones are both hard at 8x8 grey pixels.
IMAGES = {
    "smoke": "synthetic_images:count=300,size=8,channels=1",
    "cpu": "synthetic_images:count=4000,size=8,channels=1",
    "gpu": "synthetic_images:count=40000,size=16,channels=3",
    "paper": "synthetic_images:count=20000000,size=128,channels=3",
}

#: Under the folder of `--with-data`: CIFAR-10 as an image folder, Adult and Credit as tables.
FILES = ("cifar10/train", "adult.csv", "credit.csv")

#: By family, from small to large; one place holds members of about equal size.
FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    "smoke": {
        "mlp": ("mlp:width=2", "mlp:width=3"),
        "cnn": ("cnn:width=2,hidden=4", "cnn:width=2,hidden=6"),
        "vit": ("vit:patch=4,dim=4,depth=1,heads=1",),
    },
    "cpu": {
        "mlp": ("mlp:width=2", "mlp:width=4", "mlp:width=8"),
        "cnn": ("cnn:width=2,hidden=5", "cnn:width=3,hidden=8"),
        "vit": ("vit:patch=4,dim=4,depth=1,heads=1,mlp_ratio=1.5",),
    },
    "gpu": {
        "mlp": ("mlp:width=4", "mlp:width=8", "mlp:width=16"),
        "cnn": ("cnn:width=12,hidden=24", "cnn:width=20,hidden=24", "cnn:width=28,hidden=32"),
        "vit": ("vit:patch=4,dim=12,depth=1,heads=2", "vit:patch=4,dim=20,depth=1,heads=2"),
        "mixer": ("mixer:patch=4,dim=16,depth=1", "mixer:patch=4,dim=16,depth=2"),
        "resnet": ("resnet:width=6,blocks=1|1,norm=group", "resnet:width=9,blocks=1|1,norm=group"),
    },
    "paper": {
        "mlp": tuple(f"mlp:width={2**k}" for k in range(1, 13)),
        "cnn": tuple(f"cnn:width={2**k}" for k in range(2, 11)),
        "vit": tuple(f"vit:patch=16,dim={64 * k},depth=12,heads=4" for k in (1, 2, 3, 4, 6, 9, 12)),
        "mixer": tuple(f"mixer:patch=16,dim={64 * k},depth=8" for k in (1, 2, 4, 8)),
        "resnet": tuple(f"resnet:width={2**k},norm=batch" for k in range(2, 9)),
        "efficientnet": tuple(f"efficientnet:phi={k}" for k in range(8)),
    },
}

#: Photographs or handwriting beside the synthetic images, with models that their semantic labels can overstrain.
NATURAL = {"smoke": "digits", "cpu": "digits", "gpu": "digits", "paper": "cifar10"}
NATURAL_FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    "smoke": {"mlp": ("mlp:width=2",)},
    "cpu": {
        "mlp": ("mlp:width=3", "mlp:width=5", "mlp:width=8"),
        "cnn": ("cnn:width=2,hidden=4", "cnn:width=2,hidden=9"),
        "vit": ("vit:patch=4,dim=3,depth=1,heads=1,mlp_ratio=2.5",),
    },
    "gpu": {
        "mlp": ("mlp:width=8", "mlp:width=16"),
        "cnn": ("cnn:width=8,hidden=16", "cnn:width=12,hidden=24"),
    },
    "paper": {
        "mlp": tuple(f"mlp:width={2**k}" for k in range(1, 10)),
        "cnn": tuple(f"cnn:width={2**k}" for k in range(2, 9)),
    },
}

#: Searches in the largest pools end here, where a network that learns the images would fit them all.
MOST = {"gpu": {"n_max": 4_096}}


def pool(scale: Scale) -> dict[str, object]:
    """The synthetic images of a scale with their held-out rows."""
    return {"data": IMAGES[scale.name], "test_split": scale.test, **MOST.get(scale.name, {})}


def natural_pool(scale: Scale) -> dict[str, object]:
    """The natural images of a scale with their held-out rows."""
    return {"data": NATURAL[scale.name], "test_split": scale.test}


def families(scale: Scale, *names: str) -> list[str]:
    """The members of families, one after the other."""
    return members(FAMILIES[scale.name], *names)


def members(known: Mapping[str, Sequence[str]], *names: str) -> list[str]:
    """The members of families among those known, one after the other."""
    return [model for name in names for model in known.get(name, ())]
