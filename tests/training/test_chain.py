"""Which modules compiled loops know, and in what form."""

from __future__ import annotations

import pytest
from torch import nn

from emc.training.chain import MANY, Activation, Layer, chain_of


def test_the_form_of_a_net() -> None:
    layers = nn.Linear(6, 4), nn.LeakyReLU(0.2), nn.Linear(4, 5, bias=False), nn.Linear(5, 3)
    net = chain_of(nn.Sequential(nn.Flatten(), *layers), (2, 3))
    assert net is not None
    assert net.shapes.tolist() == [[6, 1, 1], [4, 1, 1], [5, 1, 1], [3, 1, 1]]
    assert net.samples_at_once(128) == 128
    assert net.samples_at_once(10**9) == MANY // (2 * (6 + 4 + 5 + 3))
    assert net.biased.tolist() == [1, 0, 1]
    assert net.codes.tolist() == [Activation.LEAKY, Activation.IDENTITY, Activation.IDENTITY]
    assert net.options.tolist() == [0.2, 0.0, 0.0]


def test_the_form_of_a_net_on_images() -> None:
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2)
    net = chain_of(nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 10)), (3, 9, 8))
    assert net is not None
    assert net.shapes.tolist() == [[3, 9, 8], [4, 9, 8], [4, 4, 4], [4, 2, 2], [10, 1, 1]]
    assert net.kinds.tolist() == [Layer.CONVOLUTION, Layer.MAX_POOL, Layer.MEAN_POOL, Layer.LINEAR]
    assert net.codes.tolist() == [Activation.LEAKY, *3 * [Activation.IDENTITY]]
    assert 1 <= net.samples_at_once(128) < 128
    assert net.pays
    wide = chain_of(nn.Sequential(nn.Conv2d(9, 9, 3, padding=1), nn.Flatten()), (9, 4, 4))
    assert wide is not None
    assert not wide.pays


def test_both_forms_of_gelu() -> None:
    for approximate, code in (("none", Activation.GELU), ("tanh", Activation.GELU_TANH)):
        net = chain_of(nn.Sequential(nn.Linear(2, 2), nn.GELU(approximate)), (2,))
        assert net is not None
        assert net.codes.tolist() == [code]


class Doubled(nn.ReLU):
    """Not what its base class is."""


def _frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].weight.requires_grad_(False)
    return module


def _hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].register_forward_hook(lambda *_: None)
    return module


def _tied() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    return module


def _replaced() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].forward = lambda X: X
    return module


def _hooked_at_its_gradient() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2))
    module[0].weight.register_hook(lambda gradient: 2 * gradient)
    return module


def _hooked_as_a_whole() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2))
    module.register_forward_hook(lambda *_: None)
    return module


SHARED = nn.Linear(2, 2)


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(2, 2),
        nn.Sequential(nn.Flatten()),
        nn.Sequential(nn.ReLU(), nn.Linear(2, 2)),
        nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Tanh()),
        nn.Sequential(nn.Linear(2, 2), Doubled()),
        nn.Sequential(nn.Flatten(0), nn.Linear(2, 2)),
        nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)),
        nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 2)),
        nn.Sequential(nn.Conv2d(1, 1, 1)),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))),
        nn.Sequential(SHARED, nn.ReLU(), SHARED),
        _frozen(),
        _hooked(),
        _hooked_at_its_gradient(),
        _hooked_as_a_whole(),
        _replaced(),
        _tied(),
    ],
    ids=str,
)
def test_others_have_none(module: nn.Module) -> None:
    assert chain_of(module, (2,)) is None


CONVOLUTION = nn.Conv2d(1, 1, 3, padding=1)


@pytest.mark.parametrize(
    "layers",
    [
        [CONVOLUTION],
        [nn.Conv2d(1, 1, 3), nn.Flatten()],
        [nn.Conv2d(1, 1, 5, padding=2), nn.Flatten()],
        [nn.Conv2d(1, 1, 3, padding=1, stride=2), nn.Flatten()],
        [nn.Conv2d(2, 2, 3, padding=1), nn.Flatten()],
        [nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), nn.Flatten()],
        [nn.Conv2d(1, 1, 3, padding="same"), nn.Flatten()],
        [CONVOLUTION, CONVOLUTION, nn.Flatten()],
        [CONVOLUTION, nn.MaxPool2d(3), nn.Flatten()],
        [CONVOLUTION, nn.MaxPool2d(2, ceil_mode=True), nn.Flatten()],
        [CONVOLUTION, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()],
        [CONVOLUTION, nn.AdaptiveAvgPool2d((None, 2)), nn.Flatten()],
        [CONVOLUTION, nn.BatchNorm2d(1), nn.Flatten()],
        [nn.Linear(6, 2), nn.Flatten()],
    ],
    ids=str,
)
def test_others_on_images_have_none(layers: list[nn.Module]) -> None:
    assert chain_of(nn.Sequential(*layers), (1, 6, 6)) is None
