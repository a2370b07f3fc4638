"""The pre-activation ResNet18 of widths k, 2k, 4k, 8k."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from emc.errors import SpecError
from emc.models import MODELS


@pytest.mark.parametrize(("width", "parameters"), [(1, 2_947), (4, 44_446), (64, 11_171_146)])
def test_parameters(width: int, parameters: int) -> None:
    """11,171,146 at 64, as PreActResNet18 for CIFAR-10 is known to have."""
    with torch.device("meta"):
        module = MODELS.build(f"resnet18k:width={width}", (3, 32, 32), 10, nn.ReLU)
    assert sum(p.numel() for p in module.parameters()) == parameters == 2724 * width**2 + 213 * width + 10


def test_a_block_is_the_pre_activation_one() -> None:
    """He et al. 2016, figure 1b: the link takes the activated input where it has weights, the raw one elsewhere."""
    torch.manual_seed(0)
    module = MODELS.build("resnet18k:width=3", (1, 8, 8), 10, nn.ReLU).eval().double()
    X = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    for block, raw in ((module[2], True), (module[3], False)):
        active = functional.relu(block.norm1(X))
        inner = block.conv1(active)
        after = functional.conv2d(functional.relu(block.norm2(inner)), block.conv2.weight, padding=1)
        expected = after + (X if raw else functional.conv2d(active, block.link.weight, stride=2))
        torch.testing.assert_close(block(X), expected, rtol=1e-12, atol=1e-12)


def test_maps_halve_and_are_averaged() -> None:
    module = MODELS.build("resnet18k:width=2", (3, 32, 32), 10, nn.ReLU)
    X, found = torch.randn(2, 3, 32, 32), []
    for layer in module[:-2]:
        X = layer(X)
        found.append(tuple(X.shape[1:]))
    assert found[::2] == [(2, 32, 32), (2, 32, 32), (4, 16, 16), (8, 8, 8), (16, 4, 4)]
    assert found[-1] == (16, 1, 1)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(SpecError, match="resnet18k needs width of at least 1, got 0"):
        MODELS.build("resnet18k:width=0", (1, 8, 8), 10, nn.ReLU)
    with pytest.raises(SpecError, match='resnet18k takes norm as one of batch, group, none, got "bath"; did you mean'):
        MODELS.build("resnet18k:norm=bath", (1, 8, 8), 10, nn.ReLU)
