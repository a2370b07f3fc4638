"""What families of image models share: normalisations at few samples, and what is examined of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from emc.api import prepare
from emc.models import MODELS
from emc.results import Evidence, ProbeFailure, ProbeResult, Verdict
from emc.specs import Measurement, Probe
from emc.training.counting import estimate_batch_norm
from emc.training.single import SingleTrainer

#: With maps of one pixel at the end of 8x8 images, where a channel has as many values as there are samples.
BATCH_NORMED = [
    "resnet:width=2,blocks=1|1|1|1",
    "resnet_rs:width=2,blocks=1|1|1,stem=imagenet",
    "efficientnet:width=0.1,stages=4,divisor=1,depth=0.3,stem=imagenet",
    "cnn5:width=2",
    "resnet18k:width=1",
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads that wait for each other slow tiny networks tenfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(model: str, n: int, **settings: object) -> ProbeResult:
    small = {"data": "digits", "labels": "random", "check_steps": 10, "max_epochs": 1, "polish_steps": 3}
    setup = prepare(Measurement.from_flat({"model": model} | small | settings)).setup
    trainer = SingleTrainer(setup)
    trainer.add(Probe("base", n, 0))
    while not (outcomes := trainer.advance()):
        pass
    (outcome,) = outcomes
    if isinstance(outcome, ProbeFailure):
        raise outcome.error
    return outcome


@pytest.mark.parametrize("n", [2, 3, 16])
@pytest.mark.parametrize("model", BATCH_NORMED)
def test_few_samples_train(model: str, n: int) -> None:
    result = train(model, n, min_steps=20, certify="none")
    assert result.verdict in (Verdict.FITTED, Verdict.NOT_FITTED), result


@pytest.mark.parametrize("model", BATCH_NORMED)
def test_a_stalled_failure_is_examined(model: str) -> None:
    """In float64 and by the statistics as they are, after steps too small to gain anything."""
    result = train(model, 64, min_steps=100, stall_tolerance=1.0, optimizer="sgd:lr=1e-12", polish_steps=5)
    assert result.verdict is Verdict.NOT_FITTED
    assert result.evidence is Evidence.NOISE_FLOOR
    assert result.detail["polish_gain"] > 0.001


@pytest.mark.parametrize("model", BATCH_NORMED)
def test_curvature_is_known(model: str) -> None:
    """A product with the Hessian is the change of the gradient along a direction, by finite differences."""
    setup = prepare(Measurement.from_flat({"model": model, "data": "digits", "precision": "float64"})).setup
    X, y = setup.samples(Probe("base", 12, 0)).first(12)
    module = setup.fresh_model(Probe("base", 12, 0))
    estimate_batch_norm(module, X, torch.arange(12))
    parameters = list(module.eval().parameters())

    def gradient() -> torch.Tensor:
        loss = nn.functional.cross_entropy(module(X), y)
        parts = torch.autograd.grad(loss, parameters, create_graph=True)
        return torch.cat([part.flatten() for part in parts])

    direction = torch.randn(sum(p.numel() for p in parameters), dtype=torch.float64)
    products = torch.autograd.grad(gradient(), parameters, direction)
    exact = torch.cat([part.flatten() for part in products])
    ends = []
    for sign in (1, -1):
        shift = torch.split(sign * 1e-7 * direction, [p.numel() for p in parameters])
        with torch.no_grad():
            for parameter, part in zip(parameters, shift, strict=True):
                parameter += part.view_as(parameter)
        ends.append(gradient().detach())
        with torch.no_grad():
            for parameter, part in zip(parameters, shift, strict=True):
                parameter -= part.view_as(parameter)
    numeric = (ends[0] - ends[1]) / 2e-7
    assert float((numeric - exact).norm() / exact.norm()) < 1e-3


def test_statistics_of_efficientnets_own_kind_of_norm_are_estimated_too() -> None:
    torch.manual_seed(0)
    module = MODELS.build("efficientnet:stages=1", (1, 8, 8), 10)
    X = torch.randn(600, 1, 8, 8)
    estimate_batch_norm(module, X, torch.arange(600))
    hidden = module.conv_stem(X).detach()
    torch.testing.assert_close(module.bn1.running_mean, hidden.mean((0, 2, 3)), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(module.bn1.running_var, hidden.var((0, 2, 3)), rtol=1e-2, atol=1e-5)
    assert isinstance(module.bn1, nn.BatchNorm2d)
