"""Coverage of n50 by the intervals, simulated through the real search.

python benchmarks/interval_coverage.py                # 2,000 measurements a cell, a few minutes
python benchmarks/interval_coverage.py --quick        # 200

A probe at n fits with probability (1 - lapse) Phi(log(threshold / n) / slope); n50 is where that is one half, so lapses
(unlucky inits that fit at no size) move it. The threshold is drawn anew for each measurement, over one doubling of n,
so that no cell depends on where the search's sizes happen to lie.
"""

from __future__ import annotations

import math
import random
from itertools import product
from statistics import NormalDist
from typing import NamedTuple

import click

from emc.results import Replicate
from emc.search.path import Shown, search_path
from emc.specs import Search
from emc.stats.intervals import far_below, interval

REPLICATES = (2, 3, 6, 10, 20, 40)
SLOPES = (0.03, 0.05, 0.1)
TOLERANCES = (0.01, 0.05, 0.1)
LAPSES = (0.0, 0.02, 0.05)
POOL = 100_000
NORMAL = NormalDist()


@click.command()
@click.option("--quick", is_flag=True)
@click.option("--confidence", default=0.95)
def main(quick: bool, confidence: float) -> None:
    """Print one row a setting: the share of intervals that hold n50, for each number of replicates, and their width."""
    measurements = 200 if quick else 2000
    print(f"coverage of n50 in %, nominal {100 * confidence:g} %, {measurements} measurements a cell; * below 93 %;")
    print("in brackets the median ratio of the interval's ends, and the share of outputs that warn of lapses, in %")
    print("| slope | tolerance | lapses | " + " | ".join(f"R = {R}" for R in REPLICATES) + " |")
    print("|---|---|---|" + "---|" * len(REPLICATES))
    for slope, tolerance, lapse in product(SLOPES, TOLERANCES, LAPSES):
        rng = random.Random(0)
        cells: dict[int, list[Drawn]] = {R: [] for R in REPLICATES}
        for _ in range(measurements):
            threshold = 300 * 2 ** rng.random()
            n50 = threshold * math.exp(-slope * NORMAL.inv_cdf(0.5 / (1 - lapse)))
            drawn = [replicate(rng, i, threshold, slope, lapse, tolerance) for i in range(max(REPLICATES))]
            for R in REPLICATES:
                ends = interval(drawn[:R], confidence).ends
                if ends is not None:
                    width = ends[1] / ends[0] if ends[0] > 0 else math.inf
                    cells[R].append(Drawn(ends[0] <= n50 <= ends[1], width, far_below(drawn[:R]) > 0))
        row = " | ".join(cell_text(cells[R]) for R in REPLICATES)
        print(f"| {slope:g} | {tolerance:.0%} | {lapse:.0%} | {row} |", flush=True)


def replicate(
    rng: random.Random, number: int, threshold: float, slope: float, lapse: float, tolerance: float
) -> Replicate:
    """One search against probes that fit by chance."""
    path = search_path(Search(tolerance=tolerance), 16, POOL)
    try:
        ask = next(path)
        while True:
            fits = rng.random() >= lapse and rng.gauss(0, slope) < math.log(threshold / ask.n)
            ask = path.send(Shown.FITTED if fits else Shown.NOT_FITTED)
    except StopIteration as stop:
        return Replicate(number, stop.value.lower, stop.value.upper, stop.value.status)


class Drawn(NamedTuple):
    """One simulated measurement: whether its interval held n50, the ratio of the ends, whether the output warned."""

    held: bool
    width: float
    warned: bool


def cell_text(cell: list[Drawn]) -> str:
    """Coverage, median width and warnings of the intervals that were offered."""
    if not cell:
        return "none offered"
    covered = sum(one.held for one in cell) / len(cell)
    warned = sum(one.warned for one in cell) / len(cell)
    width = sorted(one.width for one in cell)[len(cell) // 2]
    return f"{100 * covered:.1f}{'*' if covered < 0.93 else ''} ({width:.3g}, {100 * warned:.0f})"


if __name__ == "__main__":
    main()
