"""Residual networks against torchvision's."""

from __future__ import annotations

import re

import pytest
import torch
import torchvision
from torch import nn

from emc.errors import SpecError
from emc.models import MODELS

IMAGENET = ((3, 224, 224), 1000)


def build(text: str, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10) -> nn.Module:
    return MODELS.build(f"resnet:{text}" if text else "resnet", shape, classes, nn.ReLU)


@pytest.mark.parametrize(
    ("options", "name", "parameters"),
    [
        ("blocks=2|2|2|2", "resnet18", 11_689_512),
        ("blocks=3|4|6|3", "resnet34", 21_797_672),
        ("blocks=3|4|6|3,block=bottleneck", "resnet50", 25_557_032),
    ],
)
def test_with_the_imagenet_stem_it_is_torchvisions(options: str, name: str, parameters: int) -> None:
    with torch.device("meta"):
        ours, theirs = build(f"stem=imagenet,{options}", *IMAGENET), torchvision.models.get_model(name)
    assert sum(p.numel() for p in ours.parameters()) == parameters
    shapes = [{key: tensor.shape for key, tensor in module.state_dict().items()} for module in (ours, theirs)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("training", [False, True])
def test_its_logits_are_torchvisions(training: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = build("stem=imagenet", (3, 40, 40)), torchvision.models.resnet18(num_classes=10)
    ours.load_state_dict(theirs.state_dict())
    X = torch.randn(3, 3, 40, 40)
    torch.testing.assert_close(ours.train(training)(X), theirs.train(training)(X), rtol=1e-5, atol=1e-5)


def test_the_first_convolution_is_drawn_as_torchvisions() -> None:
    """Normal, of variance 2 / (9 * width): by the fan-out."""
    torch.manual_seed(0)
    weight = build("width=64")[0].weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1)


@pytest.mark.parametrize(("stem", "sides"), [("cifar", (32, 16, 8, 4)), ("imagenet", (8, 4, 2, 1))])
def test_stages_halve_the_map(stem: str, sides: tuple[int, ...]) -> None:
    module = build(f"width=2,stem={stem}", (3, 32, 32))
    seen: list[tuple[int, ...]] = []
    for stage in range(1, 5):
        module.get_submodule(f"layer{stage}").register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape)))
    module(torch.randn(2, 3, 32, 32))
    assert seen == [(2, 2 << stage, side, side) for stage, side in enumerate(sides)]


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (16, 1), (31, 1), (32, 2), (40, 2), (48, 3), (50, 2), (512, 32)]
)
def test_groups_are_equal_and_of_16_channels_or_more(channels: int, groups: int) -> None:
    assert build(f"width={channels},blocks=1,norm=group")[1].num_groups == groups


def test_without_norm_each_channel_has_a_bias() -> None:
    module = build("width=4,blocks=1|1,norm=none")
    norms = [m for m in module.modules() if "Norm" in type(m).__name__]
    assert not norms
    X = torch.randn(2, 4, 3, 3)
    shift = module[1]
    nn.init.constant_(shift.bias, 2.5)
    torch.testing.assert_close(shift(X), X + 2.5)


def test_dropout_is_before_the_output() -> None:
    module = build("width=2,blocks=1,dropout=0.25")
    assert [type(layer) for layer in list(module)[-2:]] == [nn.Dropout, nn.Linear]
    assert module[-2].p == 0.25


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("width=0", "resnet needs width of at least 1, got 0"),
        (
            "blocks=2|x",
            'takes blocks as whole numbers of at least 1, one a stage, got "2|x"; write blocks=2|2|2',
        ),
        ("blocks=2|0", 'one a stage, got "2|0"; write'),
        ("blocks=", 'one a stage, got ""; write'),
        ("norm=layer", 'resnet takes norm as one of batch, group, none, got "layer"; known are'),
        ("stem=cifra", 'resnet takes stem as one of cifar, imagenet, got "cifra"; did you mean "cifar"'),
        ("block=botleneck", 'takes block as one of basic, bottleneck, got "botleneck"; did you mean "bottleneck"'),
        ("dropout=1", "resnet needs dropout of at least 0 and below 1, got 1"),
    ],
)
def test_options_out_of_range_are_refused(options: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        build(options)


def test_it_needs_images() -> None:
    with pytest.raises(SpecError, match=r"resnet needs images .* got inputs of shape \(13,\); use mlp"):
        build("", (13,))


def test_many_stages_on_a_small_image_keep_one_pixel() -> None:
    assert build("width=1,blocks=1|1|1|1|1|1", (1, 8, 8))(torch.randn(2, 1, 8, 8)).shape == (2, 10)
