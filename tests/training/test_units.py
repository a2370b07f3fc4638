"""Dead units against nets whose units are known to be dead."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from emc.training import units
from emc.training.units import dead_share


def net(*biases: float) -> nn.Sequential:
    """A unit a bias, each relu(x + bias)."""
    module = nn.Sequential(nn.Linear(1, len(biases)), nn.ReLU(), nn.Linear(len(biases), 2))
    nn.init.ones_(module[0].weight)
    module[0].bias.data = torch.tensor(biases)
    return module


X = torch.tensor([[0.0], [1.0], [2.0]])


@pytest.mark.parametrize(
    ("biases", "share"),
    [((1.0, 0.0), 0.0), ((-1.9, -2.0), 0.5), ((-2.0, -3.0, -9.0), 1.0), ((0.0, 1.0, -5.0, 2.0), 0.25)],
)
def test_a_unit_is_dead_where_it_is_zero_on_every_sample(biases: tuple[float, ...], share: float) -> None:
    assert dead_share(net(*biases), X) == share


def test_one_sample_of_a_later_chunk_keeps_a_unit_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "CHUNK", 2)
    assert dead_share(net(-1.5, -2.5), X) == 0.5


def test_every_layer_counts_by_its_units() -> None:
    deep = nn.Sequential(net(1.0, 1.0), nn.ReLU(), nn.Linear(2, 2))
    nn.init.zeros_(deep[0][2].weight)
    deep[0][2].bias.data = torch.tensor([1.0, -1.0])
    assert dead_share(deep, X) == 0.25


def test_a_channel_is_one_unit() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    nn.init.zeros_(module[0].weight)
    module[0].bias.data = torch.tensor([1.0, -1.0, -1.0, -1.0])
    assert dead_share(module, torch.zeros(2, 1, 5, 5)) == 0.75


class Twice(nn.Module):
    """One ReLU module called at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, X: Tensor) -> Tensor:
        return self.relu(self.relu(X) - 5)  # type: ignore[no-any-return]


def test_a_module_called_twice_counts_twice() -> None:
    assert dead_share(Twice(), X) == 0.5


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.GELU(), nn.LeakyReLU(), nn.Identity()])
def test_other_activations_have_none(activation: nn.Module) -> None:
    assert dead_share(nn.Sequential(nn.Linear(1, 2), activation), X) is None


def test_the_model_stays_as_it_was() -> None:
    module = net(1.0).train()
    dead_share(module, X)
    assert module.training
    assert not any(part._forward_hooks for part in module.modules())
