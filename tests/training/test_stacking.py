"""The stacked form of an architecture against the architecture itself, member by member."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from toys import GENERAL, K, Toy

from emc.models import MODELS
from emc.models.activations import ACTIVATIONS
from emc.training.losses import CROSS_ENTROPY, Loss, loss_of
from emc.training.stacking import StackedModel, is_dense, join


def shared_activation() -> nn.Module:
    act = nn.Tanh()
    return nn.Sequential(nn.Linear(6, 5), act, nn.Linear(5, 4), act, nn.Linear(4, K))


DENSE: dict[str, Toy] = {
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
    "activated first": ((2, 3), lambda: nn.Sequential(nn.SiLU(inplace=True), nn.Flatten(), nn.Linear(6, K), nn.Tanh())),
    "in place": (
        (6,),
        lambda: nn.Sequential(nn.Linear(6, 4), nn.SiLU(inplace=True), nn.ELU(inplace=True), nn.Linear(4, K)),
    ),
}
REGISTERED: dict[str, Toy] = {
    "cnn": ((2, 8, 8), lambda: MODELS.build("cnn:width=3", (2, 8, 8), K, nn.ReLU)),
    "random features": ((6,), lambda: MODELS.build("random_features:dim=5", (6,), K)),
}
STACKABLE = DENSE | REGISTERED | GENERAL


@pytest.mark.parametrize("asked", [CROSS_ENTROPY, Loss("squared"), Loss(smoothing=0.2)], ids=str)
@pytest.mark.parametrize("name", STACKABLE)
def test_logits_and_gradients_are_each_members_own(name: str, asked: Loss) -> None:
    """In float64, with a batch of seven of which one member's last two count nothing."""
    shape, make = STACKABLE[name]
    torch.manual_seed(0)
    members = [make().double() for _ in range(3)]
    assert is_dense(members[0], shape) == (name in DENSE)
    stacked = StackedModel(make().double(), shape)
    flat = torch.stack([stacked.row(member) for member in members])
    assert stacked.num_parameters == flat.shape[1] == sum(p.numel() for p in members[0].parameters() if p.requires_grad)
    fixed = join([stacked.fixed(member) for member in members])
    X, y = torch.randn(3, 7, *shape, dtype=torch.float64), torch.randint(K, (3, 7))
    weights = torch.full((3, 7), 1 / 7, dtype=torch.float64)
    weights[1] = torch.tensor([0.2] * 5 + [0.0] * 2, dtype=torch.float64)
    gradient = torch.full_like(flat, torch.nan)
    before = X.clone()
    stacked.gradient(stacked.leaves(flat), fixed, X, y, weights, asked, stacked.views(gradient))
    logits = stacked.logits(stacked.views(flat), fixed, X)
    assert logits.shape == (3, 7, K)
    assert torch.equal(X, before)
    for i, (member, size) in enumerate(zip(members, (7, 5, 7), strict=True)):
        expected = member(X[i].clone())
        torch.testing.assert_close(logits[i], expected.detach(), rtol=1e-11, atol=1e-12)
        loss = loss_of(asked, expected[:size], y[i, :size])
        parts = torch.autograd.grad(loss, [p for p in member.parameters() if p.requires_grad])
        own = torch.cat([part.flatten() for part in parts])
        torch.testing.assert_close(gradient[i], own, rtol=1e-10, atol=1e-12)


def test_a_row_is_written_back_as_it_was() -> None:
    shape, make = STACKABLE["attention"]
    torch.manual_seed(0)
    module, other = make(), make()
    stacked = StackedModel(module, shape)
    filled = stacked.fill(other, stacked.row(module))
    assert filled is other
    for mine, theirs in zip(module.parameters(), filled.parameters(), strict=True):
        assert torch.equal(mine, theirs) or not mine.requires_grad


def test_views_share_memory_with_the_buffer() -> None:
    stacked = StackedModel(nn.Sequential(nn.Linear(2, 2)), (2,))
    flat = torch.zeros(3, 6)
    stacked.views(flat)["0.bias"].fill_(1)
    assert flat.sum(1).tolist() == [2, 2, 2]


class Centred(nn.ReLU):
    """An activation of a known kind that looks at the whole batch."""

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return super().forward(X - X.mean())


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Linear(6, K), nn.Dropout(0.5)),
        lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, K)),
        lambda: nn.Sequential(nn.Flatten(0, 1), nn.Linear(6, K)),
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, K))),
        lambda: nn.Sequential(nn.Linear(6, K), Centred()),
        lambda: nn.Sequential(nn.Flatten(), nn.ReLU()),
    ],
)
def test_what_is_more_than_a_chain_is_not_dense(make: Callable[[], nn.Module]) -> None:
    assert not is_dense(make(), (6,))
