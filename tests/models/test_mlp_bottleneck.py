"""The bottleneck MLP against the sizes of "Scaling MLPs", by formula and by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from emc.api import prepare
from emc.errors import SpecError, UnknownNameError
from emc.models import MODELS
from emc.specs import Measurement


@pytest.mark.parametrize(
    ("name", "millions"), [("B_6-Wi_512", 24), ("B_12-Wi_512", 37), ("B_6-Wi_1024", 74), ("B_12-Wi_1024", 124)]
)
def test_published_sizes(name: str, millions: int) -> None:
    """The table of the authors' README: 64x64 images of ImageNet-21k, of which their code counts 11,230 classes."""
    with torch.device("meta"):
        module = MODELS.build(name, (3, 64, 64), 11_230, nn.GELU)
    assert sum(p.numel() for p in module.parameters()) // 10**6 == millions


def test_a_block_is_the_papers() -> None:
    """x + W2 gelu(W1 LayerNorm(x)), computed by hand."""
    torch.manual_seed(0)
    module = MODELS.build("mlp_bottleneck:width=3", (4,), 2, nn.GELU).double()
    assert [name for name, _ in module.named_parameters()][2:8] == [
        f"2.layers.{part}" for part in ("0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias")
    ]
    flat, first, block, last = module
    norm, into, _, out = block.layers
    X = torch.randn(5, 4, dtype=torch.float64)
    h = flat(X) @ first.weight.T + first.bias
    z = (h - h.mean(1, keepdim=True)) / (h.var(1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    z = nn.functional.gelu(z @ into.weight.T + into.bias) @ out.weight.T + out.bias
    torch.testing.assert_close(module(X), (h + z) @ last.weight.T + last.bias)


def test_a_name_of_the_paper_is_the_plugin_with_its_options() -> None:
    """So the keys are equal however it was written."""
    by_name = prepare(Measurement.from_flat({"model": "B_2-Wi_8"}))
    written = prepare(Measurement.from_flat({"model": "mlp_bottleneck:depth=2,width=8", "activation": "gelu"}))
    assert str(by_name.measurement.procedure.model) == "mlp_bottleneck:width=8,depth=2,expansion=4,dropout=0.0"
    assert by_name.fingerprint == written.fingerprint


def test_names_beside_the_pattern_are_unknown() -> None:
    with pytest.raises(UnknownNameError, match='there is no model "B_6-Wi_"; known are'):
        MODELS.resolve("B_6-Wi_")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("B_0-Wi_8", "mlp_bottleneck needs depth of at least 1, got 0"),
        ("mlp_bottleneck:expansion=0", "mlp_bottleneck needs expansion of at least 1, got 0"),
        ("mlp_bottleneck:dropout=1", "mlp_bottleneck needs dropout of at least 0 and below 1, got 1"),
        ("B_6-Wi_8:width=4", 'B_6-Wi_8 says its width already, got width again in "B_6-Wi_8:width=4"'),
    ],
)
def test_what_cannot_be_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        MODELS.build(text, (1, 8, 8), 10, nn.GELU)
