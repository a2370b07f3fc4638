"""Small measurements, ready to train on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from drives import trained

from emc.api import Prepared, prepare
from emc.data.dataset import Dataset
from emc.executors.base import Executor
from emc.results import ProbeResult
from emc.specs import Measurement, Probe

MakePrepared = Callable[..., Prepared]
Train = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads that wait for each other slow tiny networks tenfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _prepare(dataset: Dataset | tuple[Any, Any] | None = None, own_model: Any = None, **settings: Any) -> Prepared:
    small = {
        "data": "gaussian:dim=6,size=300",
        "model": "mlp:width=4",
        "labels": "random",
        "min_steps": 200,
        "max_epochs": 1,
        "check_steps": 50,
        "polish_steps": 5,
    }
    return prepare(Measurement.from_flat(small | settings), dataset=dataset, model=own_model)


@pytest.fixture
def make_prepared() -> MakePrepared:
    """`make_prepared(optimizer="sgd", ...)`: a small measurement with some settings of its own."""
    return _prepare


@pytest.fixture
def train() -> Train:
    """`train(trainer, probes)`: their verdicts in the order of the probes, wall time left out."""
    return trained
