"""How batches of images lie in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from emc.api import Prepared
from emc.executors.base import Executor
from emc.results import ProbeResult
from emc.specs import Probe
from emc.training import single
from emc.training.layout import input_format
from emc.training.single import SingleTrainer

MakePrepared = Callable[..., Prepared]
Train = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]


class Viewing(nn.Module):
    """As in many a tutorial: `view` after a convolution needs the usual format."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(128, classes)

    def forward(self, X: Tensor) -> Tensor:
        return self.out(self.conv(X).relu().view(len(X), -1))


def projected(channels: int, classes: int) -> nn.Module:
    """With a strided 1x1 convolution, as in the links of residual networks; few channels corrupt memory."""
    layers = nn.Conv2d(1, channels, 3, padding=1), nn.Conv2d(channels, classes, 1, stride=2)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": "cnn"}, torch.channels_last),
        ({"model": "cnn", "precision": "float64"}, torch.contiguous_format),
        ({"model": "mlp"}, torch.contiguous_format),
        ({"own_model": lambda _shape, classes: Viewing(classes)}, torch.contiguous_format),
        ({"own_model": lambda _shape, k: nn.Sequential(nn.Conv2d(1, k, 8), nn.Flatten())}, torch.channels_last),
        ({"own_model": lambda _shape, k: projected(15, k)}, torch.contiguous_format),
        ({"own_model": lambda _shape, k: projected(16, k)}, torch.channels_last),
    ],
)
def test_convolutions_of_float32_take_channels_last(
    make_prepared: MakePrepared, settings: dict[str, Any], expected: torch.memory_format
) -> None:
    state = torch.get_rng_state()
    assert input_format(make_prepared(data="digits", **settings).setup) is expected
    assert torch.equal(state, torch.get_rng_state())


def test_a_format_changes_no_more_than_the_last_bits(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In ten steps rounding has not grown yet."""
    layouts: list[bool] = []

    class Watching(nn.Sequential):
        def forward(self, X: Tensor) -> Tensor:
            layouts.append(X.stride(1) == 1)
            return super().forward(X)

    def model(_shape: tuple[int, ...], classes: int) -> nn.Module:
        return Watching(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))

    setup = make_prepared(data="digits", own_model=model, min_steps=10, check_steps=10).setup
    probes = [Probe("base", 200, r) for r in range(2)]
    found = train(SingleTrainer(setup), probes)
    assert any(layouts)
    monkeypatch.setattr(single, "input_format", lambda _: torch.contiguous_format)
    layouts.clear()
    usual = train(SingleTrainer(setup), probes)
    assert not any(layouts)
    assert [result.loss for result in found] == pytest.approx([result.loss for result in usual], rel=1e-5)
