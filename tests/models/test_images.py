"""What families of image models share: normalisations at few samples, and what is examined of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from emc.api import prepare
from emc.models import MODELS
from emc.results import ProbeFailure, ProbeResult, Verdict
from emc.specs import Measurement, Probe
from emc.training.counting import estimate_batch_norm
from emc.training.curvature import smallest_eigenvalue
from emc.training.polish import polish
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
def test_descent_and_curvature_are_examined_at_fixed_statistics(model: str) -> None:
    """The Rayleigh quotient of no direction is below the smallest eigenvalue, or beyond the largest magnitude."""
    setup = prepare(Measurement.from_flat({"model": model, "data": "digits", "labels": "random"})).setup
    X, y = setup.samples(Probe("base", 40, 0)).first(40)
    module = setup.fresh_model(Probe("base", 40, 0))
    estimate_batch_norm(module, X, torch.arange(40))
    reached = polish(module, X, y, 5)
    assert reached.gain > 0
    for name, buffer in reached.module.named_buffers():
        torch.testing.assert_close(buffer, module.get_buffer(name).to(buffer.dtype), rtol=0, atol=0)
    found = smallest_eigenvalue(module, X, y)
    module = module.double().eval()
    parameters = list(module.parameters())
    loss = nn.functional.cross_entropy(module(X.double()), y)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    direction = [torch.randn_like(p) for p in parameters]
    products = torch.autograd.grad(gradients, parameters, direction)
    quotient = sum(float((d * h).sum()) for d, h in zip(direction, products, strict=True))
    quotient /= sum(float(d.square().sum()) for d in direction)
    assert found.value * (1 + 1e-3) <= quotient <= found.largest * (1 + 1e-3)


def test_statistics_of_efficientnets_own_kind_of_norm_are_estimated_too() -> None:
    torch.manual_seed(0)
    module = MODELS.build("efficientnet:stages=1", (1, 8, 8), 10)
    X = torch.randn(600, 1, 8, 8)
    estimate_batch_norm(module, X, torch.arange(600))
    hidden = module.conv_stem(X).detach()
    torch.testing.assert_close(module.bn1.running_mean, hidden.mean((0, 2, 3)), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(module.bn1.running_var, hidden.var((0, 2, 3)), rtol=1e-2, atol=1e-5)
    assert isinstance(module.bn1, nn.BatchNorm2d)
