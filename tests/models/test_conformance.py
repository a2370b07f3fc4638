"""One conformance test over every registered model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from emc.api import prepare
from emc.errors import SpecError, UnknownNameError
from emc.executors.base import Executor
from emc.executors.choice import stacking_obstacle
from emc.models import MODELS
from emc.models.activations import ACTIVATIONS
from emc.results import ProbeFailure, ProbeResult, Verdict
from emc.specs import Measurement, Probe
from emc.training.lockstep import LockstepTrainer
from emc.training.obstacles import find_obstacle
from emc.training.setup import Setup
from emc.training.single import SingleTrainer

SHAPE, K = (2, 8, 8), 5
D = math.prod(SHAPE)


def mlp_parameters(width: int, depth: int) -> int:
    """(d + 1) w + (depth - 1) (w + 1) w + (w + 1) K."""
    return (D + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * K


def cnn_parameters(width: int, depth: int, hidden: int = 64) -> int:
    """Convolutions of 9 taps, 2x2 maps into hidden units, output."""
    convolutions = (9 * SHAPE[0] + 1) * width + (depth - 1) * (9 * width + 1) * width
    return convolutions + (4 * width + 1) * hidden + (hidden + 1) * K


def block_parameters(width: int, wide: int) -> int:
    """Two layers with biases around `wide` units, and the LayerNorm before them."""
    return 2 * width * wide + wide + 3 * width


def vit_parameters(patch: int, dim: int, depth: int, hidden: int) -> int:
    """Patches, class token, positions; blocks of attention and MLP with a LayerNorm each; LayerNorm, output."""
    patches = 64 // patch**2
    embedding = (SHAPE[0] * patch**2 + 1) * dim + dim + (patches + 1) * dim
    attention = 2 * dim + 3 * (dim + 1) * dim + (dim + 1) * dim
    return embedding + depth * (attention + block_parameters(dim, hidden)) + 2 * dim + (dim + 1) * K


def mixer_parameters(patch: int, dim: int, depth: int, tokens: int, hidden: int) -> int:
    """Patches; blocks of an MLP across patches and one across channels, with a LayerNorm each; LayerNorm, output."""
    patches = 64 // patch**2
    across = 2 * patches * tokens + tokens + patches + 2 * dim
    embedding = (SHAPE[0] * patch**2 + 1) * dim
    return embedding + depth * (across + block_parameters(dim, hidden)) + 2 * dim + (dim + 1) * K


def resnet_parameters(width: int, blocks: tuple[int, ...], a_channel: int = 2, stem_taps: int = 9) -> int:
    """Stem, basic blocks with a projection where the width grows, output; a normalisation has 2 numbers a channel."""
    total, channels = stem_taps * SHAPE[0] * width + a_channel * width, width
    for stage, number in enumerate(blocks):
        planes = width << stage
        total += 9 * channels * planes + (18 * number - 9) * planes**2 + number * 2 * a_channel * planes
        total += (channels + a_channel) * planes if stage > 0 else 0
        channels = planes
    return total + (channels + 1) * K


def resnet_rs_parameters(width: int, blocks: tuple[int, ...]) -> int:
    """Deep stem, bottlenecks of p planes and 4p channels whose gates have 8 hidden units or p, output."""
    half = width // 2
    total = (9 * SHAPE[0] + 2) * half + (9 * half + 2) * half + (9 * half + 2) * width + (9 * width + 2) * width
    channels = width
    for stage, number in enumerate(blocks):
        planes = width << stage
        gates = max(8, planes)
        for block in range(number):
            total += (channels + 2) * planes + (9 * planes + 2) * planes + (planes + 2) * 4 * planes
            total += (4 * planes + 1) * gates + (gates + 1) * 4 * planes
            total += (channels + 2) * 4 * planes if block == 0 else 0
            channels = 4 * planes
    return total + (channels + 1) * K


def to_eighths(channels: int) -> int:
    """The nearest multiple of 8, unless that is more than a tenth less."""
    near = max(8, (channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def efficientnet_parameters(stem: int, blocks: tuple[tuple[int, int, int], ...], head: int) -> int:
    """Stem; inverted bottlenecks of an expansion, a kernel and so many channels; head; output."""
    total, channels = (9 * SHAPE[0] + 2) * stem, stem
    for expansion, kernel, wide in blocks:
        inner = channels if expansion == 1 else to_eighths(expansion * channels)
        gates = max(1, round(channels / 4))
        total += (channels + 2) * inner if expansion > 1 else 0
        total += (kernel**2 + 2) * inner + (inner + 1) * gates + (gates + 1) * inner + (inner + 2) * wide
        channels = wide
    return total + (channels + 2) * head + (head + 1) * K


def cnn5_parameters(c: int) -> int:
    """378c^2 + 152c + 10 at 3 channels and 10 classes."""
    return 378 * c**2 + 152 * c + 10 + 9 * (SHAPE[0] - 3) * c + (8 * c + 1) * (K - 10)


def resnet18k_parameters(k: int, a_channel: int = 2) -> int:
    """2724k^2 + 213k + 10 at 3 channels, 10 classes and BatchNorm, which has 2 numbers for each of 53k channels."""
    return 2724 * k**2 + (107 + 53 * a_channel) * k + 10 + 9 * (SHAPE[0] - 3) * k + (8 * k + 1) * (K - 10)


#: Every registered model, with options and the parameters they must give: one line an entry. The first entry of a name
#: is also trained: it has to be able to fit eight samples.
PARAMETERS = {
    "linear": (D + 1) * K,
    "mlp:width=7": mlp_parameters(7, 1),
    "mlp:width=6,depth=3": mlp_parameters(6, 3),
    "random_features:dim=9": 9 * K,
    "random_features:dim=4,bandwidth=8": 4 * K,
    "cnn:width=3,depth=1": cnn_parameters(3, 1),
    "cnn:width=4,depth=3": cnn_parameters(4, 3),
    "mlp:width=7,dropout=0.1": mlp_parameters(7, 1),
    "cnn:width=3,depth=1,dropout=0.1": cnn_parameters(3, 1),
    "cnn:width=3,hidden=5": cnn_parameters(3, 2, 5),
    "mlp_bottleneck:width=7": (D + 1) * 7 + block_parameters(7, 28) + 8 * K,
    "B_3-Wi_5": (D + 1) * 5 + 3 * block_parameters(5, 20) + 6 * K,
    "mlp_bottleneck:width=5,depth=2,expansion=2,dropout=0.1": (D + 1) * 5 + 2 * block_parameters(5, 10) + 6 * K,
    "mlp_standard:width=7": (D + 1) * 7 + (8 + 2) * 7 + 8 * K,
    "mlp_standard:width=5,depth=4,dropout=0.1": (D + 1) * 5 + 3 * (6 + 2) * 5 + 6 * K,
    "vit:dim=8,depth=1": vit_parameters(4, 8, 1, 32),
    "vit:patch=2,dim=6,depth=2,heads=3,mlp_ratio=1.5,dropout=0.1": vit_parameters(2, 6, 2, 9),
    "mixer:dim=8,depth=1": mixer_parameters(4, 8, 1, 4, 32),
    "mixer:patch=2,dim=6,depth=2,token_ratio=0.3,channel_ratio=2,dropout=0.1": mixer_parameters(2, 6, 2, 2, 12),
    "cnn5:width=3": cnn5_parameters(3),
    "efficientnet:width=0.25,stages=2,divisor=4": efficientnet_parameters(8, ((1, 3, 4), (6, 3, 8), (6, 3, 8)), 24),
    "efficientnet:phi=-20,stages=2,divisor=1,stem=imagenet": efficientnet_parameters(5, ((1, 3, 3), (6, 3, 4)), 14),
    "resnet:width=4,blocks=2|2": resnet_parameters(4, (2, 2)),
    "resnet:width=3,blocks=1|2|1,norm=group": resnet_parameters(3, (1, 2, 1)),
    "resnet:width=4,blocks=1|1,norm=none,stem=imagenet": resnet_parameters(4, (1, 1), 1, 49),
    "resnet18k:width=1": resnet18k_parameters(1),
    "resnet18k:width=2,norm=group": resnet18k_parameters(2),
    "resnet18k:width=1,norm=none": resnet18k_parameters(1, 1),
    "resnet_rs:width=4,blocks=1|1": resnet_rs_parameters(4, (1, 1)),
    "resnet_rs:width=2,blocks=1|2|1,stem=imagenet": resnet_rs_parameters(2, (1, 2, 1)),
}

#: Names whose entries take seconds.
SLOW = {"efficientnet", "resnet18k", "resnet_rs"}


def named(model: str) -> str:
    return MODELS.get(model.partition(":")[0]).name


def takes_activation(model: str) -> bool:
    return bool(MODELS.get(named(model)).facts.get("activation"))


def marked(*values: str) -> Any:
    return pytest.param(*values, marks=[pytest.mark.slow] if named(values[0]) in SLOW else [])


EVERY = [marked(model) for model in PARAMETERS]
ONE_OF_EACH = [marked(model) for model in {named(model): model for model in reversed(PARAMETERS)}.values()]
ACTIVATED = [
    marked(model, activation)
    for model in PARAMETERS
    for activation in (("relu", "tanh", "identity") if takes_activation(model) else ("relu",))
]


def build(model: str, activation: str = "relu") -> nn.Module:
    handed: list[object] = [SHAPE, K]
    if takes_activation(model):
        handed.append(lambda: ACTIVATIONS.build(activation))
    return MODELS.build(model, *handed)


def prepared(model: str, **settings: Any) -> Setup:
    small = {"data": "digits", "labels": "random", "optimizer": "adam:lr=0.01", "batch_size": 8, "check_steps": 25}
    given = {"model": model, "min_steps": 2000, "max_epochs": 1, "certify": "none"} | small | settings
    return prepare(Measurement.from_flat(given)).setup


def train(trainer: Executor, probe: Probe) -> ProbeResult:
    trainer.add(probe)
    while not (outcomes := trainer.advance()):
        pass
    (outcome,) = outcomes
    if isinstance(outcome, ProbeFailure):
        raise outcome.error
    return outcome


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads that wait for each other slow tiny networks tenfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_every_registered_model_is_held_to_a_count() -> None:
    assert {named(model) for model in PARAMETERS} == set(MODELS.names())


@pytest.mark.parametrize("model", EVERY)
def test_parameters(model: str) -> None:
    assert sum(p.numel() for p in build(model).parameters() if p.requires_grad) == PARAMETERS[model]


@pytest.mark.parametrize(("model", "activation"), ACTIVATED)
def test_logits_and_gradients(model: str, activation: str) -> None:
    """Every parameter has a gradient, the last by the third step: what begins at zero hides what lies before it."""
    torch.manual_seed(0)
    module = build(model, activation).double().train()
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(64, *SHAPE, generator=generator, dtype=torch.float64)
    y = torch.randint(K, (64,), generator=generator)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    silent = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    for _ in range(3):
        optimizer.zero_grad()
        logits = module(X)
        assert logits.shape == (64, K)
        assert logits.dtype == torch.float64
        functional.cross_entropy(logits, y).backward()
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name
                if parameter.grad.abs().max() > 0:
                    silent.discard(name)
        optimizer.step()
    assert not silent


@pytest.mark.parametrize("model", EVERY)
def test_samples_do_not_see_each_other(model: str) -> None:
    torch.manual_seed(0)
    module = build(model).double().eval()
    X = torch.randn(8, *SHAPE, dtype=torch.float64)
    torch.testing.assert_close(module(X)[3:4], module(X[3:4]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", EVERY)
def test_fresh_init_is_a_function_of_the_seed_and_leaves_the_global_generator(
    model: str, global_generator_kept: Callable[[], bool]
) -> None:
    """What is drawn at all is drawn anew for another probe; scales, shifts and zeros are the same in all."""
    setup = prepared(model, precision="float64")
    X = setup.pool.samples(0).first(4)[0]

    def fresh(n: int, replicate: int, attempt: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        module = setup.fresh_model(Probe("base", n, replicate, attempt)).eval()
        return [p.detach() for p in module.parameters()], module(X).detach()

    first, logits = fresh(20, 0, 0)
    drawn = [bool((p != p.flatten()[0]).any()) for p in first]
    assert sum(p.numel() for p, was in zip(first, drawn, strict=True) if was) > 0.5 * sum(p.numel() for p in first)
    again, same = fresh(20, 0, 0)
    assert first[0].dtype == torch.float64
    assert all(map(torch.equal, first, again))
    assert torch.equal(logits, same)
    for other in ((21, 0, 0), (20, 1, 0), (20, 0, 1)):
        for one, two, was in zip(first, fresh(*other)[0], drawn, strict=True):
            assert (one != two).double().mean() > 0.99 if was else torch.equal(one, two)
    assert global_generator_kept()


@pytest.mark.parametrize("model", EVERY)
def test_what_can_be_stacked_is(model: str) -> None:
    """By its layers alone: BatchNorm and dropout are for `single`, everything else is for both."""
    module = build(model)
    expected = None
    if any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in module.modules()):
        expected = "it draws random numbers in training mode"
    elif any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules()):
        expected = "keeps running statistics"
    found = find_obstacle(lambda: build(model), SHAPE)
    assert found is None if expected is None else expected in str(found), found


@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_lockstep_is_single(model: str) -> None:
    setup = prepared(model, precision="float64", min_steps=50, batch_size=16)
    probe = Probe("base", 16, 0)
    single = train(SingleTrainer(setup), probe)
    assert train(SingleTrainer(setup), probe).loss == single.loss
    if stacking_obstacle(setup) is None:
        stacked = train(LockstepTrainer(setup, 2), probe)
        assert (stacked.verdict, stacked.steps, stacked.correct) == (single.verdict, single.steps, single.correct)
        assert stacked.loss == pytest.approx(single.loss, rel=1e-6)


@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_fits_eight_random_labels(model: str) -> None:
    result = train(SingleTrainer(prepared(model)), Probe("base", 8, 0))
    assert result.verdict is Verdict.FITTED, result


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
        ("cnn:width=0", "cnn needs width, depth and hidden of at least 1, got width=0, depth=2, hidden=64"),
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
