"""Reparameterised models, and what trains them, on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from drives import trained
from torch import nn

from emc.api import Prepared, prepare
from emc.models import MODELS
from emc.reparams import REPARAMS
from emc.results import ProbeResult
from emc.specs import Measurement

Make = Callable[..., nn.Module]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _make(spec: str, model: str = "mlp:width=5", seed: int = 0) -> nn.Module:
    """A reparameterised model for (1, 8, 8) inputs and 3 classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        handed: list[Any] = [(1, 8, 8), 3]
        if MODELS.get(model.partition(":")[0]).facts.get("activation"):
            handed.append(nn.Tanh)
        module = MODELS.build(model, *handed)
        return REPARAMS.build(spec)(module)


@pytest.fixture
def make() -> Make:
    """`make(spec, model, seed)`."""
    return _make


def _prepare(own_model: Any = None, **settings: Any) -> Prepared:
    small = {
        "labels": "random",
        "min_steps": 400,
        "max_epochs": 1,
        "check_steps": 20,
        "polish_steps": 5,
        "certify": "none",
    }
    return prepare(Measurement.from_flat(small | settings), model=own_model)


@pytest.fixture
def make_prepared() -> Callable[..., Prepared]:
    """`make_prepared(reparam="prune:0.5", ...)`: a small measurement on digits."""
    return _prepare


@pytest.fixture
def train() -> Callable[..., list[ProbeResult]]:
    """`train(trainer, probes)`: their verdicts in the order of the probes, wall time left out."""
    return trained
