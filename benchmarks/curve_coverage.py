"""How often the interval of a curve's n50 holds it, simulated: draws that follow Cover's theorem, d = 20.

python benchmarks/curve_coverage.py              # 400 curves a cell
python benchmarks/curve_coverage.py --quick      # 40
"""

from __future__ import annotations

import click
import numpy as np
from common import describe_machine
from scipy import stats

from emc.stats.cover import half_size, separable
from emc.stats.fitted import FittedCurve, fit_curve
from emc.stats.psychometric import Posterior, Prior, Trials

DIM = 20
SIZES = list(range(26, 59, 4))


@click.command()
@click.option("--curves", default=400, help="simulated in each cell")
@click.option("--quick", is_flag=True, help="40 curves a cell")
def main(curves: int, quick: bool) -> None:
    """Print coverage and width, for draws whose sizes are nested, as a real curve's are, and for independent ones."""
    curves = 40 if quick else curves
    print(describe_machine())
    print("\n| draws | sizes of a draw | coverage | its standard error | mean width | posterior alone | no n50 |")
    print("|---|---|---|---|---|---|---|")
    for draws in (6, 10, 20, 40):
        for nested in (True, False):
            rng = np.random.default_rng([draws, nested])
            found = [simulate(draws, nested, rng) for _ in range(curves)]
            held = [entry for entry in found if entry is not None]
            share = float(np.mean([holds(curve.interval) for curve, _ in held]))
            alone = float(np.mean([holds(interval) for _, interval in held]))
            width = float(
                np.mean([np.log(curve.interval[1] / curve.interval[0]) for curve, _ in held if curve.interval])
            )
            error = stats.sem([holds(curve.interval) for curve, _ in held])
            kind = "nested" if nested else "independent"
            print(
                f"| {draws} | {kind} | {share:.1%} | {error:.1%} | {width:.3f} | {alone:.1%} | {curves - len(held)} |",
                flush=True,
            )


def simulate(draws: int, nested: bool, rng: np.random.Generator) -> tuple[FittedCurve, tuple[float, float]] | None:
    """One curve, and the interval that takes all its probes for independent."""
    luck = rng.random((draws, 1 if nested else len(SIZES)))
    fits = (luck < np.array([separable(n, DIM) for n in SIZES])).astype(float)
    curve = fit_curve(SIZES, fits, np.ones_like(fits), np.zeros_like(fits), 4000, 0.95)
    if curve is None:
        return None
    seen = [Trials(n, float(count), draws) for n, count in zip(SIZES, fits.sum(0), strict=True)]
    return curve, Posterior.after(Prior(4000), seen).interval(0.95)


def holds(interval: tuple[float, float] | None) -> bool:
    """Whether n50 lies inside: P(separable) is 1/2 at exactly 2 (d + 1)."""
    return interval is not None and interval[0] <= half_size(DIM) <= interval[1]


if __name__ == "__main__":
    main()
