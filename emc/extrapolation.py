"""A cheap estimate of the EMC from fits well below it: `estimate`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from emc.api import Prepared, prepare_named
from emc.engine import Observer
from emc.errors import SpecError
from emc.estimate_record import Climbed, Estimate
from emc.resolve import ModelFactory, OwnData
from emc.results import ProbeResult, Verdict, cost
from emc.search.climb import Climb
from emc.seeds import derive
from emc.specs import digest, procedure_text
from emc.stats.steps_to_fit import LAW, STUDY, Extrapolated, FittedIn, extrapolate
from emc.stopping import stoppable

#: Growth from one size to the next.
FACTOR = 1.4

#: Of the budget; a replicate whose fit took more grows no further.
SHARE = 0.1


def estimate(
    *,
    model: str | ModelFactory = "mlp",
    data: OwnData = "digits",
    observer: Observer | None = None,
    journal: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Estimate:
    """Extrapolate the EMC of a training procedure from fits well below it; arguments are those of `measure`.

    Every replicate grows n until a fit takes more than a tenth of its budget, or fails: near its limit the steps run up
    so steeply that the step after an easy fit often does. That is one failing run a replicate at most, where a
    bisection trains several. A law of the steps is fitted to all probes and followed towards the budget.

    Returns:
        The estimate with an interval and what the study says it is worth, or a lower bound where extrapolation is not
        justified.

    Raises:
        EmcError: as `measure`; or the settings ask for another estimand than n50.

    >>> import emc
    >>> found = emc.estimate(model="mlp:width=4", data="digits", labels="random", n_max=16, replicates=1)
    >>> found.emc, found.censored
    (16, True)
    """
    return run_estimate(prepare_named(model, data, journal, settings), observer)


@stoppable()
def run_estimate(prepared: Prepared, observer: Observer | None = None) -> Estimate:
    """Run the estimate of a prepared measurement, its tuning first.

    Ctrl-C returns what is known by then, as a lower bound.

    Raises:
        SpecError: the measurement's estimand is not n50.
        JournalError: the journal cannot be read or written.
        TrainingError: a training raised.
    """
    measurement = prepared.measurement
    if measurement.search.estimand != "n50":
        raise SpecError(
            f'an estimate is one of n50, got settings for "{measurement.search.estimand}"; '
            "leave out --growth linear, --attempts and --criterion, or use emc measure"
        )
    if measurement.search.search.name != "bisection":
        raise SpecError(f"an estimate grows n by its own rule, got --search {measurement.search.search}; leave it out")
    if prepared.setup.training is not None:
        raise SpecError(
            f"an estimate follows the steps of a descent, got {procedure_text(measurement.procedure.to_dict())}; "
            "use emc measure"
        )
    if prepared.setup.plan.solve is not None:
        name = measurement.procedure.optimizer.name
        raise SpecError(f"an estimate follows the steps of a descent, got --optimizer {name}; use emc measure")
    prepared = prepared.tuned(observer)
    measurement = prepared.measurement
    assert prepared.parameters is not None
    climbs = make_climbs(prepared)
    driven = prepared.drive(climbs, observer)
    probes = tuple(result for climb in climbs for result in climb.results)
    reason = "it was interrupted; run the same command to continue" if driven.interrupted else _exhausted(climbs)
    found = Extrapolated(None, None, reason) if reason else conclude(prepared, probes)
    top = max((r for r in probes if r.verdict is Verdict.FITTED), key=lambda r: (r.n, -r.steps), default=None)
    largest = 0 if top is None else top.n
    climbed = tuple(_climbed(number, climb) for number, climb in enumerate(climbs))
    lower = sorted(climb.largest for climb in climbed)[(len(climbed) - 1) // 2]
    return Estimate(
        emc=lower if found.emc is None else round(found.emc),
        censored=found.emc is None,
        reason=found.reason,
        interval=found.interval,
        interval_method=_method(measurement.replicates) if found.interval else "nothing was extrapolated",
        confidence=measurement.confidence,
        largest=largest,
        steps=0 if top is None else top.steps,
        law=LAW.sentence(),
        climbs=climbed,
        parameters=prepared.parameters,
        task=measurement.task.to_dict(),
        procedure=measurement.procedure.to_dict(),
        search=measurement.search.to_dict(),
        dataset=prepared.dataset.facts.to_dict(),
        seed=measurement.seed,
        fingerprint=_fingerprint(prepared),
        probes=probes,
        cost=cost(probes),
        full_cost=prepared.rough_cost(),
        versions=driven.versions,
        tuning=None if prepared.tuning is None else prepared.tuning.to_dict(),
        unused=driven.unused(probes),
    )


def make_climbs(prepared: Prepared) -> list[Climb]:
    """One growth a replicate."""
    sizes = prepared.measurement.search.sizes
    return [
        Climb(*sizes, replicate, factor=FACTOR, share=SHARE, budget=prepared.setup.budget)
        for replicate in range(prepared.measurement.replicates)
    ]


def conclude(prepared: Prepared, probes: Sequence[ProbeResult]) -> Extrapolated:
    """The extrapolation from probes, none of it beyond the sizes that a measurement may ask for."""
    measurement = prepared.measurement
    found = extrapolate(observations(prepared, probes), measurement.confidence, derive("resamples", measurement.seed))
    _, n_max = measurement.search.sizes
    if found.emc is not None and found.emc > n_max:
        text = f"the law reaches the budget only above the {n_max:,} samples there are; use a larger pool or --n-max"
        return Extrapolated(None, None, text)
    return found


def observations(prepared: Prepared, probes: Sequence[ProbeResult]) -> list[FittedIn]:
    """What probes show of the steps to fit; diverged ones show nothing.

    A fit is seen at the first exact count after it, so half of that cadence is taken off.
    """
    setup = prepared.setup
    seen = []
    for probe in probes:
        if probe.verdict is Verdict.FITTED:
            steps = probe.steps - min(probe.steps, setup.check_every(probe.n)) / 2
            seen.append(FittedIn(probe.n, probe.replicate, steps / setup.budget(probe.n)))
        elif probe.verdict is Verdict.NOT_FITTED:
            seen.append(FittedIn(probe.n, probe.replicate, 1.0))
    return seen


def _exhausted(climbs: Sequence[Climb]) -> str:
    """Why there is nothing to extrapolate: at least half the replicates fitted all samples with ease."""
    done = [climb for climb in climbs if climb.end == "fitted all there is"]
    if 2 * len(done) < len(climbs):
        return ""
    return f"{len(done)} of {len(climbs)} replicates fitted all the samples there are; use a larger pool or --n-max"


def _climbed(number: int, climb: Climb) -> Climbed:
    largest = max((r for r in climb.results if r.verdict is Verdict.FITTED), key=lambda r: r.n, default=None)
    return Climbed(number, largest.n if largest else 0, largest.steps if largest else 0, climb.end)


def _method(replicates: int) -> str:
    ends = "bootstrap over replicates" if replicates > 1 else "one replicate gives no spread"
    return f"{ends}, widened by the study's factor of {STUDY.factor:g}"


def _fingerprint(prepared: Prepared) -> str:
    measurement = prepared.measurement
    return digest(
        {
            "base": prepared.base,
            "estimate": [FACTOR, SHARE, *measurement.search.sizes],
            "replicates": measurement.replicates,
            "confidence": measurement.confidence,
        },
        16,
    )
