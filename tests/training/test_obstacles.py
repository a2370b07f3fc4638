"""What is found to be against stacking a model, and that looking for it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from toys import GENERAL, OBSTACLES

from emc.api import Prepared
from emc.training import obstacles
from emc.training.obstacles import find_obstacle, model_obstacle

MakePrepared = Callable[..., Prepared]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", GENERAL)
def test_what_can_be_stacked_has_no_obstacle(name: str, dtype: torch.dtype) -> None:
    shape, make = GENERAL[name]
    assert find_obstacle(make, shape, dtype) is None


@pytest.mark.parametrize("name", OBSTACLES)
def test_each_obstacle_is_named(name: str) -> None:
    shape, make, reason = OBSTACLES[name]
    assert find_obstacle(make, shape) == reason


def test_a_model_that_cannot_be_tried_is_an_obstacle_too() -> None:
    class Failing(nn.Module):
        def forward(self, _X: Tensor) -> Tensor:
            raise ValueError("no\nway")

    assert find_obstacle(Failing, (6,)) == "its trial raised ValueError: no"


def test_the_generator_and_the_model_are_left_as_they_were() -> None:
    shape, make, _ = OBSTACLES["dropout"]
    module = make()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    before = torch.get_rng_state()
    find_obstacle(lambda: module, shape)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())


def test_each_model_is_tried_once(make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its optimizer or seed; a model without source, which could be any, for itself alone."""
    tried: list[int] = []
    monkeypatch.setattr(obstacles, "_found", {})
    monkeypatch.setattr(obstacles, "find_obstacle", lambda *_: tried.append(1))
    setup = make_prepared(model="random_features").setup
    model_obstacle(setup)
    model_obstacle(make_prepared(model="random_features", optimizer="sgd", seed=1).setup)
    assert len(tried) == 1
    model_obstacle(make_prepared(model="random_features", precision="float64").setup)
    model_obstacle(make_prepared(model="random_features:bandwidth=2").setup)
    assert len(tried) == 3
    for _ in range(2):
        model_obstacle(replace(setup, identified=False, make_model=lambda: setup.make_model()))
    assert len(tried) == 5
