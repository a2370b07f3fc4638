"""From a stopped training to its verdict: why a failure is believed, or is not (DESIGN 2.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from emc.results import Evidence, ProbeResult, Verdict
from emc.specs import Probe
from emc.training import certificates, curvature
from emc.training.certificates import Separability, separable
from emc.training.counting import count_right
from emc.training.curvature import Array, smallest_eigenvalue, straight_through
from emc.training.escape import leave_saddle
from emc.training.flatness import flatness
from emc.training.kink_descent import follow_kinks
from emc.training.kinks import EXACT, KinkSlope, steepest_slope
from emc.training.losses import CROSS_ENTROPY, Loss
from emc.training.one_hidden import as_arrays
from emc.training.polish import Polish, gradient_norm, polish
from emc.training.run import ProbeRun, Stop
from emc.training.setup import Setup
from emc.training.units import dead_share

if TYPE_CHECKING:
    from torch import nn


#: A failure whose loss stayed above this multiple of its best is none of a procedure at its limit.
UNSTABLE_RISE = 1.5

#: Relative rise of the loss that moving onto the kinks may cost at the start of the descent along them.
NEGLIGIBLE = 1e-4

#: Inputs (samples times features) whose kinks are followed: ten Newton steps took 7 s at 3 million, 67 s at 12 million.
MAX_FOLLOWED = 4_000_000

#: Distance of a free slope from the ends of its interval, relative to its length, that counts as none.
INSIDE = 1e-6

ON_KINKS = "the directions that keep every kink the point is on"


@dataclass(frozen=True)
class Examined:
    """What the examination of a failure found; `downhill` is a saddle's direction of negative curvature."""

    evidence: Evidence
    gradient_norm: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    downhill: Array | None = None


def conflict(setup: Setup, probe: Probe) -> ProbeResult | None:
    """The verdict without any training, where equal inputs with different labels make a fit impossible."""
    first = setup.samples(probe).first_conflict
    if first is None or probe.n < first or setup.trains_conflicts:
        return None
    detail = {"proof": "equal inputs with different labels", "first_conflict": first}
    return ProbeResult(
        probe.key, probe.n, probe.replicate, probe.attempt, Verdict.NOT_FITTED, Evidence.INFEASIBLE, detail=detail
    )


def conclude(setup: Setup, run: ProbeRun, module: nn.Module) -> ProbeResult | None:
    """The verdict of a probe that stopped, its failure examined on a copy of the model.

    None where the procedure escapes saddles and the probe was at one: then the model was perturbed in place, and the
    training goes on from it.
    """
    verdict = {Stop.FITTED: Verdict.FITTED, Stop.DIVERGED: Verdict.DIVERGED}.get(_stop(run), Verdict.NOT_FITTED)
    found = examine(setup, run, module) if verdict is Verdict.NOT_FITTED else None
    if found is not None and _escapes(setup, run, module, found):
        return None
    detail: dict[str, Any] = {"stop": _stop(run).name.lower(), "budget": run.budget, "batch_size": run.batch_size}
    if verdict is not Verdict.DIVERGED:
        detail |= looked_at(setup, run.probe, module)
    if setup.procedure.escape:
        detail["escapes"] = [asdict(escape) for escape in run.escapes]
        if found is not None and found.downhill is not None:
            late = run.steps >= run.budget
            detail["escape_failed"] = "the budget was over" if late else "no length along the direction lowers the loss"
    return ProbeResult(
        key=run.probe.key,
        n=run.n,
        replicate=run.probe.replicate,
        attempt=run.probe.attempt,
        verdict=verdict,
        evidence=found.evidence if found else None,
        correct=run.correct,
        loss=None if verdict is Verdict.DIVERGED else run.loss,
        gradient_norm=found.gradient_norm if found else None,
        steps=run.steps,
        sample_steps=run.sample_steps,
        seconds=run.seconds,
        detail={**detail, **(found.detail if found else {})},
    )


def tested(setup: Setup, probe: Probe, module: nn.Module) -> dict[str, int]:
    """How a trained model does on the test split, for the record; empty without one."""
    test = setup.samples(probe).test
    if test is None:
        return {}
    X, y = test
    return {"test_correct": count_right(module, X, y), "test_rows": len(y)}


def looked_at(setup: Setup, probe: Probe, module: nn.Module) -> dict[str, Any]:
    """What is recorded of a trained model beside its verdict: its test accuracy, and its flatness where asked for."""
    found: dict[str, Any] = tested(setup, probe, module)
    if setup.procedure.flatness and all(bool(part.isfinite().all()) for part in module.parameters()):
        found["flatness"] = asdict(flatness(module, *setup.samples(probe).first(probe.n), setup.loss))
    return found


def _escapes(setup: Setup, run: ProbeRun, module: nn.Module, found: Examined) -> bool:
    """Whether the training goes on, its model perturbed, since the procedure escapes the saddle it was found at."""
    if not setup.procedure.escape or found.downhill is None or run.steps >= run.budget:
        return False
    escape = leave_saddle(setup, run, module, found.downhill)
    if escape is not None:
        run.go_on(escape)
    return escape is not None


def _stop(run: ProbeRun) -> Stop:
    if run.stop is None:
        raise RuntimeError("a probe is concluded only once it has stopped")
    return run.stop


def examine(setup: Setup, run: ProbeRun, module: nn.Module) -> Examined:
    """Why a training failed.

    A training that still gained in its last doubling is undertrained, and so is one that a large rate threw out of
    its best: no descent has to be looked for. One that stalled is polished. It is stationary if that gained nothing
    and the gradient norm left, on kinks of ReLU the steepest one-sided slope, is small; then its curvature tells a
    saddle from a minimum. Else the procedure is at its own limit. Of a linear model the linear program knows the
    truth first; whether a loss can be reached it does not say. Where gradients are not those of the loss, a stall
    is the procedure's own limit and nothing more is asked. Where the inputs of the n samples do not fit into
    memory, how the training ended is all that is known, as with `certify=none`.

    Args:
        setup: the procedure, with its tolerances.
        run: the stopped probe.
        module: its model, which is not changed.
    """
    samples = setup.samples(run.probe)
    gain, risen = run.trace.gain_of_doubling()
    detail: dict[str, Any] = {
        "gain_of_last_doubling": _finite(gain),
        "count_gained": risen,
        "stall_tolerance": setup.procedure.stall_tolerance,
        "rise_over_best": _finite(run.trace.rise()),
    }
    ended = _ended(run)
    if not samples.may_hold(run.n):
        return Examined(ended, None, detail | {"not_examined": "the inputs do not fit into memory"})
    X, y = samples.first(run.n)
    dead = dead_share(module, X)
    if dead is not None:
        detail["dead_units"] = dead
    if straight_through(module):
        undecided = {"stationary_undecided": "its gradient passes straight through steps of the loss"}
        return Examined(ended, None, detail | (undecided if ended is Evidence.NOISE_FLOOR else {}))
    loss = setup.loss
    at_init = gradient_norm(setup.fresh_model(run.probe), X, y, loss)
    norm = _ratio(gradient_norm(module, X, y, loss), at_init)
    if setup.linear and setup.loss_goal is None:
        points = X.reshape(len(X), -1).double().cpu().numpy()
        proof = separable(points, y.cpu().numpy(), samples.num_classes)
        detail |= {"linear_program": proof.separability.name.lower(), "certificate_residual": proof.residual}
        detail["certificate_tolerance"] = certificates.RESIDUAL
        if proof.separability is Separability.INSEPARABLE:
            return Examined(Evidence.INFEASIBLE, norm, detail)
        endless = loss == CROSS_ENTROPY and not setup.plan.weight_decay  # there is no minimum to end at
        if proof.separability is Separability.SEPARABLE and endless:
            return Examined(Evidence.BUDGET, norm, detail)
    if ended is not Evidence.NOISE_FLOOR or setup.procedure.certify == "none":
        return Examined(ended, norm, detail)
    return _polished(setup, run, module, X, y, at_init, norm, detail)


def _ended(run: ProbeRun) -> Evidence:
    """What the course of the training alone says of its failure."""
    if run.trace.rise() > UNSTABLE_RISE:
        return Evidence.UNSTABLE
    return Evidence.BUDGET if run.stop is Stop.BUDGET else Evidence.NOISE_FLOOR


def _polished(
    setup: Setup,
    run: ProbeRun,
    module: nn.Module,
    X: torch.Tensor,
    y: torch.Tensor,
    at_init: float,
    norm: float | None,
    detail: dict[str, Any],
) -> Examined:
    procedure = setup.procedure
    reached = polish(module, X, y, procedure.polish_steps, setup.loss)
    polished_norm = _ratio(gradient_norm(reached.module, X, y, setup.loss), at_init)
    beside = _beside(setup)
    if beside:
        detail["polish_objective"] = f"the {setup.loss} without the {' and the '.join(beside)} of the training"
    detail |= {
        "polish_gain": reached.gain,
        "polish_correct": reached.correct,
        "polish_steps": reached.steps,
        "polish_gradient_norm": polished_norm,
        "polish_tolerance": procedure.polish_tolerance,
        "gradient_tolerance": procedure.gradient_tolerance,
    }
    if _fits(setup, run, reached) or reached.gain >= procedure.polish_tolerance:
        return Examined(Evidence.NOISE_FLOOR, norm, detail)
    slope, examined = polished_norm, reached.module
    kinks, found = _followed(reached, X, y, at_init, setup)
    detail |= found
    if kinks is not None:
        slope, examined = _ratio(kinks.slope, at_init), kinks.module
    if found.get("kink_gain", 0.0) >= procedure.polish_tolerance or found.get("kink_correct") == run.n:
        return Examined(Evidence.NOISE_FLOOR, norm, detail)
    if slope is None or slope > procedure.gradient_tolerance:
        return Examined(Evidence.NOISE_FLOOR, norm, detail | {"stationary_undecided": "the slope left is too steep"})
    if procedure.certify == "stationary":
        return Examined(Evidence.STATIONARY, norm, detail)
    evidence, spectrum, downhill = judge_curvature(examined, X, y, procedure.curvature_tolerance, setup.loss, kinks)
    if evidence is Evidence.MINIMUM and kinks is None and "kinks_undecided" in found:
        evidence, spectrum["curvature_undecided"] = Evidence.STATIONARY, "the kinks were not examined"
    return Examined(evidence, norm, detail | spectrum, downhill if evidence is Evidence.SADDLE else None)


def _beside(setup: Setup) -> list[str]:
    """What the training follows beside the loss at hand, and no examination does."""
    plan = setup.plan
    known = {"weight decay": plan.weight_decay > 0, "perturbed parameters": plan.passes > 1}
    return [name for name, there in {**known, "augmented inputs": setup.procedure.augment is not None}.items() if there]


def _fits(setup: Setup, run: ProbeRun, reached: Polish) -> bool:
    if setup.loss_goal is None:
        return reached.correct == run.n
    return reached.loss_after <= setup.loss_goal


def _followed(
    reached: Polish, X: torch.Tensor, y: torch.Tensor, at_init: float, setup: Setup
) -> tuple[KinkSlope | None, dict[str, Any]]:
    """The steepest slope after a descent along the kinks from the polished point; None where it is not known how."""
    procedure = setup.procedure
    if setup.loss != CROSS_ENTROPY:
        bare = as_arrays(reached.module, X, y) is None
        return None, {} if bare else {"kinks_undecided": f"not examined for the {setup.loss}"}
    before = steepest_slope(reached.module, X, y)
    if X.numel() > MAX_FOLLOWED:
        slope = None if before is None else _ratio(before.slope, at_init)
        return before, {"kink_slope": slope, "kinks_undecided": f"not followed above {MAX_FOLLOWED:,} inputs"}
    start = reached.module if before is None or before.moved > NEGLIGIBLE else before.module
    goal = procedure.gradient_tolerance * at_init
    enough = (1 - procedure.polish_tolerance) * reached.loss_before
    followed = follow_kinks(start, X, y, goal, procedure.polish_steps, enough)
    if followed is None:
        return None, {}
    after = steepest_slope(followed.module, X, y, EXACT)
    detail = {
        "kink_slope_before": None if before is None else _ratio(before.slope, at_init),
        "kink_steps": followed.steps,
        "kink_gain": 1 - followed.loss_after / reached.loss_before if reached.loss_before > 0 else 0.0,
        "kink_correct": count_right(followed.module, X.double(), y),
    }
    if after is None:
        return None, detail | {"kinks_undecided": "too many kinks at one unit"}
    return after, detail | {
        "kink_slope": _ratio(after.slope, at_init),
        "kink_pairs": after.pairs,
        "kink_pairs_downward": after.downward,
        "kink_inside": _finite(after.inside),
    }


def judge_curvature(
    module: nn.Module,
    X: torch.Tensor,
    y: torch.Tensor,
    tolerance: float,
    loss: Loss = CROSS_ENTROPY,
    kinks: KinkSlope | None = None,
) -> tuple[Evidence, dict[str, Any], Array | None]:
    """Whether a stationary point is a saddle or a minimum, or why that cannot be said, with the numbers behind it.

    With them comes a saddle's direction of negative curvature.

    A direction of negative curvature is a proof whether or not Lanczos converged; its absence is only as good as
    the residual. The bounds were measured on small tanh nets against dense Hessians. Once the gradient norm was below
    1e-3 of its value at init, points on their way to minima went down to -2e-4 of the largest magnitude (once -7e-4,
    with weights beyond 1e8), minima to -1e-5 and mostly -1e-12. Saddles made by splitting a unit, left for a loss 0.3
    to 4.5 % lower, lay from -4e-5 to -6e-2. So between the bounds nothing is claimed.

    Args:
        module: at the stationary point.
        X: (n, *shape) inputs.
        y: (n,) labels.
        tolerance: relative to the largest magnitude of an eigenvalue; a saddle is below its negative, a minimum above
            a hundredth of that.
        loss: which one.
        kinks: those the point is on; the curvature is that of directions which keep them. Between slopes strictly
            inside their intervals that decides; with one at an end, other directions may fall at second order, and
            there is no minimum to claim.
    """
    along = kinks.along if kinks is not None and kinks.pairs else None
    try:
        found = smallest_eigenvalue(module, X, y, loss, along)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = f"no Hessian-vector products: {str(error).splitlines()[0]}"
        return Evidence.STATIONARY, {"curvature_undecided": reason}, None
    detail = {
        "curvature_smallest": found.value,
        "curvature_largest": found.largest,
        "curvature_relative": found.relative,
        "curvature_residual": found.residual,
        "curvature_residual_tolerance": curvature.RESIDUAL,
        "curvature_products": found.products,
        "curvature_tolerance": tolerance,
        "curvature_of": ON_KINKS if along else "the linear piece the point is on, where the activation has kinks",
    }
    if found.relative < -tolerance:
        return Evidence.SADDLE, detail, found.vector
    if not found.converged:
        return Evidence.STATIONARY, detail | {"curvature_undecided": "Lanczos did not converge"}, None
    if found.relative < -tolerance / 100:
        reason = "between the bounds of a saddle and a minimum"
        return Evidence.STATIONARY, detail | {"curvature_undecided": reason}, None
    if kinks is not None and kinks.inside <= INSIDE:
        return Evidence.STATIONARY, detail | {"curvature_undecided": "a kink whose free slope is at its end"}, None
    return Evidence.MINIMUM, detail, None


def _ratio(norm: float, at_init: float) -> float | None:
    return _finite(norm / at_init) if at_init > 0 else None


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
