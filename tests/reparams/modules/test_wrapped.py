"""How the size of a model is counted."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from torch import nn

from emc.reparams.modules.wrapped import Sizes, sizes_of

Make = Callable[..., nn.Module]

#: Of "mlp:width=5" on 64 inputs and 3 classes: weights, biases, all.
W, B = 64 * 5 + 5 * 3, 5 + 3
D = W + B


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ("subspace:40", Sizes(40, D, 32 * 40)),
        ("precision:bf16", Sizes(D, D, 16 * D)),
        ("precision:fp16", Sizes(D, D, 16 * D)),
        ("precision:int8", Sizes(D, D, 8 * W + 32 * 8 + 16 * B)),
        ("precision:int4", Sizes(D, D, 4 * W + 32 * 8 + 16 * B)),
        ("prune:0.6,scope=global", Sizes(134 + B, 134 + B, 32 * (134 + B))),
        ("prune:0.6", Sizes(128 + 6 + B, 128 + 6 + B, 32 * (134 + B))),
        (
            "prune:0.6,rule=lottery,scope=global",
            Sizes(134 + B, 134 + B, 32 * (134 + B) + math.ceil(math.log2(math.comb(W, 134)))),
        ),
        (
            "prune:0.6,rule=lottery",
            Sizes(
                134 + B,
                134 + B,
                32 * (134 + B) + math.ceil(math.log2(math.comb(320, 128)) + math.log2(math.comb(15, 6))),
            ),
        ),
    ],
)
def test_sizes(make: Make, spec: str, sizes: Sizes) -> None:
    assert sizes_of(make(spec), 32) == sizes


def test_a_model_as_it_is_stores_all_it_has(make: Make) -> None:
    """Of 20 random features the frequencies and phases are stored, and drawn from the seed."""
    from emc.models import MODELS

    features = MODELS.build("random_features:dim=20", (1, 8, 8), 3)
    assert sizes_of(features, 32) == Sizes(60, 60 + 64 * 20 + 20, 32 * 60)
    assert sizes_of(features, 64).bits == 64 * 60
    assert sizes_of(make("subspace:7", "random_features:dim=20"), 32) == Sizes(7, 60 + 64 * 20 + 20, 32 * 7)
