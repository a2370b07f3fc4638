"""Saddles that are known: units whose weights are all zero get no gradient, whatever the first-order method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from emc.api import Prepared
from emc.executors.base import Executor
from emc.results import Evidence, ProbeResult, Verdict
from emc.specs import Probe
from emc.training.escape import leave_saddle
from emc.training.lockstep import LockstepTrainer
from emc.training.run import ProbeRun
from emc.training.setup import Setup
from emc.training.single import SingleTrainer

MakePrepared = Callable[..., Prepared]
Train = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]
TRAINERS: dict[str, Callable[[Setup], Executor]] = {
    "single": SingleTrainer,
    "lockstep": lambda setup: LockstepTrainer(setup, 4),
}


def blind(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """All weights zero but the first class's last bias: descent reaches the labels' frequencies, never an input."""
    module = nn.Sequential(nn.Linear(input_shape[0], 4), nn.Tanh(), nn.Linear(4, num_classes))
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    module[2].bias.data[0] = 1.0
    return module


def dormant(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """One unit that can learn and five that cannot: all their weights, in and out, are zero and stay so."""
    module = nn.Sequential(nn.Linear(input_shape[0], 6), nn.Tanh(), nn.Linear(6, num_classes))
    with torch.no_grad():
        module[0].weight[1:] = 0
        module[0].bias[1:] = 0
        module[2].weight[:, 1:] = 0
    return module


def normed(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The same with BatchNorm before it, which lockstep does not stack."""
    return nn.Sequential(nn.BatchNorm1d(input_shape[0]), blind(input_shape, num_classes))


BLIND: dict[str, Any] = {
    "own_model": blind,
    "optimizer": "gd:lr=0.5",
    "min_steps": 2000,
    "stall_share": 0.1,
    "precision": "float64",
}


@pytest.mark.parametrize("trainer", list(TRAINERS))
def test_from_a_saddle_the_training_goes_on_to_fit(make_prepared: MakePrepared, train: Train, trainer: str) -> None:
    probes = [Probe("base", 12, 1)]
    stayed, left = (
        train(TRAINERS[trainer](make_prepared(**BLIND, escape=escape).setup), probes) for escape in (False, True)
    )
    assert {found.evidence for found in stayed} == {Evidence.SADDLE}
    assert {found.verdict for found in left} == {Verdict.FITTED}
    for before, after in zip(stayed, left, strict=True):
        escape = after.detail["escapes"][0]
        assert escape["step"] == before.steps < after.steps
        assert escape["loss_after"] < escape["loss_before"] == pytest.approx(before.loss)
        assert "escapes" not in before.detail


def test_lbfgs_forgets_its_curvature_and_goes_on(make_prepared: MakePrepared, train: Train) -> None:
    settings = {"own_model": dormant, "optimizer": "lbfgs", "min_steps": 600, "precision": "float64"}
    probes = [Probe("base", 16, r) for r in range(2)]
    stayed, left = (
        train(SingleTrainer(make_prepared(**settings, escape=escape).setup), probes) for escape in (False, True)
    )
    assert [found.evidence for found in stayed] == [Evidence.SADDLE] * 2
    assert [found.verdict for found in left] == [Verdict.FITTED] * 2


def test_trainers_agree_and_stacks_change_nothing(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(**BLIND, escape=True).setup
    probes = [Probe("base", n, 0) for n in (12, 13)]
    together = train(LockstepTrainer(setup, 4), probes)
    assert any(found.detail["escapes"] for found in together)
    assert train(LockstepTrainer(setup, 1), probes) == together
    for single, stacked in zip(train(SingleTrainer(setup), probes), together, strict=True):
        assert (single.verdict, single.steps) == (stacked.verdict, stacked.steps)
        assert single.loss == pytest.approx(stacked.loss, rel=1e-5)
        assert single.detail["escapes"] == [pytest.approx(escape) for escape in stacked.detail["escapes"]]


def test_without_a_saddle_nothing_differs(make_prepared: MakePrepared, train: Train) -> None:
    """Whatever is fitted stays fitted, to the bit."""
    probes = [Probe("base", n, 0) for n in (8, 40)]
    off, on = (
        train(SingleTrainer(make_prepared(optimizer="adam:lr=0.02", min_steps=300, escape=escape).setup), probes)
        for escape in (False, True)
    )
    assert {found.verdict for found in off} == {Verdict.FITTED, Verdict.NOT_FITTED}
    for without, with_it in zip(off, on, strict=True):
        assert with_it.to_dict() == {**without.to_dict(), "detail": {**without.detail, "escapes": []}}


def test_batch_norm_models_escape_too(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(**BLIND | {"own_model": normed}, escape=True).setup
    found = train(SingleTrainer(setup), [Probe("base", 14, 0)])[0]
    assert found.verdict is Verdict.FITTED
    assert found.detail["escapes"]


def test_no_escape_once_the_budget_is_over(make_prepared: MakePrepared, train: Train) -> None:
    settings = BLIND | {"min_steps": 400, "stall_share": 1.0}
    found = train(SingleTrainer(make_prepared(**settings, escape=True).setup), [Probe("base", 14, 0)])[0]
    assert (found.evidence, found.steps) == (Evidence.SADDLE, 400)
    assert (found.detail["escapes"], found.detail["escape_failed"]) == ([], "the budget was over")


def stopped(make_prepared: MakePrepared, **settings: Any) -> tuple[Setup, ProbeRun, nn.Module]:
    setup = make_prepared(**BLIND | settings, escape=True).setup
    probe = Probe("base", 14, 0)
    return setup, ProbeRun(setup, probe), setup.fresh_model(probe)


def test_the_least_loss_of_both_signs_is_taken(make_prepared: MakePrepared) -> None:
    """Along the last bias of the first class the loss is convex with its minimum at log-odds: one sign leads there."""
    setup, run, module = stopped(make_prepared)
    size = parameters_to_vector(module.parameters()).numel()
    for sign in (1, -1):
        moved = setup.fresh_model(run.probe)
        direction = np.zeros(size)
        direction[-2] = sign
        escape = leave_saddle(setup, run, moved, direction)
        assert escape is not None
        assert np.sign(escape.length) == -sign  # it began at 1, above the odds of these labels
        assert moved[2].bias[0].item() == pytest.approx(1 + sign * escape.length)  # the norm of the weights is 1
        assert escape.loss_after < escape.loss_before


def test_where_no_length_leads_down_nothing_is_changed(make_prepared: MakePrepared) -> None:
    """At the minimum over the last biases, moving them leads up at every length and sign."""
    setup, run, module = stopped(make_prepared)
    _, y = setup.samples(run.probe).first(run.n)
    module[2].bias.data = torch.bincount(y, minlength=2).double().log()
    before = parameters_to_vector(module.parameters()).clone()
    direction = np.zeros(before.numel())
    direction[-1] = 1.0
    assert leave_saddle(setup, run, module, direction) is None
    assert torch.equal(parameters_to_vector(module.parameters()), before)


def test_weights_that_are_all_zero_can_be_moved(make_prepared: MakePrepared) -> None:
    setup, run, module = stopped(make_prepared)
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    X, y = setup.samples(run.probe).first(run.n)
    way = np.zeros(parameters_to_vector(module.parameters()).numel())
    way[:6] = np.asarray(X[y == 0].mean(0))  # the first unit sees a class, and tells the first logit
    way[28] = 1.0
    assert leave_saddle(setup, run, module, way / np.linalg.norm(way)) is not None


def test_frozen_parameters_are_not_moved(make_prepared: MakePrepared) -> None:
    setup, run, module = stopped(make_prepared)
    module[0].weight.requires_grad_(False)
    direction = np.zeros(sum(p.numel() for p in module.parameters() if p.requires_grad))
    direction[-1] = 1.0
    assert leave_saddle(setup, run, module, direction) is not None
    assert not module[0].weight.any()
