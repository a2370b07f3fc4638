"""`--search threshold` simulated through its real code: coverage of n50, and its cost beside replicated bisection.

python benchmarks/threshold.py                # 2,000 measurements a cell
python benchmarks/threshold.py --quick        # 100

A probe at n fits as in interval_coverage.py: with probability (1 - lapse) Phi(log(threshold / n) / slope), the
threshold drawn anew for each measurement over one doubling of n. A failure takes the whole budget, one unit; a fit
at n takes min(1, (n / n50)^2 / 2) of it, so half a budget at n50 and little far below.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cache
from itertools import product
from statistics import NormalDist, median

import click

from emc.estimators.threshold import ThresholdSearch
from emc.results import ProbeResult, Replicate, Status, Verdict
from emc.search.path import Shown, search_path
from emc.search.rules import ThresholdRule
from emc.specs import Search
from emc.stats.intervals import interval

SLOPES = (0.03, 0.05, 0.1)
LAPSES = (0.0, 0.02, 0.05)
WIDTHS = (1.1, 1.05)
TOLERANCES = (0.01, 0.05)
REPLICATES = range(6, 161)
START, POOL = 16, 100_000
#: Sample-steps of a whole budget.
BUDGET = 1_000_000
NORMAL = NormalDist()

#: A replicate with its probes and budgets.
Bisected = tuple[Replicate, int, float]


@dataclass(frozen=True)
class Truth:
    """What decides the verdicts of one measurement."""

    threshold: float
    slope: float
    lapse: float

    @property
    def n50(self) -> float:
        """Where half of the probes fit."""
        return self.threshold * math.exp(-self.slope * NORMAL.inv_cdf(0.5 / (1 - self.lapse)))

    def fits(self, n: int, rng: random.Random) -> bool:
        """One fresh probe."""
        return rng.random() >= self.lapse and rng.gauss(0, self.slope) < math.log(self.threshold / n)

    def cost(self, n: int, fits: bool) -> int:
        """Its sample-steps."""
        return round(BUDGET * min(1.0, (n / self.n50) ** 2 / 2)) if fits else BUDGET


@dataclass(frozen=True)
class Outcome:
    """One measurement: its interval (None where it gave none), EMC, probes and budgets spent."""

    ends: tuple[float, float] | None
    emc: int
    probes: int
    budgets: float


def draw_truth(rng: random.Random, slope: float, lapse: float) -> Truth:
    """A threshold over one doubling, so that no cell depends on where the sizes happen to lie."""
    return Truth(300 * 2 ** rng.random(), slope, lapse)


def threshold_search(rng: random.Random, truth: Truth, width: float, batch: int) -> Outcome:
    """One measurement by the posterior."""
    search = ThresholdSearch(ThresholdRule(width, batch, 2000), Search(n_start=START, n_max=POOL), 0.95)
    while search.status() is None:
        for ask in search.ask():
            fits = truth.fits(ask.n, rng)
            verdict = Verdict.FITTED if fits else Verdict.NOT_FITTED
            cost = truth.cost(ask.n, fits)
            search.tell(ask, ProbeResult("", ask.n, ask.replicate, 0, verdict, sample_steps=cost))
    found = search.conclude()
    if found.status is not Status.RESOLVED:
        raise SystemExit(f"a simulated measurement ended as {found.status.key}: {truth}")
    spent = sum(probe.sample_steps for probe in found.probes) / BUDGET
    return Outcome(found.interval, found.emc, len(found.probes), spent)


def bisected(rng: random.Random, truth: Truth, tolerance: float, number: int) -> Bisected:
    """One replicate of the default search, with its probes and budgets."""
    path = search_path(Search(tolerance=tolerance), START, POOL)
    probes, spent = 0, 0
    try:
        ask = next(path)
        while True:
            fits = truth.fits(ask.n, rng)
            probes, spent = probes + 1, spent + truth.cost(ask.n, fits)
            ask = path.send(Shown.FITTED if fits else Shown.NOT_FITTED)
    except StopIteration as stop:
        return Replicate(number, stop.value.lower, stop.value.upper, stop.value.status), probes, spent / BUDGET


@dataclass(frozen=True)
class Rival:
    """Replicated bisection that gives the same median width: replicates, tolerance, mean probes and budgets."""

    replicates: int
    tolerance: float
    probes: float
    budgets: float


def cheapest_bisection(slope: float, lapse: float, width: float, measurements: int) -> Rival | None:
    """Of all tolerances the cheapest with the fewest replicates whose median interval is at most as wide."""
    found = []
    for tolerance in TOLERANCES:
        drawn = bisections(slope, lapse, tolerance, measurements)
        for R in REPLICATES:
            if median_ratio([[replicate for replicate, _, _ in each[:R]] for each in drawn]) <= width:
                flat = [one for each in drawn for one in each]
                probes, budgets = (sum(one[place] for one in flat) / len(flat) * R for place in (1, 2))
                found.append(Rival(R, tolerance, probes, budgets))
                break
    return min(found, key=lambda rival: rival.budgets, default=None)


@cache
def bisections(slope: float, lapse: float, tolerance: float, measurements: int) -> list[list[Bisected]]:
    """The replicates of measurements of one setting."""
    rng = random.Random(1)
    truths = [draw_truth(rng, slope, lapse) for _ in range(measurements)]
    return [[bisected(rng, truth, tolerance, i) for i in range(REPLICATES[-1])] for truth in truths]


def median_ratio(measurements: list[list[Replicate]]) -> float:
    """Median ratio of the order-statistics intervals' ends."""
    ends = [interval(replicates, 0.95).ends for replicates in measurements]
    return median(math.inf if each is None or each[0] <= 0 else each[1] / each[0] for each in ends)


@click.command()
@click.option("--quick", is_flag=True)
@click.option("--batch", default=8, show_default=True, help="probes asked at once")
@click.option("--width", "widths", multiple=True, default=WIDTHS, show_default=True, help="asked for")
@click.option("--measurements", default=2000, show_default=True, help="a cell, where not quick")
@click.option("--seed", default=1, show_default=True, help="of the draws; the prior was chosen on those of 0")
def main(quick: bool, batch: int, widths: tuple[float, ...], measurements: int, seed: int) -> None:
    """Print the coverage of n50, then trainings and sample-steps beside replicated bisection."""
    measurements, compared = (100, 20) if quick else (measurements, 60)
    print(f"{measurements} measurements a cell, batches of {batch}; * below 93 %; a budget is what a failure takes\n")
    print("| slope | lapses | width asked | coverage in % | median width | EMC / n50 | trainings | budgets |")
    print("|---|---|---|---|---|---|---|---|")
    cells = {}
    for cell in product(SLOPES, LAPSES, widths):
        cells[cell] = simulate(*cell, measurements, batch, seed)
        print(f"| {cell[0]:g} | {cell[1]:.0%} | {cell[2]:g} | {cells[cell].text} |", flush=True)
    print(f"\nthe same median width by replicated bisection ({compared} measurements a cell)\n")
    print(
        "| slope | lapses | width | R (tolerance) | trainings | threshold's | ratio | budgets | threshold's | ratio |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for cell, mine in cells.items():
        rival = cheapest_bisection(cell[0], cell[1], mine.width, compared)
        print(f"| {cell[0]:g} | {cell[1]:.0%} | {mine.width:.3f} | {versus(rival, mine)} |", flush=True)


@dataclass(frozen=True)
class Cell:
    """What the simulated measurements of one setting came to, means but for the width."""

    coverage: float
    width: float
    bias: float
    probes: float
    budgets: float

    @property
    def text(self) -> str:
        """Its columns."""
        mark = "*" if self.coverage < 0.93 else ""
        return (
            f"{100 * self.coverage:.1f}{mark} | {self.width:.3f} | {self.bias:.3f} | {self.probes:.1f} | "
            f"{self.budgets:.1f}"
        )


def simulate(slope: float, lapse: float, width: float, measurements: int, batch: int, seed: int) -> Cell:
    """Measurements through the real search."""
    rng = random.Random(seed)
    truths = [draw_truth(rng, slope, lapse) for _ in range(measurements)]
    found = [threshold_search(rng, truth, width, batch) for truth in truths]
    pairs = [
        (truth.n50, outcome, outcome.ends or (math.nan, math.nan)) for truth, outcome in zip(truths, found, strict=True)
    ]
    return Cell(
        coverage=sum(ends[0] <= n50 <= ends[1] for n50, _, ends in pairs) / measurements,
        width=median(ends[1] / ends[0] for _, _, ends in pairs),
        bias=math.exp(sum(math.log((outcome.emc + 0.5) / n50) for n50, outcome, _ in pairs) / measurements),
        probes=sum(outcome.probes for outcome in found) / measurements,
        budgets=sum(outcome.budgets for outcome in found) / measurements,
    )


def versus(rival: Rival | None, mine: Cell) -> str:
    """The columns of the comparison."""
    if rival is None:
        return f"above {REPLICATES[-1]} | | {mine.probes:.1f} | | | {mine.budgets:.1f} | "
    return (
        f"{rival.replicates} ({rival.tolerance:.0%}) | {rival.probes:.0f} | {mine.probes:.1f} | "
        f"{rival.probes / mine.probes:.1f} | {rival.budgets:.1f} | {mine.budgets:.1f} | "
        f"{rival.budgets / mine.budgets:.1f}"
    )


if __name__ == "__main__":
    main()
