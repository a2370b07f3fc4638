"""How the EMC grows with the parameters, over several results: `power_law`."""

from __future__ import annotations

from collections.abc import Iterable

from emc.comparison import check_finished, why_unpaired
from emc.errors import ComparisonError
from emc.results import EmcResult
from emc.specs import Measurement
from emc.stats.power_law import PowerLaw, Size, fit_power_law


def power_law(
    results: Iterable[EmcResult],
    *,
    confidence: float = Measurement.confidence,
    resamples: int = 10_000,
    seed: int = 0,
) -> PowerLaw:
    """Fit EMC = a * parameters ** b to results of one model at several sizes; see `emc.stats.power_law`.

    Results of the same pool, seed and version share the samples of equal replicates, which are then resampled together.
    Sizes with censored replicates are left out, and the fit tells so.

    Args:
        results: finished, of one estimand; best of one family under one procedure on one task.
        confidence: of the intervals.
        resamples: how many of the bootstrap.
        seed: of the resamples.

    Raises:
        ComparisonError: an unfinished result, several estimands, parameters that are not known, or fewer than three
            sizes whose replicates are all known.
        SpecError: the confidence is out of range.
    """
    given = list(results)
    confidence = Measurement(confidence=confidence).confidence
    if resamples < 100:
        raise ComparisonError(f"a bootstrap interval takes at least 100 resamples, got {resamples}; raise resamples")
    check_finished([str(place + 1) for place in range(len(given))], given)
    sizes = []
    for place, result in enumerate(given):
        if result.parameters is None:
            raise ComparisonError(
                f"a power law takes results whose parameters are known, got none in result {place + 1}; leave it out"
            )
        sizes.append(Size(result.parameters, result.replicates))
    paired = not any(why_unpaired(given[0], other) for other in given[1:])
    return fit_power_law(sizes, paired=paired, confidence=confidence, resamples=resamples, seed=seed)
