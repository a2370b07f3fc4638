"""Coverage of the crossing of the mean error by the bootstrap interval, simulated through the real search.

python benchmarks/mean_error.py              # 1,000 measurements a cell, some minutes
python benchmarks/mean_error.py --quick      # 200

The error of a probe rises with log n from a threshold on, at the rate measured for mlp:width=8 on digits, 0.7; the
threshold varies in log n from replicate to replicate (all sizes of one share it) and from probe to probe. It is drawn
anew for each measurement, over one doubling of n, so that no cell depends on where the search's sizes happen to lie.
"""

from __future__ import annotations

import math
from itertools import product

import click
import numpy as np
from scipy.optimize import brentq

from emc.estimators.mean_error import MeanError
from emc.results import Evidence, ProbeResult, Verdict
from emc.specs import Search

REPLICATES = (5, 6, 10, 20)
SPREADS = ((0.03, 0.03), (0.1, 0.03), (0.03, 0.1))
BOUNDS = (0.1, 0.3)
RATE, WORST = 0.7, 0.9
POOL = 100_000


@click.command()
@click.option("--quick", is_flag=True)
@click.option("--confidence", default=0.95)
def main(quick: bool, confidence: float) -> None:
    """Print one row a setting: the share of intervals that hold the crossing, and their width."""
    measurements = 200 if quick else 1000
    print(f"coverage of the crossing in %, nominal {100 * confidence:g} %, {measurements} measurements a cell; * below")
    print("93 %; in brackets the median ratio of the interval's ends, then the bias of the EMC's logarithm")
    print("| bound | spread of replicates | of probes | " + " | ".join(f"R = {R}" for R in REPLICATES) + " |")
    print("|---|---|---|" + "---|" * len(REPLICATES))
    for bound, (between, within) in product(BOUNDS, SPREADS):
        offset = true_crossing(bound, math.hypot(between, within))
        cells = []
        for R in REPLICATES:
            rng = np.random.default_rng(0)
            drawn = [measured(rng, bound, between, within, R, confidence, offset) for _ in range(measurements)]
            cells.append(cell_text(drawn))
        print(f"| {bound:g} | {between:g} | {within:g} | {' | '.join(cells)} |", flush=True)


def true_crossing(bound: float, spread: float) -> float:
    """Where, in log n above the threshold, the expected error is the bound."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)

    def excess(x: float) -> float:
        return float(error(x + spread * nodes) @ weights / weights.sum()) - bound

    return float(brentq(excess, -2, 2))


def error(x: np.ndarray | float) -> np.ndarray:
    """The error of a probe x above its threshold in log n."""
    return np.clip(RATE * np.asarray(x), 0, WORST)


def measured(
    rng: np.random.Generator, bound: float, between: float, within: float, R: int, confidence: float, offset: float
) -> tuple[bool, float, float] | None:
    """Whether one simulated interval holds the crossing, the ratio of its ends, and the EMC's error in log n."""
    threshold = 300 * 2 ** rng.random()
    shifts = between * rng.standard_normal(R)
    estimator = MeanError(Search(n_start=16, n_max=POOL, criterion=f"error<={bound}"), R, confidence)
    (search,) = estimator.searches
    while asks := search.ask():
        for ask in asks:
            x = math.log(ask.n / threshold) + shifts[ask.replicate] + within * rng.standard_normal()
            correct = ask.n - round(float(error(x)) * ask.n)
            verdict = Verdict.FITTED if correct == ask.n else Verdict.NOT_FITTED
            evidence = None if correct == ask.n else Evidence.NOISE_FLOOR
            key = f"{ask.n} {ask.replicate}"
            search.tell(ask, ProbeResult(key, ask.n, ask.replicate, ask.attempt, verdict, evidence, correct))
    found = estimator.conclude()
    if found.interval is None:
        return None
    low, high = found.interval
    truth = threshold * math.exp(offset)
    return low <= truth <= high, high / low, math.log(found.emc / truth)


def cell_text(drawn: list[tuple[bool, float, float] | None]) -> str:
    """Coverage, median width and bias where intervals were offered."""
    cell = [one for one in drawn if one is not None]
    if not cell:
        return "none offered"
    covered = np.mean([held for held, _, _ in cell])
    mark = "*" if covered < 0.93 else ""
    missing = "" if len(cell) == len(drawn) else f", offered {len(cell)}"
    bias = np.mean([shift for _, _, shift in cell])
    return f"{100 * covered:.1f}{mark} ({np.median([w for _, w, _ in cell]):.3g}, {bias:+.3f}{missing})"


if __name__ == "__main__":
    main()
