"""The stacked form of an architecture against the architecture itself, member by member."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from emc.models import MODELS
from emc.models.activations import ACTIVATIONS
from emc.training.stacking import StackedModel, can_stack

K = 3


def shared_activation() -> nn.Module:
    act = nn.Tanh()
    return nn.Sequential(nn.Linear(6, 5), act, nn.Linear(5, 4), act, nn.Linear(4, K))


STACKABLE: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "linear": ((2, 3), lambda: MODELS.build("linear", (2, 3), K)),
    **{
        f"mlp {name}": (
            (1, 2, 3),
            lambda name=name: MODELS.build("mlp:width=5,depth=2", (1, 2, 3), K, lambda: ACTIVATIONS.build(name)),
        )
        for name in ACTIVATIONS.names()
    },
    "no bias": ((6,), lambda: nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, K))),
    "shared activation": ((6,), shared_activation),
    "flattened late": ((2, 4), lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(10, K))),
}


@pytest.mark.parametrize("name", STACKABLE)
def test_logits_and_gradients_are_each_members_own(name: str) -> None:
    shape, make = STACKABLE[name]
    torch.manual_seed(0)
    members = [make().double() for _ in range(4)]
    assert can_stack(members[0])
    stacked = StackedModel(members[0])
    assert stacked.num_parameters == sum(p.numel() for p in members[0].parameters())
    flat = torch.stack([stacked.row(member) for member in members])
    leaves = {key: view.detach().requires_grad_() for key, view in stacked.views(flat).items()}
    X = torch.randn(4, 7, *shape, dtype=torch.float64)
    logits = stacked.forward(leaves, X)
    assert logits.shape == (4, 7, K)
    gradient = torch.empty_like(flat)
    stacked.flatten(torch.autograd.grad(logits.pow(2).sum(), tuple(leaves.values())), gradient)
    for member, own_logits, own_X, own_gradient in zip(members, logits, X, gradient, strict=True):
        expected = member(own_X)
        torch.testing.assert_close(own_logits, expected, rtol=1e-12, atol=1e-12)
        parts = torch.autograd.grad(expected.pow(2).sum(), list(member.parameters()))
        torch.testing.assert_close(own_gradient, torch.cat([g.flatten() for g in parts]), rtol=1e-12, atol=1e-12)


def test_a_row_is_written_back_as_it_was() -> None:
    _, make = STACKABLE["no bias"]
    torch.manual_seed(0)
    module, other = make(), make()
    stacked = StackedModel(module)
    filled = stacked.fill(other, stacked.row(module))
    assert filled is other
    for mine, theirs in zip(module.parameters(), filled.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_views_share_memory_with_the_buffer() -> None:
    stacked = StackedModel(nn.Sequential(nn.Linear(2, 2)))
    flat = torch.zeros(3, 6)
    stacked.views(flat)["0.bias"].fill_(1)
    assert flat.sum(1).tolist() == [2, 2, 2]


class Doubled(nn.Sequential):
    """A Sequential whose forward does more than its layers."""

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(X)


class Centred(nn.ReLU):
    """An activation of a known kind that looks at the whole batch."""

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return super().forward(X - X.mean())


def frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 50), nn.ReLU(), nn.Linear(50, K))
    module[0].requires_grad_(False)
    return module


def tied() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer)


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, K))
    module[0].register_forward_hook(lambda _module, _inputs, output: output * 2)
    return module


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(6, K),
        lambda: nn.Sequential(nn.Linear(6, K), nn.Dropout(0.5)),
        lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, K)),
        lambda: nn.Sequential(nn.Flatten(0, 1), nn.Linear(6, K)),
        lambda: nn.Sequential(nn.Sequential(nn.Linear(6, K))),
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, K))),
        lambda: Doubled(nn.Linear(6, K)),
        lambda: nn.Sequential(nn.Linear(6, K), Centred()),
        frozen,
        tied,
        hooked,
        lambda: MODELS.build("cnn", (1, 8, 8), K, nn.ReLU),
    ],
)
def test_what_it_does_not_know_is_not_stacked(make: Callable[[], nn.Module]) -> None:
    assert not can_stack(make())
    with pytest.raises(TypeError, match="stacked"):
        StackedModel(make())
