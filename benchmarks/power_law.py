"""Coverage of the exponent of a power law by the bootstrap interval, simulated through brackets of a real width.

python benchmarks/power_law.py              # 2,000 fits a cell, some minutes
python benchmarks/power_law.py --quick      # 300

EMC = 0.4 * parameters ** b at six sizes. The logarithm of a replicate's EMC varies by what it shares over all sizes, as
its samples, and by what it does not. Every EMC lies in a bracket of the search's grid, the same for all replicates.
"""

from __future__ import annotations

import math
from itertools import product

import click
import numpy as np
from common import Report, json_option, quick_option

from emc.results import Replicate, Status
from emc.stats.power_law import Size, fit_power_law

PARAMETERS = (150, 230, 380, 610, 830, 1200)
REPLICATES = (6, 10, 20)
#: Spreads of the logarithms: shared over sizes, and of each alone.
SPREADS = ((0.1, 0.02), (0.05, 0.05), (0.0, 0.1))
#: Relative widths of brackets; the first stands for none.
WIDTHS = (1e-4, 0.05, 0.2)


@click.command()
@quick_option
@click.option("--confidence", default=0.95)
@json_option
def main(quick: bool, confidence: float, json_path: object) -> None:
    """Print one row a setting: the share of intervals that hold the exponent, and their mean width."""
    fits = 300 if quick else 2000
    report = Report("power_law", json_path, quick)  # type: ignore[arg-type]
    for paired in (True, False):
        rows = [
            {"shared spread": shared, "own spread": own, "bracket": width}
            | {f"R = {R}": cell(R, shared, own, width, paired, fits, confidence) for R in REPLICATES}
            for (shared, own), width in product(SPREADS, WIDTHS)
        ]
        how = "paired" if paired else "unpaired"
        report.table(f"coverage in % of {fits} {how} fits (nominal {100 * confidence:g} %), mean width", rows)


def cell(R: int, shared: float, own: float, width: float, paired: bool, fits: int, confidence: float) -> str:
    """Coverage and mean width of one setting."""
    rng = np.random.default_rng(0)
    held, widths = 0, []
    for _ in range(fits):
        exponent = rng.uniform(0.5, 1.5)
        sizes = drawn(rng, exponent, R, shared, own, width, paired)
        law = fit_power_law(sizes, paired=paired, confidence=confidence, resamples=1000)
        assert law.exponent_interval is not None
        low, high = law.exponent_interval
        held += low <= exponent <= high
        widths.append(high - low)
    return f"{100 * held / fits:.1f} ({np.mean(widths):.3f})"


def drawn(
    rng: np.random.Generator, exponent: float, R: int, shared: float, own: float, width: float, paired: bool
) -> list[Size]:
    """Six sizes; unpaired ones share nothing, but vary as much."""
    common = shared * rng.standard_normal((1 if paired else len(PARAMETERS), R))
    start, step = rng.random(), math.log1p(width)
    found = []
    for place, parameters in enumerate(PARAMETERS):
        truth = math.log(4e5) + exponent * math.log(parameters)  # large, so that whole numbers round nothing away
        logs = truth + common[0 if paired else place] + own * rng.standard_normal(R)
        edges = np.floor(logs / step - start)
        ends = [(math.exp((edge + start) * step), math.exp((edge + start + 1) * step)) for edge in edges]
        replicates = [Replicate(r, round(a), round(b), Status.BRACKETED) for r, (a, b) in enumerate(ends)]
        found.append(Size(parameters, tuple(replicates)))
    return found


if __name__ == "__main__":
    main()
