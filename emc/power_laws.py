"""How the EMC grows with the parameters, over several results: `power_law`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from emc.comparison import Source, check_finished, differences_of, results_of, why_unpaired
from emc.errors import ComparisonError, shown
from emc.specs import Measurement
from emc.stats.power_law import PowerLaw, Size, fit_power_law


def power_law(
    results: Iterable[Source],
    *,
    confidence: float = Measurement.confidence,
    resamples: int = 10_000,
    seed: int = 0,
) -> PowerLaw:
    """Fit EMC = a * parameters ** b to results of one model at several sizes; see `emc.stats.power_law`.

    Results of the same pool, seed and version share the samples of equal replicates, which are then resampled together.
    Sizes with censored replicates are left out, and the fit tells so. What the results differ in is told too: several
    families, or several budgets, have one exponent that is none of theirs.

    Args:
        results: finished, or files that `emc measure --json` wrote, of one estimand; best of one family under one
            procedure on one task.
        confidence: of the intervals.
        resamples: how many of the bootstrap.
        seed: of the resamples.

    Raises:
        ComparisonError: no results, an unfinished one, several estimands, parameters that are not known, fewer than
            three sizes whose replicates are all known, or too few resamples.
        OutputError: a file cannot be read.
        SpecError: the confidence or the seed is out of range.
    """
    if not isinstance(results, Iterable) or isinstance(results, str):
        raise ComparisonError(
            f"a power law takes a list of results, got a value of type {type(results).__name__}; write [a, b, c]"
        )
    given = results_of(list(results))
    checked = Measurement(confidence=confidence, seed=seed)
    confidence, seed = checked.confidence, checked.seed
    if not isinstance(resamples, int) or resamples < 100:
        raise ComparisonError(
            f"a bootstrap interval takes a whole number of resamples, at least 100, got {shown(resamples)}; raise it"
        )
    check_finished([str(place + 1) for place in range(len(given))], given)
    sizes = []
    for place, result in enumerate(given):
        if result.parameters is None:
            raise ComparisonError(
                f"a power law takes results whose parameters are known, got none in result {place + 1}; leave it out"
            )
        sizes.append(Size(result.parameters, result.replicates))
    paired = not any(why_unpaired(given[0], other) for other in given[1:])
    law = fit_power_law(sizes, paired=paired, confidence=confidence, resamples=resamples, seed=seed)
    return replace(law, differences=differences_of(given))
