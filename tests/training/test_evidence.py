"""Every kind of evidence of a failure is reached by a training that deserves it."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from emc.api import Prepared
from emc.executors.base import Executor
from emc.failures import NUMBERS
from emc.results import Evidence, ProbeResult, Verdict
from emc.specs import Probe
from emc.training.curvature import Curvature
from emc.training.evidence import conclude, conflict, examine
from emc.training.kink_descent import KinkDescent, follow_kinks
from emc.training.kinks import KinkSlope
from emc.training.lockstep import LockstepTrainer
from emc.training.polish import Polish
from emc.training.run import ProbeRun, Stop
from emc.training.schedules import SCHEDULES
from emc.training.setup import Setup
from emc.training.single import SingleTrainer

MakePrepared = Callable[..., Prepared]
Train = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]
TRAINERS: dict[str, Callable[[Setup], Executor]] = {
    "single": SingleTrainer,
    "lockstep": lambda setup: LockstepTrainer(setup, 4),
}


@pytest.fixture(params=list(TRAINERS))
def probe_once(request: pytest.FixtureRequest, train: Train) -> Callable[[Setup, int], ProbeResult]:
    """`probe_once(setup, n)`: one probe's verdict, by each trainer."""
    return lambda setup, n: train(TRAINERS[request.param](setup), [Probe("base", n, 0)])[0]


ProbeOnce = Callable[[Setup, int], ProbeResult]


def test_budget_where_it_ended_early(make_prepared: MakePrepared, probe_once: ProbeOnce) -> None:
    found = probe_once(make_prepared(min_steps=20, check_steps=10, optimizer="adam:lr=1e-3").setup, 100)
    assert (found.verdict, found.evidence) == (Verdict.NOT_FITTED, Evidence.BUDGET)
    assert (found.steps, found.sample_steps) == (20, 20 * 100)
    assert (found.detail["stop"], found.detail["budget"], found.detail["batch_size"]) == ("budget", 20, 100)
    assert "polish_gain" not in found.detail  # a training that still gained needs no proof of descent
    assert found.detail["gain_of_last_doubling"] > 1e-3
    assert found.gradient_norm is not None
    assert found.gradient_norm > 0


class Spike:
    """A rate that is a thousand times the base from step 200 on."""

    def next(self, step: int, budget: int, loss: float, *, full_batch: bool) -> float:  # noqa: ARG002
        return 1.0 if step < 200 else 1000.0


@pytest.fixture
def spike(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings of a training that is thrown out of its best after 200 steps of the 400 that it has."""
    SCHEDULES.names()
    monkeypatch.setattr(SCHEDULES, "_plugins", dict(SCHEDULES._plugins))
    SCHEDULES.register("spike", summary="a test's")(Spike)
    return {
        "data": "digits",
        "model": "mlp:width=8",
        "batch_size": 512,
        "check_steps": 10,
        "min_steps": 400,
        "schedule": "spike",
    }


def test_unstable_where_a_large_rate_threw_the_training_out(
    make_prepared: MakePrepared, probe_once: ProbeOnce, spike: dict[str, Any]
) -> None:
    found = probe_once(make_prepared(**spike).setup, 200)
    assert (found.verdict, found.evidence) == (Verdict.NOT_FITTED, Evidence.UNSTABLE)
    assert found.detail["rise_over_best"] > 1.5
    assert "polish_gain" not in found.detail
    for changed in ({"schedule": "constant"}, {"min_steps": 200}):
        calm = probe_once(make_prepared(**(spike | changed)).setup, 200)
        assert (calm.evidence, calm.detail["rise_over_best"]) == (Evidence.BUDGET, 1)


def test_budget_where_a_separable_problem_was_not_fitted(make_prepared: MakePrepared, probe_once: ProbeOnce) -> None:
    setup = make_prepared(
        model="linear", optimizer="sgd:lr=1e-9,momentum=0", schedule="constant", data="gaussian:dim=30,size=300"
    ).setup
    found = probe_once(setup, 25)
    assert (found.detail["stop"], found.detail["linear_program"]) == ("stalled", "separable")
    assert found.evidence is Evidence.BUDGET


def test_infeasible_by_certificate(make_prepared: MakePrepared, probe_once: ProbeOnce) -> None:
    found = probe_once(make_prepared(model="linear", min_steps=20, check_steps=10).setup, 100)
    assert (found.verdict, found.evidence) == (Verdict.NOT_FITTED, Evidence.INFEASIBLE)
    assert found.detail["linear_program"] == "inseparable"
    assert found.detail["certificate_residual"] <= 1e-9
    assert found.steps == 20


def test_infeasible_by_conflicting_duplicates_without_a_step(
    make_prepared: MakePrepared, probe_once: ProbeOnce
) -> None:
    X = np.random.default_rng(0).standard_normal((50, 6))
    arrays = (np.concatenate([X, X]), np.arange(100) // 50)
    setup = make_prepared(dataset=arrays, labels="semantic", duplicates="keep").setup
    first = setup.pool.samples(0).first_conflict
    assert first is not None
    found = probe_once(setup, first)
    assert (found.verdict, found.evidence) == (Verdict.NOT_FITTED, Evidence.INFEASIBLE)
    assert (found.steps, found.sample_steps, found.correct, found.loss) == (0, 0, 0, None)
    assert found.detail == {"proof": "equal inputs with different labels", "first_conflict": first}
    assert conflict(setup, Probe("base", first - 1, 0)) is None
    assert probe_once(setup, first - 1).steps > 0


#: Steps so large, on batches so small, that the loss jumps about at a level descent would leave at once.
NOISY: dict[str, Any] = {
    "optimizer": "sgd:lr=0.3,momentum=0.9",
    "schedule": "constant",
    "batch_size": 2,
    "min_steps": 4000,
    "check_steps": 100,
    "stall_share": 0.1,
    "polish_steps": 50,
}


def test_noise_floor_where_the_procedure_itself_gains_nothing(
    make_prepared: MakePrepared, probe_once: ProbeOnce
) -> None:
    found = probe_once(make_prepared(**NOISY).setup, 100)
    assert (found.verdict, found.evidence) == (Verdict.NOT_FITTED, Evidence.NOISE_FLOOR)
    assert found.detail["stop"] == "stalled"
    assert found.detail["gain_of_last_doubling"] < 1e-3
    assert found.detail["count_gained"] == 0
    assert found.detail["polish_gain"] > 0.05
    assert found.detail["polish_steps"] == 100


#: Softmax regression that the linear program is not told of: a convex loss with a minimum where it is inseparable.
CONVEX: dict[str, Any] = {
    "model": "mlp:width=4",
    "activation": "identity",
    "optimizer": "gd:lr=0.5",
    "min_steps": 3000,
    "check_steps": 100,
    "polish_steps": 50,
}


def test_minimum_at_the_minimum_of_a_convex_loss(make_prepared: MakePrepared, probe_once: ProbeOnce) -> None:
    found = probe_once(make_prepared(**CONVEX).setup, 100)
    assert (found.verdict, found.evidence) == (Verdict.NOT_FITTED, Evidence.MINIMUM)
    assert found.detail["polish_gain"] < 1e-3
    assert found.detail["polish_gradient_norm"] < 1e-3
    assert abs(found.detail["curvature_smallest"]) < 1e-5 * found.detail["curvature_largest"]  # 0: idle directions
    assert "linear piece" in found.detail["curvature_of"]
    assert "curvature_undecided" not in found.detail


def test_minimum_by_a_linear_model_whose_program_is_too_large(
    make_prepared: MakePrepared, probe_once: ProbeOnce, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emc.training.certificates.MAX_NONZEROS", 1)
    found = probe_once(make_prepared(**CONVEX | {"model": "linear", "activation": None}).setup, 100)
    assert found.detail["linear_program"] == "undecided"
    assert found.evidence is Evidence.MINIMUM


def _blind(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A net whose weights are all zero: descent reaches the labels' frequencies and never sees an input."""
    module = nn.Sequential(nn.Linear(input_shape[0], 4), nn.Tanh(), nn.Linear(4, num_classes))
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


@pytest.mark.parametrize(
    ("certify", "evidence"),
    [("hessian", Evidence.SADDLE), ("stationary", Evidence.STATIONARY), ("none", Evidence.NOISE_FLOOR)],
)
def test_saddle_where_no_first_order_method_sees_descent(
    make_prepared: MakePrepared, train: Train, certify: str, evidence: Evidence
) -> None:
    setup = make_prepared(own_model=_blind, optimizer="gd:lr=0.5", min_steps=1000, stall_share=0.1, certify=certify)
    found = train(SingleTrainer(setup.setup), [Probe("base", 101, 0)])[0]
    assert (found.detail["stop"], found.evidence) == ("stalled", evidence)
    assert evidence.undertrained == (certify == "hessian")
    assert ("polish_gain" in found.detail) == (certify != "none")
    assert ("curvature_smallest" in found.detail) == (certify == "hessian")
    if certify == "hessian":
        assert found.detail["curvature_smallest"] < -1e-2 * found.detail["curvature_largest"]


def test_curvature_decides_nothing_between_its_bounds_or_unconverged(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = make_prepared(**CONVEX).setup

    def evidence_of(relative: float, converged: bool = True) -> tuple[Evidence | None, str | None]:
        spectrum = Curvature(relative, 1.0, 0.0, converged, np.zeros(1), 1)
        monkeypatch.setattr("emc.training.evidence.smallest_eigenvalue", lambda *_: spectrum)
        found = train(SingleTrainer(setup), [Probe("base", 100, 0)])[0]
        return found.evidence, found.detail.get("curvature_undecided")

    assert evidence_of(-2e-3, converged=False) == (Evidence.SADDLE, None)
    assert evidence_of(-5e-4) == (Evidence.STATIONARY, "between the bounds of a saddle and a minimum")
    assert evidence_of(1e-3, converged=False) == (Evidence.STATIONARY, "Lanczos did not converge")
    assert evidence_of(-5e-6) == (Evidence.MINIMUM, None)


def test_a_model_without_second_derivatives_stays_stationary(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> Curvature:
        raise NotImplementedError("forward AD of this operation\nand more")

    monkeypatch.setattr("emc.training.evidence.smallest_eigenvalue", unsupported)
    found = train(SingleTrainer(make_prepared(**CONVEX).setup), [Probe("base", 100, 0)])[0]
    assert found.evidence is Evidence.STATIONARY
    assert found.detail["curvature_undecided"] == "no Hessian-vector products: forward AD of this operation"


def test_the_tolerances_are_settings(make_prepared: MakePrepared, probe_once: ProbeOnce) -> None:
    strict = make_prepared(**CONVEX, polish_tolerance=0).setup
    assert probe_once(strict, 100).evidence is Evidence.NOISE_FLOOR
    lenient = make_prepared(**NOISY, polish_tolerance=1, gradient_tolerance=1, certify="stationary").setup
    assert probe_once(lenient, 100).evidence is Evidence.STATIONARY
    by_gradient = probe_once(make_prepared(**CONVEX, gradient_tolerance=0).setup, 100)
    assert by_gradient.evidence is Evidence.NOISE_FLOOR
    assert by_gradient.detail["stationary_undecided"] == "the slope left is too steep"


def test_a_small_gain_alone_is_not_stationary(make_prepared: MakePrepared, train: Train) -> None:
    """Where the polish ends too early, the slope that is left tells."""
    setup = make_prepared(**NOISY | {"polish_tolerance": 1, "polish_steps": 2, "gradient_tolerance": 1e-12}).setup
    found = train(SingleTrainer(setup), [Probe("base", 100, 0)])[0]
    assert found.evidence is Evidence.NOISE_FLOOR
    assert found.detail["stationary_undecided"] == "the slope left is too steep"
    assert found.detail["kink_slope"] > 1e-12
    assert found.detail["kink_pairs"] >= found.detail["kink_pairs_downward"] >= 0


def test_kinks_of_too_many_inputs_are_looked_at_but_not_followed(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emc.training.evidence.MAX_FOLLOWED", 599)
    setup = make_prepared(**NOISY | {"polish_tolerance": 1, "polish_steps": 2}).setup
    found = train(SingleTrainer(setup), [Probe("base", 100, 0)])[0]
    assert found.evidence is Evidence.NOISE_FLOOR
    assert found.detail["kinks_undecided"] == "not followed above 599 inputs"
    assert found.detail["kink_slope"] > 1e-3
    assert "kink_steps" not in found.detail


@pytest.mark.parametrize(
    ("inside", "evidence"), [(math.inf, Evidence.MINIMUM), (0.3, Evidence.MINIMUM), (0.0, Evidence.STATIONARY)]
)
def test_on_kinks_the_curvature_along_them_decides(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch, inside: float, evidence: Evidence
) -> None:
    """Softmax regression with kinks made up: none, or one that is kept by the first weight standing still."""
    pairs = 0 if math.isinf(inside) else 1

    def found(module: nn.Module, *_: object) -> KinkSlope:
        rows = [np.eye(7)[:pairs], *[np.zeros((0, 7))] * 3]
        return KinkSlope(pairs, 0, 1e-9, 0.0, 0.0, inside, np.zeros(1), rows, module)

    def stay(module: nn.Module, *_: object) -> KinkDescent:
        return KinkDescent(1.0, 1.0, 0, pairs, True, module)

    monkeypatch.setattr("emc.training.evidence.steepest_slope", found)
    monkeypatch.setattr("emc.training.evidence.follow_kinks", stay)
    result = train(SingleTrainer(make_prepared(**CONVEX).setup), [Probe("base", 100, 0)])[0]
    assert result.evidence is evidence
    assert ("free slope" in result.detail.get("curvature_undecided", "")) == (evidence is Evidence.STATIONARY)
    assert ("keep every kink" in result.detail["curvature_of"]) == (pairs > 0)
    assert result.detail["kink_pairs"] == pairs


def test_minimum_at_live_kinks(make_prepared: MakePrepared) -> None:
    """A model at the end of a descent along its kinks is certified, and still is once it is disturbed a little."""
    setup = make_prepared(polish_steps=50).setup
    probe = Probe("base", 100, 1)
    X, y = setup.samples(probe).first(100)
    fresh = setup.fresh_model(probe)
    ended = follow_kinks(fresh, X, y, 1e-6, 300)
    assert ended is not None
    run = ProbeRun(setup, probe)
    run.stop, run.steps = Stop.STALLED, 10
    run.trace.add(10, ended.loss_after, 0)
    for disturbance in (0.0, 1e-6):
        with torch.no_grad():
            for p in ended.module.parameters():
                p += disturbance
        found = examine(setup, run, ended.module)
        assert found.evidence is Evidence.MINIMUM
        assert found.detail["kink_pairs"] >= 2
        assert found.detail["kink_inside"] > 0
        assert found.detail["kink_slope"] <= 1e-3
        assert found.detail["kink_gain"] < 1e-3
    early = examine(setup, run, fresh)
    assert early.evidence is Evidence.NOISE_FLOOR


def test_descent_along_the_kinks_is_descent_left(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the polish did not find and the kinks gave is a noise floor all the same."""

    def nothing(module: nn.Module, X: torch.Tensor, y: torch.Tensor, steps: int, _loss: str) -> Polish:
        module = copy.deepcopy(module).double()
        with torch.no_grad():
            loss = float(functional.cross_entropy(module(X.double()), y))
        return Polish(loss, loss, 1.0, 0, steps, module)

    monkeypatch.setattr("emc.training.evidence.polish", nothing)
    found = train(SingleTrainer(make_prepared(**NOISY).setup), [Probe("base", 100, 0)])[0]
    assert found.evidence is Evidence.NOISE_FLOOR
    assert found.detail["polish_gain"] == 0
    assert found.detail["kink_gain"] >= 1e-3
    assert found.detail["kink_steps"] >= 1


def test_fitted_and_diverged_have_no_evidence(make_prepared: MakePrepared, probe_once: ProbeOnce) -> None:
    fitted = probe_once(make_prepared(optimizer="adam:lr=0.05").setup, 6)
    assert (fitted.verdict, fitted.evidence, fitted.correct) == (Verdict.FITTED, None, 6)
    assert fitted.loss is not None
    diverged = probe_once(make_prepared(optimizer="sgd:lr=1e30").setup, 100)
    assert (diverged.verdict, diverged.evidence, diverged.loss) == (Verdict.DIVERGED, None, None)
    for found in (fitted, diverged):
        assert found.gradient_norm is None
        assert "polish_gain" not in found.detail


def test_every_number_of_a_failure_has_words(make_prepared: MakePrepared, train: Train) -> None:
    for settings in ({"model": "linear"}, CONVEX | {"escape": True}, NOISY | {"polish_tolerance": 1}):
        found = train(SingleTrainer(make_prepared(**settings).setup), [Probe("base", 100, 0)])[0]
        assert set(found.detail) <= set(NUMBERS)
        assert found.detail["stall_tolerance"] == 1e-3


def test_dead_units_are_recorded_where_units_can_die(make_prepared: MakePrepared, probe_once: ProbeOnce) -> None:
    def dead(activation: str, lr: float) -> float | None:
        settings = {"activation": activation, "optimizer": f"sgd:lr={lr},momentum=0", "min_steps": 50}
        return probe_once(make_prepared(**settings).setup, 100).detail.get("dead_units")

    assert dead("relu", 0.01) == 0
    assert dead("relu", 100.0) == 1  # one step so long that no unit sees a sample again
    assert dead("tanh", 0.01) is None


def test_every_verdict_is_plain_json(make_prepared: MakePrepared, probe_once: ProbeOnce) -> None:
    for settings, n in [({}, 6), ({"optimizer": "sgd:lr=1e30"}, 100), ({"model": "linear"}, 100), (NOISY, 100)]:
        found = probe_once(make_prepared(**settings).setup, n)
        assert ProbeResult.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_a_probe_under_way_has_no_verdict(make_prepared: MakePrepared) -> None:
    setup = make_prepared().setup
    probe = Probe("base", 10, 0)
    with pytest.raises(RuntimeError, match="a probe is concluded only once it has stopped"):
        conclude(setup, ProbeRun(setup, probe), setup.fresh_model(probe))


def test_the_examined_model_is_not_changed(make_prepared: MakePrepared, train: Train) -> None:
    """The verdict's own loss and count are those of the training, whatever the polish reached."""
    short, long = (make_prepared(**NOISY | {"polish_steps": steps}).setup for steps in (1, 100))
    found = [train(SingleTrainer(setup), [Probe("base", 100, 0)])[0] for setup in (short, long)]
    assert found[0].detail["polish_gain"] < found[1].detail["polish_gain"]
    assert replace(found[0], detail={}) == replace(found[1], detail={})


LEAST_SQUARES = {"model": "linear", "loss": "squared", "optimizer": "lbfgs", "polish_steps": 50, "min_steps": 2000}


def test_the_least_squares_of_a_linear_model_are_a_minimum(make_prepared: MakePrepared, train: Train) -> None:
    """Its loss is convex; to be separable does not mean that its minimum separates, nor that descent is left."""
    settings = LEAST_SQUARES | {"precision": "float64", "criterion": "loss<=1e-6"}
    setup = make_prepared(**settings).setup
    (fitted, failed) = train(SingleTrainer(setup), [Probe("base", 7, 0), Probe("base", 30, 0)])
    assert fitted.verdict is Verdict.FITTED
    assert fitted.loss is not None
    assert fitted.loss <= 1e-6
    assert (failed.verdict, failed.evidence) == (Verdict.NOT_FITTED, Evidence.MINIMUM)
    assert "linear_program" not in failed.detail


def test_a_loss_that_the_polish_reaches_was_in_reach(make_prepared: MakePrepared, train: Train) -> None:
    """All are right long before, which is not what the criterion asks for."""
    settings = {"optimizer": "sgd:lr=1e-4,momentum=0", "loss": "squared", "stall_share": 0, "stall_tolerance": 0.9}
    setup = make_prepared(model="linear", criterion="loss<=0.001", polish_steps=50, **settings).setup
    (found,) = train(SingleTrainer(setup), [Probe("base", 5, 0)])
    assert (found.verdict, found.evidence) == (Verdict.NOT_FITTED, Evidence.NOISE_FLOOR)
    assert found.detail["polish_gain"] > 0.9


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, None),
        ({"optimizer": "sgd:weight_decay=0.1"}, "the cross-entropy without the weight decay of the training"),
        ({"optimizer": "sam:base=sgd"}, "the cross-entropy without the perturbed parameters of the training"),
        (
            {"optimizer": "sam:base=sgd|weight_decay=0.1"},
            "the cross-entropy without the weight decay and the perturbed parameters of the training",
        ),
    ],
)
def test_an_objective_that_is_not_the_trainings_own_is_said(
    make_prepared: MakePrepared, train: Train, settings: dict[str, Any], said: str | None
) -> None:
    setup = make_prepared(**{"optimizer": "sgd", "stall_share": 0, "stall_tolerance": 0.9} | settings).setup
    (found,) = train(SingleTrainer(setup), [Probe("base", 100, 0)])
    assert found.detail["stop"] == "stalled"
    assert found.detail.get("polish_objective") == said
    assert "polish_objective" in NUMBERS


def test_what_decays_its_weights_has_a_minimum_of_its_own(make_prepared: MakePrepared, train: Train) -> None:
    """Separable samples that a decayed linear model does not fit: it is not undertrained, but at its own limit."""
    shared = {"model": "linear", "data": "gaussian:dim=20,size=100", "stall_share": 0, "optimizer": "gd:lr=0.05"}
    decayed = shared | {"optimizer": "gd:weight_decay=10,lr=0.05", "min_steps": 1000}
    (found,) = train(SingleTrainer(make_prepared(**decayed).setup), [Probe("base", 20, 0)])
    assert (found.detail["linear_program"], found.detail["stop"]) == ("separable", "stalled")
    assert (found.verdict, found.evidence) == (Verdict.NOT_FITTED, Evidence.NOISE_FLOOR)


def test_smoothed_labels_are_examined_by_their_own_loss(make_prepared: MakePrepared, train: Train) -> None:
    """Separable, a linear model's still has a minimum, which is where the training ended."""
    settings = {"model": "linear", "label_smoothing": 0.9, "optimizer": "lbfgs", "polish_steps": 50, "min_steps": 2000}
    setup = make_prepared(**settings, precision="float64", criterion="loss<=1e-6").setup
    (found,) = train(SingleTrainer(setup), [Probe("base", 60, 0)])
    assert (found.verdict, found.evidence) == (Verdict.NOT_FITTED, Evidence.MINIMUM)
    assert found.loss is not None
    assert found.loss > 1e-6
    assert "polish_objective" not in found.detail
