"""The standard MLP with LayerNorm of "Scaling MLPs"."""

from __future__ import annotations

import pytest
from torch import nn

from emc.errors import SpecError
from emc.models import MODELS


def test_the_layers_are_the_papers() -> None:
    module = MODELS.build("mlp_standard:width=4,depth=3", (1, 2, 3), 5, nn.GELU)
    block = [nn.LayerNorm, nn.GELU, nn.Linear]
    assert [type(layer) for layer in module] == [nn.Flatten, nn.Linear, *block, *block, nn.Linear]


def test_dropout_follows_the_activations() -> None:
    module = MODELS.build("mlp_standard:width=4,dropout=0.5", (6,), 5, nn.GELU)
    assert [type(layer).__name__ for layer in module[2:6]] == ["LayerNorm", "GELU", "Dropout", "Linear"]


def test_one_layer_would_be_linear() -> None:
    with pytest.raises(SpecError, match="mlp_standard needs depth of at least 2, got 1; with 1 it would be linear"):
        MODELS.build("mlp_standard:depth=1", (6,), 5, nn.GELU)
