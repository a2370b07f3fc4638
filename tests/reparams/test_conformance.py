"""What holds of every reparameterisation, with models of several kinds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from emc.api import Prepared
from emc.errors import SpecError
from emc.executors.choice import choose
from emc.executors.payload import files_in, pack, unpack
from emc.reparams import REPARAMS
from emc.reparams.modules.wrapped import Wrapped
from emc.results import ProbeResult, Verdict
from emc.specs import Probe
from emc.training.checkpoints import held_beside
from emc.training.lockstep import LockstepTrainer
from emc.training.obstacles import find_obstacle
from emc.training.single import SingleTrainer

Make = Callable[..., nn.Module]
MakePrepared = Callable[..., Prepared]
Train = Callable[..., list[ProbeResult]]

#: Every registered reparameterisation, in its forms.
SPECS = (
    "subspace:40",
    "subspace:dim=40,normalise=false",
    "subspace:dim=40,projection=sparse",
    "subspace:dim=40,projection=fastfood",
    "subspace:dim=40,projection=kronecker",
    "precision:bf16",
    "precision:fp16",
    "precision:int8",
    "precision:int4",
    "prune:0.6",
    "prune:fraction=0.6,rule=magnitude",
    "prune:fraction=0.6,scope=global",
    "prune:fraction=0.6,rule=lottery,train=40,rewind=10,rounds=2",
)
STACKED = tuple(spec for spec in SPECS if "lottery" not in spec)
MODELS = ("mlp:width=5", "cnn:width=3", "random_features:dim=20")

#: Coordinates of a subspace have far to go; other weights do not.
RATES = {"subspace": "adam:lr=0.1"}


def test_every_registered_one_is_here() -> None:
    assert {spec.partition(":")[0] for spec in SPECS} == set(REPARAMS.names())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("spec", SPECS)
def test_module(make: Make, spec: str, model: str) -> None:
    """Logits, gradients of all that is trained, a float64 copy, and nothing held beside parameters and buffers."""
    module = make(spec, model)
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(64, 1, 8, 8, generator=generator)
    y = torch.randint(3, (64,), generator=generator)
    beside = held_beside(module)
    logits = module(X)
    functional.cross_entropy(logits, y).backward()
    assert beside is not None
    assert held_beside(module) == beside
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    assert trained
    for name, parameter in trained.items():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
    double = copy.deepcopy(module).double().eval()
    torch.testing.assert_close(double(X.double()).float(), logits, rtol=1e-4, atol=1e-5)
    other = make(spec, model, seed=1)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(X), logits)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("spec", SPECS)
def test_what_is_drawn_is_a_function_of_the_seed(make: Make, spec: str, model: str) -> None:
    first, again, other = make(spec, model), make(spec, model), make(spec, model, seed=1)
    held = first.state_dict()
    assert all(torch.equal(held[name], tensor) for name, tensor in again.state_dict().items())
    assert not all(torch.equal(held[name], tensor) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("spec", STACKED)
def test_torch_func_stacks_them(make: Make, spec: str, model: str) -> None:
    seeds = iter(range(3))
    assert find_obstacle(lambda: make(spec, model, next(seeds)), (1, 8, 8)) is None


@pytest.mark.parametrize("spec", ["subspace:60", "precision:int8", "prune:0.5,rule=magnitude"])
def test_lockstep_agrees_with_single(make_prepared: MakePrepared, train: Train, spec: str) -> None:
    """In float64, where both round alike; each of two sizes and three replicates."""
    prepared = make_prepared(
        model="mlp:width=8", reparam=spec, optimizer="gd:lr=0.3", precision="float64", min_steps=200
    )
    probes = [Probe("base", n, replicate) for n in (8, 60) for replicate in range(3)]
    stacked = train(LockstepTrainer(prepared.setup, 8), probes)
    alone = train(SingleTrainer(prepared.setup), probes)
    facts = [[(r.verdict, r.evidence, r.correct, r.steps) for r in found] for found in (stacked, alone)]
    assert facts[0] == facts[1]
    assert {result.verdict for result in alone} == {Verdict.FITTED, Verdict.NOT_FITTED}


@pytest.mark.parametrize("spec", SPECS)
def test_eight_random_labels_are_fitted_the_same_in_another_process(
    make_prepared: MakePrepared, train: Train, tmp_path: Path, spec: str
) -> None:
    rate = RATES.get(spec.partition(":")[0], "adam:lr=0.01")
    setup = make_prepared(model="mlp:width=16", activation="tanh", reparam=spec, optimizer=rate, min_steps=1000).setup
    probe = Probe("base", 8, 0)
    found = train(SingleTrainer(setup), [probe])
    assert found[0].verdict is Verdict.FITTED
    assert train(SingleTrainer(unpack(pack(setup, files_in(str(tmp_path))))), [probe]) == found


@pytest.mark.parametrize("spec", SPECS)
def test_a_reparameterised_linear_model_is_none(make_prepared: MakePrepared, spec: str) -> None:
    """No linear program may speak for it, no compiled loop may see through it, nothing may solve it."""
    prepared = make_prepared(model="linear", reparam=spec)
    assert isinstance(prepared.setup.make_model(), Wrapped)
    assert not prepared.setup.linear
    assert choose(prepared.setup, "auto").trainer == "single"
    with pytest.raises(SpecError, match="compiled loops know, but its model is no chain"):
        choose(prepared.setup, "compiled")
    with pytest.raises(SpecError, match="got a reparameterised one; use --model linear"):
        make_prepared(model="linear", reparam=spec, optimizer="lstsq", loss="squared")


def test_batch_norm_is_re_estimated_inside(make_prepared: MakePrepared, train: Train) -> None:
    def normed(_shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, classes))

    for spec in ("subspace:80", "precision:bf16", "prune:0.5"):
        setup = make_prepared(normed, reparam=spec, optimizer="adam:lr=0.03", min_steps=3000).setup
        assert choose(setup, "auto").trainer == "single"
        assert train(SingleTrainer(setup), [Probe("base", 16, 0)])[0].verdict is Verdict.FITTED


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("subspace:0", "subspace needs dim of at least 1, got 0"),
        ("subspace", "reparameterisation subspace needs dim; write subspace:dim=..."),
        (
            "subspace:9999",
            "subspace takes dim of at most the model's 343 trainable parameters, got dim=9,999; lower it",
        ),
        ("subspace:3,projection=sprase", "subspace takes projection as one of dense, .* got sprase; did you mean"),
        ("precision:int3", "precision takes bits as one of bf16, fp16, int8, int4, got int3; did you mean"),
        ("prune:1", "prune takes fraction from 0 to below 1, got 1.0; name the share that goes, such as 0.9"),
        ("prune:0.5,rule=magic", "prune takes rule as one of random, magnitude, lottery, got magic; "),
        ("prune:0.5,scope=all", "prune takes scope as one of layer, global, got all; known are"),
        ("prune:0.5,train=9", "only rule=lottery trains before it prunes, got train=9 for random; leave it out"),
        ("prune:0.5,rule=lottery,train=9,rewind=10", "rewind from 0 to train, got train=9, rewind=10, rounds=1"),
    ],
)
def test_options_out_of_range_are_refused(make: Make, spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make(spec)


def test_prune_needs_weights(make_prepared: MakePrepared) -> None:
    def scales(_shape: tuple[int, ...], classes: int) -> nn.Module:
        frozen = nn.Linear(64, classes)
        frozen.weight.requires_grad_(False)
        return nn.Sequential(nn.Flatten(), frozen)

    with pytest.raises(SpecError, match="prune needs a model with trainable weights of two or more dimensions"):
        make_prepared(scales, reparam="prune:0.5")
