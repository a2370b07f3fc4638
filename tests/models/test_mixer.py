"""The MLP-Mixer against its published size, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from emc.errors import SpecError
from emc.models import MODELS


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("mixer:patch=16,dim=768,depth=12", 59_880_472),
        ("mixer:patch=16,dim=512,depth=8", 18_528_264),
    ],
)
def test_published_sizes_at_224_pixels_and_1000_classes(text: str, parameters: int) -> None:
    """Mixer-B/16 and S/16: 59 and 18 million in the paper's table 1."""
    with torch.device("meta"):
        module = MODELS.build(text, (3, 224, 224), 1000, nn.GELU)
    assert sum(p.numel() for p in module.parameters()) == parameters


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 8, 12)])
def test_small_images_are_taken_as_they_are(shape: tuple[int, ...]) -> None:
    module = MODELS.build("mixer", shape, 10, nn.GELU)
    assert module(torch.zeros(2, *shape)).shape == (2, 10)


def test_dropout_follows_both_layers_of_each_mlp() -> None:
    module = MODELS.build("mixer:depth=3,dropout=0.2", (1, 8, 8), 10, nn.GELU)
    assert [m.p for m in module.modules() if isinstance(m, nn.Dropout) and m.p > 0] == [0.2] * 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixer:patch=5", "mixer needs a patch that divides 8x8 images, got patch=5; take one of 1, 2, 4, 8"),
        ("mixer:token_ratio=-1", "mixer needs token_ratio above 0 and finite, got -1"),
        ("mixer:depth=0", "mixer needs depth of at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        MODELS.build(text, (1, 8, 8), 10, nn.GELU)
