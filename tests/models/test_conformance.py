"""One conformance test over every registered model."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from emc.api import prepare
from emc.errors import SpecError, UnknownNameError
from emc.models import MODELS
from emc.models.activations import ACTIVATIONS
from emc.specs import Measurement, Probe

SHAPE, K = (2, 8, 8), 5
D = math.prod(SHAPE)


def mlp_parameters(width: int, depth: int) -> int:
    """(d + 1) w + (depth - 1) (w + 1) w + (w + 1) K."""
    return (D + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * K


def cnn_parameters(width: int, depth: int) -> int:
    """Convolutions of 9 taps, 2x2 maps into 64 units, output."""
    convolutions = (9 * SHAPE[0] + 1) * width + (depth - 1) * (9 * width + 1) * width
    return convolutions + (4 * width + 1) * 64 + 65 * K


#: Every registered model, with options and the parameters they must give.
PARAMETERS = {
    "linear": (D + 1) * K,
    "mlp:width=7": mlp_parameters(7, 1),
    "mlp:width=6,depth=3": mlp_parameters(6, 3),
    "random_features:dim=9": 9 * K,
    "random_features:dim=4,bandwidth=8": 4 * K,
    "cnn:width=3,depth=1": cnn_parameters(3, 1),
    "cnn:width=4,depth=3": cnn_parameters(4, 3),
}


def build(model: str, activation: str = "relu") -> nn.Module:
    handed: list[object] = [SHAPE, K]
    if MODELS.get(model.partition(":")[0]).facts.get("activation"):
        handed.append(lambda: ACTIVATIONS.build(activation))
    return MODELS.build(model, *handed)


def test_every_registered_model_is_held_to_a_formula() -> None:
    assert {text.partition(":")[0] for text in PARAMETERS} == set(MODELS.names())


@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
@pytest.mark.parametrize("model", PARAMETERS)
def test_model(model: str, activation: str) -> None:
    torch.manual_seed(0)
    module = build(model, activation).double()
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == PARAMETERS[model]
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(64, *SHAPE, generator=generator, dtype=torch.float64)
    y = torch.randint(K, (64,), generator=generator)
    logits = module(X)
    assert logits.shape == (64, K)
    assert logits.dtype == torch.float64
    functional.cross_entropy(logits, y).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("model", PARAMETERS)
def test_samples_do_not_see_each_other(model: str) -> None:
    torch.manual_seed(0)
    module = build(model).double().eval()
    X = torch.randn(8, *SHAPE, dtype=torch.float64)
    torch.testing.assert_close(module(X)[3:4], module(X[3:4]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", PARAMETERS)
def test_fresh_init_is_a_function_of_the_seed_and_leaves_the_global_generator(
    model: str, global_generator_kept: Callable[[], bool]
) -> None:
    setup = prepare(Measurement.from_flat({"model": model, "data": "digits", "precision": "float64"})).setup

    def flat(n: int, replicate: int, attempt: int) -> torch.Tensor:
        module = setup.fresh_model(Probe("base", n, replicate, attempt))
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    first = flat(20, 0, 0)
    assert first.dtype == torch.float64
    assert torch.equal(first, flat(20, 0, 0))
    for other in ((21, 0, 0), (20, 1, 0), (20, 0, 1)):
        assert (first != flat(*other)).double().mean() > 0.99
    assert global_generator_kept()


@pytest.fixture
def global_generator_kept() -> Callable[[], bool]:
    """Whether PyTorch's global generator stands where it stood when the test began."""
    torch.manual_seed(123)
    before = torch.get_rng_state()
    return lambda: torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("mlp:width=0", "mlp needs width and depth of at least 1, got width=0, depth=1; use linear for none"),
        ("mlp:depth=0", "mlp needs width and depth of at least 1, got width=16, depth=0"),
        ("random_features:dim=0", "random_features needs dim of at least 1, got 0"),
        ("random_features:bandwidth=0", "random_features needs a bandwidth above 0 and finite, got 0"),
        ("cnn:width=0", "cnn needs width and depth of at least 1, got width=0, depth=2"),
        ("mlp:width=2.5", 'model mlp takes width as int, got "2.5"'),
    ],
)
def test_options_out_of_range_are_refused(model: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(model)


def test_cnn_needs_images() -> None:
    with pytest.raises(SpecError, match=r"cnn needs images .* got inputs of shape \(13,\); use mlp"):
        MODELS.build("cnn", (13,), K, nn.ReLU)


def test_unknown_model() -> None:
    with pytest.raises(UnknownNameError, match='there is no model "mpl"; did you mean "mlp"'):
        MODELS.build("mpl", SHAPE, K)


def test_cnn_pools_while_the_map_is_larger_than_4x4() -> None:
    torch.manual_seed(0)
    large = MODELS.build("cnn:depth=4", (1, 32, 32), K, nn.ReLU)
    small = MODELS.build("cnn:depth=4", (1, 4, 4), K, nn.ReLU)
    assert [sum(isinstance(m, nn.MaxPool2d) for m in net.modules()) for net in (large, small)] == [3, 0]
    assert large(torch.randn(3, 1, 32, 32)).shape == small(torch.randn(3, 1, 4, 4)).shape == (3, K)
