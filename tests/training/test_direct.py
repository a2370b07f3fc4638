"""Least squares solved at once, against normal equations and known ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emc.api import Prepared
from emc.errors import SpecError
from emc.executors.base import Executor
from emc.executors.inline import InlineExecutor
from emc.results import Evidence, ProbeFailure, ProbeResult, Verdict
from emc.specs import Probe
from emc.training import direct
from emc.training.direct import DirectTrainer, check_direct, output_layer

MakePrepared = Callable[..., Prepared]
Train = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]
SOLVED = {"optimizer": "lstsq", "loss": "squared", "model": "random_features:dim=10"}


def test_the_loss_is_that_of_the_normal_equations(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(**SOLVED).setup
    probe = Probe("base", 40, 1)
    (found,) = train(DirectTrainer(setup), [probe])
    X, y = setup.samples(probe).first(40)
    A = setup.fresh_model(probe).double()[:2](X.double())
    T = nn.functional.one_hot(y, 2).double()
    residual = T - A @ torch.linalg.solve(A.T @ A, A.T @ T)
    assert found.loss == pytest.approx(float(residual.square().sum() / 40), rel=1e-9)
    assert found.correct == int(((T - residual).argmax(1) == y).sum())
    assert (found.verdict, found.evidence) == (Verdict.NOT_FITTED, Evidence.MINIMUM)
    assert (found.steps, found.sample_steps, found.detail["rank"]) == (1, 40, 10)


def test_features_interpolate_their_number_and_no_more(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(**SOLVED, criterion="loss<=1e-8").setup
    fitted, failed = train(DirectTrainer(setup), [Probe("base", 10, 0), Probe("base", 11, 0)])
    assert (fitted.verdict, fitted.evidence, fitted.correct) == (Verdict.FITTED, None, 10)
    assert (failed.verdict, failed.evidence) == (Verdict.NOT_FITTED, Evidence.INFEASIBLE)
    assert failed.detail["least_loss_proved"] == pytest.approx(failed.loss, rel=1e-6)
    assert failed.detail["least_loss_proved"] > 1e-8


def test_without_full_column_rank_nothing_is_proved(make_prepared: MakePrepared, train: Train) -> None:
    """A constant pixel is a column that the bias has already."""
    X = np.hstack([np.random.default_rng(0).standard_normal((40, 2)), np.ones((40, 1))])
    ready = make_prepared((X, np.arange(40) % 2), **SOLVED | {"model": "linear"}, criterion="loss<=1e-8")
    fitted, failed = train(DirectTrainer(ready.setup), [Probe("base", 3, 0), Probe("base", 20, 0)])
    assert fitted.verdict is Verdict.FITTED
    assert (failed.evidence, failed.detail["rank"], failed.detail["features"]) == (Evidence.MINIMUM, 3, 4)
    assert failed.detail["least_loss_proved"] is None


def test_bias_and_float32_models_are_solved_in_float64(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(**SOLVED | {"model": "linear"}, precision="float32", criterion="loss<=1e-20").setup
    fitted, failed = train(DirectTrainer(setup), [Probe("base", 7, 0), Probe("base", 8, 0)])
    assert (fitted.verdict, failed.verdict) == (Verdict.FITTED, Verdict.NOT_FITTED)


def test_dropped_probes_are_not_solved(make_prepared: MakePrepared) -> None:
    trainer = DirectTrainer(make_prepared(**SOLVED).setup)
    probes = [Probe("base", n, 0) for n in (4, 5)]
    for probe in probes:
        trainer.add(probe)
    trainer.drop(probes[0])
    assert [result.n for result in trainer.advance()] == [5]
    assert trainer.advance() == []
    assert trainer.running() == []


def test_what_is_needed_is_solved_before_what_was_asked_ahead(make_prepared: MakePrepared) -> None:
    trainer = DirectTrainer(make_prepared(**SOLVED).setup)
    assert trainer.room() == 1
    for n, ahead in ((4, True), (5, False), (6, True), (6, False)):
        trainer.add(Probe("base", n, 0), ahead=ahead)
    assert trainer.room() == 0
    assert [trainer.advance()[0].n for _ in range(2)] == [5, 6]
    trainer.close()
    assert (trainer.advance(), trainer.room()) == ([], 1)


def test_the_executor_solves_where_the_optimizer_does(make_prepared: MakePrepared) -> None:
    ready = make_prepared(**SOLVED)
    assert InlineExecutor(ready.setup, ready.execution).name == "direct"


class Scaled(nn.Module):
    """A linear layer with something after it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, X: Tensor) -> Tensor:
        return 2 * self.layer(X)


def frozen_bias() -> nn.Module:
    layer = nn.Linear(4, 3)
    layer.bias.requires_grad_(False)
    return layer


@pytest.mark.parametrize(
    ("module", "received"),
    [
        (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), "got 2 trainable layers"),
        (Scaled(), "got one whose output is not that of its trainable layer"),
        (nn.Conv1d(4, 3, 1), "got Conv1d"),
        (frozen_bias(), "got Linear with frozen parameters"),
    ],
)
def test_models_that_are_not_linear_are_refused(module: nn.Module, received: str) -> None:
    with pytest.raises(SpecError, match=f"{received}; use --model linear or random_features, or another optimizer"):
        check_direct(module, (4,))


def test_a_frozen_trunk_is_linear() -> None:
    trunk = nn.Linear(4, 5).requires_grad_(False)
    module = nn.Sequential(trunk, nn.ReLU(), nn.Linear(5, 3))
    check_direct(module, (4,))
    assert output_layer(module) is module[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"loss": "cross_entropy"},
            "--optimizer lstsq solves the squared loss, got --loss cross_entropy; write --loss sq",
        ),
        (
            {"model": "mlp"},
            "only trainable layer is an nn.Linear at its end, got 2 trainable layers; use --model linear",
        ),
    ],
)
def test_mistakes_are_told_before_training(make_prepared: MakePrepared, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make_prepared(**SOLVED | settings)


def test_what_raises_fails_alone(make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = make_prepared(**SOLVED).setup
    trainer = DirectTrainer(setup)
    solve = direct.solve_probe

    def raising(setup: Any, probe: Probe, *rest: Any) -> ProbeResult:
        if probe.replicate == 1:
            raise MemoryError("no room")
        return solve(setup, probe, *rest)

    monkeypatch.setattr(direct, "solve_probe", raising)
    for replicate in range(3):
        trainer.add(Probe("base", 40, replicate))
    outcomes = [trainer.advance()[0] for _ in range(3)]
    assert [isinstance(outcome, ProbeFailure) for outcome in outcomes] == [False, True, False]
    assert outcomes[1].probe == Probe("base", 40, 1)
    assert "one training alone does not fit into memory" in str(outcomes[1].error)
