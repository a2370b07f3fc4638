"""The five-layer CNN."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from emc.errors import SpecError
from emc.models import MODELS


@pytest.mark.parametrize("width", [1, 2, 3, 10, 64])
def test_parameters_are_the_papers(width: int) -> None:
    with torch.device("meta"):
        module = MODELS.build(f"cnn5:width={width}", (3, 32, 32), 10, nn.ReLU)
    assert sum(p.numel() for p in module.parameters()) == 378 * width**2 + 152 * width + 10


@pytest.mark.parametrize(("side", "sides"), [(32, (32, 16, 8, 1)), (8, (8, 4, 2, 1)), (4, (4, 2, 1, 1))])
def test_pools(side: int, sides: tuple[int, ...]) -> None:
    """None, 2x2, 2x2 and all: at 32 pixels the paper's 1, 2, 2 and 8."""
    module = MODELS.build("cnn5:width=2", (1, side, side), 10, nn.ReLU)
    X = torch.randn(2, 1, side, side)
    found = []
    for layer in module[:-2]:
        X = layer(X)
        if isinstance(layer, nn.Identity | nn.MaxPool2d | nn.AdaptiveMaxPool2d):
            found.append(tuple(X.shape))
    assert found == [(2, 2 << i, s, s) for i, s in enumerate(sides)]


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(SpecError, match=r"cnn5 needs images of at least 4x4 pixels, got .*\(1, 3, 9\); use cnn"):
        MODELS.build("cnn5", (1, 3, 9), 10, nn.ReLU)


def test_a_width_of_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="cnn5 needs width of at least 1, got 0"):
        MODELS.build("cnn5:width=0", (1, 8, 8), 10, nn.ReLU)
