"""Study: optimizers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import BUDGET, OWN_TRAINING, Pair, groups, name, option, pairs, settings
from emc.hypotheses.minima import Minima
from emc.hypotheses.parts import Claim, Measured
from emc.hypotheses.ratios import EmcPart, ratio
from emc.results import EmcResult

STUDY = "optimizers"

#: What is read of the flatness, and its name.
NUMBERS = {"largest": "largest Hessian eigenvalue", "trace": "trace of the Hessian"}


def _is_stochastic(result: EmcResult) -> bool:
    return name(result, "optimizer") == "sgd"


def _is_full(result: EmcResult) -> bool:
    return name(result, "optimizer") == "gd"


def _differ(sgd: EmcResult, gd: EmcResult) -> bool:
    """Whether batches are smaller than what some replicate of either fits; else both descend on all samples at once.

    That is decided by both sides alike: by SGD's EMC alone, the pairs in which it is small would be left out.
    """
    batch: int = sgd.procedure["batch_size"]
    return any(replicate.emc > batch for result in (sgd, gd) for replicate in result.replicates)


@CLAIMS.register("sgd_above_gd")
def sgd_above_gd() -> Claim:
    """SGD fits more samples than full-batch gradient descent."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        return [EmcPart("SGD over GD", tuple(ratio(a, b) for a, b in _alike(results, ()) or _alike(results)))]

    return Claim(STUDY, "one procedure with gd, and with sgd of batches smaller than the EMC of either", parts)


def _alike(results: Sequence[EmcResult], ignore: Collection[str] = OWN_TRAINING) -> list[Pair]:
    """GD ignores the batch size. Rates are the same or both tuned where a journal has such cells, else any."""
    found = pairs(results, ("batch_size", "=optimizer", *ignore), _is_stochastic, _is_full)
    return [(a, b) for a, b in found if _decay(a) == _decay(b) and _differ(a, b)]


def _decay(result: EmcResult) -> float:
    return float(option(result, "optimizer", "weight_decay") or 0.0)


@CLAIMS.register("minima_differ")
def minima_differ() -> Claim:
    """Optimizers end in points of different sharpness (largest eigenvalue) at equal samples and comparable loss."""

    def parts(measured: Sequence[Measured]) -> list[Minima]:
        found = [_by_optimizer(group) for group in groups(measured, OWN_TRAINING)]
        several = tuple(group for group in found if len(group) > 1)
        return [Minima(said, several, what, what == "largest") for what, said in NUMBERS.items()]

    needs = (
        "measurements or curves with the flatness of their fits, of several optimizers that end at comparable losses"
    )
    return Claim(STUDY, needs, parts, parts)


def _by_optimizer(group: Sequence[Measured]) -> dict[str, Measured]:
    """Procedures, named by all that they differ in; none of fewer than two optimizers."""
    held = [r for r in group if any(probe.detail.get("flatness") for probe in r.probes)]
    if len({settings(r)["optimizer"] for r in held}) < 2:
        return {}
    found = [{"optimizer": r.procedure["optimizer"], **{key: r.procedure.get(key) for key in _TOLD}} for r in held]
    found = [{**each, "tune": settings(r).get("tune")} for each, r in zip(found, held, strict=True)]
    telling = [key for key in (*_TOLD, "tune") if len({str(each[key]) for each in found}) > 1]
    names = (", ".join([str(each["optimizer"]), *(f"{key} {each[key]}" for key in telling)]) for each in found)
    return dict(zip(names, held, strict=True))


_TOLD = ("batch_size", *BUDGET)
