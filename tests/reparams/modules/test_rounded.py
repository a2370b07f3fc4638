"""What a net on a coarse grid computes with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from emc.api import Prepared
from emc.reparams.modules.rounded import rounded
from emc.results import Evidence, ProbeResult, Verdict
from emc.specs import Probe
from emc.training.curvature import straight_through
from emc.training.lockstep import LockstepTrainer
from emc.training.single import SingleTrainer

Make = Callable[..., nn.Module]
FORMS = ("bf16", "fp16", "int8", "int4")


def test_known_roundings() -> None:
    assert rounded(torch.tensor([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -3.14159265]), "bf16").tolist() == [
        1.0,
        1.0,
        1.015625,
        -3.140625,
    ]
    assert rounded(torch.tensor([1e6, -1e6, 2**-24, 2**-26]), "fp16").tolist() == [65504.0, -65504.0, 2**-24, 0.0]
    row = torch.tensor([[7.0, 3.4, -3.6, 2.5, 0.2], [0.0, 0.0, 0.0, 0.0, 0.0], [-14.0, 1.0, 3.0, 13.9, 5.0]])
    assert rounded(row, "int4").tolist() == [[7, 3, -4, 2, 0], [0] * 5, [-14, 0, 4, 14, 4]]


def on_grid(tensor: torch.Tensor, form: str) -> bool:
    if form == "fp16":
        return torch.equal(tensor.half().float(), tensor)
    if form == "bf16" or tensor.dim() < 2:
        return torch.equal(tensor.bfloat16().float(), tensor)
    most = {"int8": 127, "int4": 7}[form]
    scale = tensor.abs().flatten(1).amax(1) / most
    steps = tensor.flatten(1) / scale[:, None]
    levels = max(len(row.unique()) for row in tensor.flatten(1))
    return levels <= 2 * most + 1 and bool(((steps - steps.round()).abs() < 1e-4 * most).all())


@pytest.mark.parametrize("model", ["mlp:width=5", "cnn:width=3"])
@pytest.mark.parametrize("form", FORMS)
def test_each_call_sees_the_grid_to_the_bit(make: Make, form: str, model: str) -> None:
    """In training and in evaluation, after a step, in float32 and in a float64 copy."""
    module = make(f"precision:{form}", model)
    seen: dict[str, torch.Tensor] = {}

    def note(layer: nn.Module, _inputs: object) -> None:
        seen.update({f"{id(layer)}.{name}": p.detach().clone() for name, p in layer._parameters.items()})

    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            part.register_forward_pre_hook(note)
    X = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    module(X).square().mean().backward()
    torch.optim.SGD(module.parameters(), lr=0.5).step()
    for mode in (True, False):
        seen.clear()
        module.train(mode)(X)
        assert seen
        assert all(on_grid(tensor, form) for tensor in seen.values())
    single = {name: tensor.clone() for name, tensor in seen.items()}
    seen.clear()
    module.double()(X.double())
    assert all(torch.equal(seen[name], tensor.double()) for name, tensor in single.items())


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_passes_straight_through(make: Make, form: str) -> None:
    module = make(f"precision:{form}")
    X = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    module(X).square().sum().backward()
    passed = {name: p.grad.clone() for name, p in module.inner.named_parameters() if p.grad is not None}
    with torch.no_grad():
        for parameter in module.inner.parameters():
            parameter.copy_(rounded(parameter, form))
            parameter.grad = None
    module.inner(X).square().sum().backward()
    for name, parameter in module.inner.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(passed[name], parameter.grad)


@pytest.mark.parametrize("trainer", [SingleTrainer, lambda setup: LockstepTrainer(setup, 2)])
@pytest.mark.parametrize("certify", ["stationary", "hessian"])
def test_no_stationary_point_is_claimed(
    make_prepared: Callable[..., Prepared],
    train: Callable[..., list[ProbeResult]],
    trainer: Callable[..., SingleTrainer],
    certify: str,
) -> None:
    """int4 with a step size that changes no level: latent weights creep, the net does not."""
    settings = {"model": "mlp:width=3", "optimizer": "gd:lr=1e-9", "stall_share": 0.1, "certify": certify}
    found = train(trainer(make_prepared(reparam="precision:int4", **settings).setup), [Probe("base", 60, 0)])[0]
    assert (found.verdict, found.evidence) == (Verdict.NOT_FITTED, Evidence.NOISE_FLOOR)
    assert found.detail["stationary_undecided"] == "its gradient passes straight through steps of the loss"
    assert found.gradient_norm is None
    assert "polish_gain" not in found.detail


def test_budget_stays_budget(make_prepared: Callable[..., Prepared], train: Callable[..., list[ProbeResult]]) -> None:
    setup = make_prepared(reparam="precision:bf16", model="mlp:width=3", min_steps=20, check_steps=10).setup
    found = train(SingleTrainer(setup), [Probe("base", 100, 0)])[0]
    assert found.evidence is Evidence.BUDGET
    assert "stationary_undecided" not in found.detail


def test_any_module_may_say_that_its_gradient_is_none() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert not straight_through(module)
    module[1].straight_through = True  # type: ignore[assignment]
    assert straight_through(module)
