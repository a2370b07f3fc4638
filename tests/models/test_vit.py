"""The vision transformer against published sizes, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from emc.api import prepare
from emc.errors import SpecError
from emc.models import MODELS
from emc.specs import Measurement


def on_meta(text: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The model without its numbers."""
    with torch.device("meta"):
        return MODELS.build(text, shape, classes, nn.GELU)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("vit:patch=16,dim=768,depth=12,heads=12", 86_567_656),
        ("vit:patch=16,dim=384,depth=12,heads=6", 22_050_664),
        ("vit:patch=16,dim=192,depth=12,heads=3", 5_717_416),
    ],
)
def test_published_sizes_at_224_pixels_and_1000_classes(text: str, parameters: int) -> None:
    """ViT-B/16, S/16 and Ti/16, as timm and the papers list them: 86.6, 22.1 and 5.7 million."""
    assert sum(p.numel() for p in on_meta(text, (3, 224, 224), 1000).parameters()) == parameters


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 8, 12)])
def test_small_images_are_taken_as_they_are(shape: tuple[int, ...]) -> None:
    module = MODELS.build("vit", shape, 10, nn.GELU)
    assert module(torch.zeros(2, *shape)).shape == (2, 10)


def test_its_second_derivative_is_finite() -> None:
    torch.manual_seed(0)
    module = MODELS.build("vit:dim=4,depth=1", (1, 8, 8), 3, nn.GELU).double()
    parameters = list(module.parameters())
    loss = module(torch.randn(5, 1, 8, 8, dtype=torch.float64)).square().sum()
    first = torch.autograd.grad(loss, parameters, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), parameters)
    assert all(g.isfinite().all() for g in second)
    assert any(g.abs().max() > 0 for g in second)


def test_its_own_activation_is_gelu() -> None:
    assert str(prepare(Measurement.from_flat({"model": "vit"})).measurement.procedure.activation) == "gelu"
    chosen = Measurement.from_flat({"model": "vit", "activation": "relu"})
    assert str(prepare(chosen).measurement.procedure.activation) == "relu"


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("vit:patch=3", (1, 8, 8), "vit needs a patch that divides 8x8 images, got patch=3; take one of 1, 2, 4, 8"),
        ("vit:patch=0", (1, 4, 6), "vit needs a patch that divides 4x6 images, got patch=0; take one of 1, 2"),
        ("vit", (13,), r"vit needs images \(channels, height, width\), got inputs of shape \(13,\); use mlp"),
        ("vit:dim=9", (1, 8, 8), "vit needs a dim that its heads share, got dim=9, heads=2; make it a multiple"),
        ("vit:heads=0", (1, 8, 8), "vit needs heads of at least 1, got 0"),
        ("vit:mlp_ratio=0", (1, 8, 8), "vit needs mlp_ratio above 0 and finite, got 0"),
        ("vit:dropout=1", (1, 8, 8), "vit needs dropout of at least 0 and below 1, got 1"),
    ],
)
def test_what_cannot_be_is_one_sentence(text: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        MODELS.build(text, shape, 10, nn.GELU)


def dropouts(text: str) -> list[float]:
    module = MODELS.build(text, (1, 8, 8), 10, nn.GELU)
    return [m.p for m in module.modules() if isinstance(m, nn.Dropout) and m.p > 0]


def test_dropout_follows_the_positions_and_the_dense_layers_but_the_queries() -> None:
    assert dropouts("vit:depth=2") == []
    assert dropouts("vit:depth=2,dropout=0.1") == [0.1] * (1 + 2 * 3)
