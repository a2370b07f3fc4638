"""ResNet-RS against timm's."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from torch import nn

from emc.errors import SpecError
from emc.models import MODELS


def build(options: str, shape: tuple[int, ...] = (1, 8, 8), classes: int = 10) -> nn.Module:
    return MODELS.build(f"resnet_rs:{options}" if options else "resnet_rs", shape, classes, nn.ReLU)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_by_default_it_is_resnet_rs_50(stem: str) -> None:
    """35,691,912 parameters; the paper gives 36 million."""
    with torch.device("meta"):
        ours, theirs = build(f"stem={stem}", (3, 160, 160), 1000), timm.create_model("resnetrs50")
    assert sum(p.numel() for p in ours.parameters()) == 35_691_912
    shapes = [{key: tensor.shape for key, tensor in module.state_dict().items()} for module in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_resnet_rs_101() -> None:
    """63.6 million parameters, as in the paper's table."""
    with torch.device("meta"):
        ours = build("blocks=3|4|23|3", (3, 160, 160), 1000)
    assert sum(p.numel() for p in ours.parameters()) == pytest.approx(63.6e6, rel=2e-3)


def test_its_logits_are_timms() -> None:
    torch.manual_seed(0)
    ours, theirs = build("stem=imagenet", (3, 40, 40)), timm.create_model("resnetrs50", num_classes=10)
    ours.load_state_dict(theirs.state_dict())
    X = torch.randn(2, 3, 40, 40)
    torch.testing.assert_close(ours.eval()(X), theirs.eval()(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("stem", "side"), [("cifar", 32), ("imagenet", 8)])
def test_the_stems(stem: str, side: int) -> None:
    module = build(f"width=2,blocks=1|1,stem={stem}", (3, 32, 32))
    seen: list[torch.Size] = []
    module.maxpool.register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
    module(torch.randn(2, 3, 32, 32))
    assert [tuple(shape) for shape in seen] == [(2, 2, side, side)]


def test_stochastic_depth_leaves_out_the_last_block_most_often() -> None:
    module = build("width=2,blocks=1|2,stochastic_depth=0.4")
    shares = [m.drop_prob for m in module.modules() if type(m).__name__ == "DropPath"]
    assert shares == pytest.approx([0.2, 0.4])
    assert not [m for m in build("width=2,blocks=1|2").modules() if type(m).__name__ == "DropPath"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("width=3", "resnet_rs needs an even width, half of which its stem begins with, got 3; add 1"),
        ("blocks=1|1|1|1|1", "resnet_rs needs up to 4 stages and at least 2 blocks in all, got blocks=1|1|1|1|1"),
        ("blocks=1", "at least 2 blocks in all, got blocks=1; write blocks=3|4|6|3"),
        ("stochastic_depth=1", "resnet_rs needs stochastic_depth of at least 0 and below 1, got 1"),
        ("stem=deep", 'resnet_rs takes stem as one of cifar, imagenet, got "deep"'),
    ],
)
def test_options_out_of_range_are_refused(options: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        build(options)
