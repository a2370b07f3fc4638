"""Which modules compiled loops know, and in what form."""

from __future__ import annotations

import pytest
from torch import nn

from emc.training.dense import Activation, dense_net


def test_the_form_of_a_net() -> None:
    net = dense_net(
        nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.LeakyReLU(0.2), nn.Linear(4, 5, bias=False), nn.Linear(5, 3))
    )
    assert net is not None
    assert net.sizes.tolist() == [6, 4, 5, 3]
    assert net.biased.tolist() == [1, 0, 1]
    assert net.codes.tolist() == [Activation.LEAKY, Activation.IDENTITY, Activation.IDENTITY]
    assert net.options.tolist() == [0.2, 0.0, 0.0]


def test_both_forms_of_gelu() -> None:
    for approximate, code in (("none", Activation.GELU), ("tanh", Activation.GELU_TANH)):
        net = dense_net(nn.Sequential(nn.Linear(2, 2), nn.GELU(approximate)))
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


SHARED = nn.Linear(2, 2)


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(2, 2),
        nn.Sequential(nn.Flatten()),
        nn.Sequential(nn.ReLU(), nn.Linear(2, 2)),
        nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Tanh()),
        nn.Sequential(nn.Linear(2, 2), Doubled()),
        nn.Sequential(nn.Linear(2, 2), nn.Flatten()),
        nn.Sequential(nn.Flatten(0), nn.Linear(2, 2)),
        nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)),
        nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 2)),
        nn.Sequential(nn.Conv2d(1, 1, 1)),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))),
        nn.Sequential(SHARED, nn.ReLU(), SHARED),
        _frozen(),
        _hooked(),
    ],
    ids=str,
)
def test_others_have_none(module: nn.Module) -> None:
    assert dense_net(module) is None
