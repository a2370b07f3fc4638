"""EfficientNet against torchvision's, which is another implementation."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from torch import nn

from emc.errors import SpecError
from emc.models import MODELS


def build(options: str, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10) -> nn.Module:
    return MODELS.build(f"efficientnet:{options}" if options else "efficientnet", shape, classes)


@pytest.mark.parametrize(
    ("options", "name", "parameters"),
    [
        ("", "efficientnet_b0", 5_288_548),
        ("depth=1.1", "efficientnet_b1", 7_794_184),
        ("width=1.1,depth=1.2", "efficientnet_b2", 9_109_994),
        ("width=2,depth=3.1", "efficientnet_b7", 66_347_960),
    ],
)
def test_published_sizes(options: str, name: str, parameters: int) -> None:
    with torch.device("meta"):
        ours, theirs = build(options, (3, 224, 224), 1000), torchvision.models.get_model(name)
    assert sum(p.numel() for p in ours.parameters()) == parameters
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]


def test_its_logits_are_torchvisions() -> None:
    torch.manual_seed(0)
    ours, theirs = build("stem=imagenet", (3, 64, 64)).eval(), torchvision.models.efficientnet_b0(num_classes=10).eval()
    with torch.no_grad():
        for mine, own in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.copy_(own)
    X = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(X), theirs(X), rtol=1e-4, atol=1e-6)


def test_the_compound_coefficient_multiplies_all_three() -> None:
    scaled = build("phi=3,stages=3,resolution=1", (3, 16, 16))
    resize, inner = scaled
    same = build(f"width={1.1**3},depth={1.2**3},stages=3", (3, 16, 16))
    assert [p.shape for p in inner.parameters()] == [p.shape for p in same.parameters()]
    assert resize(torch.randn(2, 3, 16, 16)).shape == (2, 3, 24, 24)  # 16 * 1.15^3 = 24.3


def test_inputs_are_resized_only_where_asked() -> None:
    seen: list[torch.Size] = []
    for options in ("phi=3", "phi=3,resolution=0.5"):
        module = build(f"{options},stages=1,width=0.25,divisor=1", (1, 8, 10))
        stem = next(m for m in module.modules() if isinstance(m, nn.Conv2d))
        stem.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].shape[2:]))
        module(torch.randn(2, 1, 8, 10))
    assert [tuple(shape) for shape in seen] == [(8, 10), (6, 8)]


def test_a_constant_image_stays_when_resized() -> None:
    resize = build("resolution=1.7,stages=1", (1, 8, 8))[0]
    torch.testing.assert_close(resize(torch.full((1, 1, 8, 8), 3.0)), torch.full((1, 1, 14, 14), 3.0))


@pytest.mark.parametrize(("stem", "side"), [("cifar", 8), ("imagenet", 4)])
def test_the_stems(stem: str, side: int) -> None:
    seen: list[torch.Size] = []
    module = build(f"stages=1,stem={stem}")
    module.conv_stem.register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
    module(torch.randn(2, 1, 8, 8))
    assert [tuple(shape) for shape in seen] == [(2, 32, side, side)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("width=0", "efficientnet needs width above 0 and finite, got 0.0"),
        ("depth=inf", "efficientnet needs depth above 0 and finite, got inf"),
        ("resolution=0", "efficientnet needs resolution above 0 and finite, got 0.0"),
        ("divisor=0", "efficientnet needs divisor of at least 1, got 0"),
        ("stages=8", "efficientnet needs stages of at most 7 and phi between -20 and 20, got stages=8, phi=0"),
        ("phi=21", "got stages=7, phi=21.0; lower them"),
        ("dropout=-0.1", "efficientnet needs dropout of at least 0 and below 1, got -0.1"),
        ("stem=b0", 'efficientnet takes stem as one of cifar, imagenet, got "b0"'),
    ],
)
def test_options_out_of_range_are_refused(options: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        build(options)


def test_every_width_keeps_a_channel() -> None:
    module = build("width=0.001,depth=0.001,divisor=1")
    assert all(p.numel() > 0 for p in module.parameters())
    assert module.eval()(torch.randn(2, 1, 8, 8)).shape == (2, 10)
