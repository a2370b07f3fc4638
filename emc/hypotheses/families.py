"""The families that the paper's claims speak of, by the names of their models."""

from __future__ import annotations

from emc.hypotheses.cells import Match, name

MLP = ("mlp", "mlp_standard", "mlp_bottleneck")
CNN = ("cnn", "cnn5")
VIT = ("vit",)


def of(family: tuple[str, ...]) -> Match:
    """Whether a result's model is of a family."""
    return lambda result: name(result, "model") in family
