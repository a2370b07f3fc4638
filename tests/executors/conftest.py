"""Small measurements of models that only the single trainer takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from drives import trained

from emc.api import prepare
from emc.executors.base import Executor
from emc.results import ProbeResult
from emc.specs import Measurement, Probe
from emc.training.setup import Setup

MakeSetup = Callable[..., Setup]
Finish = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _make_setup(own_model: Any = None, **settings: Any) -> Setup:
    small = {"min_steps": 20, "check_steps": 10, "max_epochs": 1, "labels": "random"}
    return prepare(Measurement.from_flat(small | settings), model=own_model).setup


@pytest.fixture
def make_setup() -> MakeSetup:
    """`make_setup(own_model, model="cnn", ...)`: what trains, with some settings of its own."""
    return _make_setup


@pytest.fixture
def finish() -> Finish:
    """`finish(executor, probes)`: their verdicts in the order of the probes, wall time left out."""
    return trained
