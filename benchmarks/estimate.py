"""How near `emc estimate` comes to the EMC that `emc measure` finds, and what it saves.

Each setting is measured twice, by four replicates of seed 0 and by four others of seed 1, and estimated from the
replicates of seed 0. The law was chosen by the second table.

python benchmarks/estimate.py                         # all settings: hours of one slow core
python benchmarks/estimate.py --quick                 # three of them
python benchmarks/estimate.py --journal verdicts.jsonl
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click
import numpy as np
from common import describe_machine, prepared, use_one_thread

from emc.api import Prepared
from emc.estimate_record import Estimate
from emc.extrapolation import observations, run_estimate
from emc.results import EmcResult
from emc.stats.steps_to_fit import LAW, STUDY, FittedIn, Law

#: As many exact counts a budget as by default, a fifth of its steps.
COMMON = {"min_steps": 5_000, "check_steps": 20, "tolerance": 0.1, "replicates": 4}

SETTINGS: dict[str, dict[str, Any]] = {
    "gaussian 20, linear": {"model": "linear", "data": "gaussian:dim=20"},
    "gaussian 20, mlp 4": {"model": "mlp:width=4", "data": "gaussian:dim=20"},
    "gaussian 20, mlp 4 tanh": {"model": "mlp:width=4", "data": "gaussian:dim=20", "activation": "tanh"},
    "gaussian 20, mlp 8": {"model": "mlp:width=8", "data": "gaussian:dim=20"},
    "digits random, mlp 4": {"model": "mlp:width=4", "labels": "random"},
    "digits, mlp 4": {"model": "mlp:width=4"},
    "digits random, mlp 8": {"model": "mlp:width=8", "labels": "random"},
    "digits random, mlp 8, sgd": {"model": "mlp:width=8", "labels": "random", "optimizer": "sgd:lr=0.1"},
    "digits random, mlp 8, gd": {"model": "mlp:width=8", "labels": "random", "optimizer": "gd:lr=0.3"},
    "wine random, linear": {"model": "linear", "data": "wine", "labels": "random"},
    "cancer random, mlp 4": {"model": "mlp:width=4", "data": "breast_cancer", "labels": "random"},
    "cancer random, mlp 8": {"model": "mlp:width=8", "data": "breast_cancer", "labels": "random"},
    "cancer, linear": {"model": "linear", "data": "breast_cancer"},
}  # fmt: skip
QUICK = ("gaussian 20, linear", "digits random, mlp 4", "cancer random, mlp 4")

LAWS = [Law(exponent, reached) for exponent in (0.0, 0.5, 1.0, 2.0) for reached in (0.25, 0.5, 1.0)]


@dataclass(frozen=True)
class Row:
    """One setting: the estimate, the measurements by the same and by other replicates, what the estimate was from."""

    name: str
    estimate: Estimate
    same: EmcResult
    other: EmcResult
    observed: list[FittedIn]

    @property
    def reference(self) -> float:
        """The EMC by all eight replicates: the median of their brackets' geometric middles."""
        both = (*self.same.replicates, *self.other.replicates)
        return math.exp(statistics.median(math.log(max(r.lower, 1) * (r.upper or r.lower)) / 2 for r in both))

    @property
    def cost(self) -> float:
        """Sample-steps as a share of the measurement's."""
        return self.estimate.cost["sample_steps"] / self.same.cost["sample_steps"]


def study(name: str, journal: str | None) -> Row:
    """Measure and estimate one setting."""
    readies = [_ready(name, seed, journal) for seed in (0, 1)]
    same, other = (ready.run() for ready in readies)
    estimate = run_estimate(readies[0])
    return Row(name, estimate, same, other, observations(readies[0], estimate.probes))


def _ready(name: str, seed: int, journal: str | None) -> Prepared:
    ready = prepared(**COMMON, **SETTINGS[name], seed=seed)
    return replace(ready, execution=replace(ready.execution, journal=journal))


def errors_of(predict: Callable[[Row], float | None], rows: Sequence[Row]) -> np.ndarray:
    """Logarithms of prediction over reference; NaN where there is none."""
    found = [predict(row) for row in rows]
    logs = [math.nan if e is None else math.log(e / r.reference) for e, r in zip(found, rows, strict=True)]
    return np.array(logs)


def by_law(law: Law) -> Callable[[Row], float | None]:
    """The law's extrapolation, where the estimate gives one."""
    return lambda row: None if row.estimate.censored else law.emc(row.observed)


def by_largest(row: Row) -> float | None:
    """The trivial rule, before its factor: the median over replicates of the largest size fitted cheaply."""
    return None if row.estimate.censored else statistics.median(max(c.largest, 1) for c in row.estimate.climbs)


def leave_one_out(errors: np.ndarray) -> np.ndarray:
    """Each setting's error after the factor that is best (the median) for the others."""
    return np.array([own - np.nanmedian(np.delete(errors, place)) for place, own in enumerate(errors)])


def chosen_elsewhere(all_errors: Sequence[np.ndarray]) -> np.ndarray:
    """Each setting's error by the law whose mean absolute error is least over the other settings."""
    table = np.array(all_errors)
    means = [np.nanmean(np.abs(np.delete(table, place, axis=1)), axis=1) for place in range(table.shape[1])]
    return np.array([table[int(np.argmin(mean)), place] for place, mean in enumerate(means)])


def print_settings(rows: Sequence[Row]) -> None:
    """The table of settings."""
    print("\n| setting | EMC: same replicates | other replicates | all | estimate | interval | / same | / all | cost |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        found, emc = row.estimate, row.estimate.emc
        measured = [f"{'>= ' if r.censored else ''}{r.emc} {r.status.key}" for r in (row.same, row.other)]
        interval = "none" if found.interval is None else f"{found.interval[0]:.0f} to {found.interval[1]:.0f}"
        ratios = ["", ""] if found.censored else [f"{emc / row.same.emc:.2f}", f"{emc / row.reference:.2f}"]
        cells = [row.name, *measured, f"{row.reference:.0f}", f"{'>= ' if found.censored else ''}{emc}", interval]
        print("| " + " | ".join([*cells, *ratios, f"{row.cost:.0%}"]) + " |")


def print_laws(rows: Sequence[Row]) -> None:
    """Which law, and whether it beats the trivial rule, on the settings that were extrapolated."""
    print("\n| law | mean abs log error | median ratio | worst factor |")
    print("|---|---|---|---|")
    table = [errors_of(by_law(law), rows) for law in LAWS]
    named = [(f"n ** {law.exponent:g} up to {law.reached:.0%}", e) for law, e in zip(LAWS, table, strict=True)]
    named.append(("best of these on the other settings", chosen_elsewhere(table)))
    named.append(("largest fitted size x the others' best factor", leave_one_out(errors_of(by_largest, rows))))
    for name, errors in named:
        fair = errors[np.isfinite(errors)]
        if len(fair):
            mean, middle, worst = np.abs(fair).mean(), math.exp(np.median(fair)), math.exp(np.abs(fair).max())
            print(f"| {name} | {mean:.3f} | {middle:.2f} | {worst:.2f} |")


def print_summary(rows: Sequence[Row]) -> None:
    """What the library records as `STUDY`."""
    done = [row for row in rows if not row.estimate.censored]
    print(f"\n{len(done)} of {len(rows)} settings extrapolated; {LAW.sentence()}")
    for name, truths in (("same replicates", [r.same.emc for r in done]), ("all", [r.reference for r in done])):
        ratios = np.array([row.estimate.emc / truth for row, truth in zip(done, truths, strict=True)])
        low, high = np.quantile(ratios, [0.05, 0.95])
        folds = np.exp(np.abs(np.log(ratios)))
        within = ", ".join(f"{f:g} in {int((folds <= f).sum())}" for f in (1.25, 1.5, STUDY.factor, 2.0))
        held = sum(
            row.estimate.interval is not None and row.estimate.interval[0] <= truth <= row.estimate.interval[1]
            for row, truth in zip(done, truths, strict=True)
        )
        print(
            f"against {name}: median ratio {np.median(ratios):.2f}, 90 % range {low:.2f} to {high:.2f}, within a "
            f"factor of {within} of {len(done)}; interval holds it in {held}"
        )
    apart = [math.exp(abs(math.log(max(row.same.emc, 1) / max(row.other.emc, 1)))) for row in rows]
    print(
        f"two measurements of a setting differ by a factor of {np.median(apart):.2f} (median), {max(apart):.2f} (most)"
    )
    costs = [row.cost for row in rows]
    print(f"cost in sample-steps: median {np.median(costs):.0%}, from {min(costs):.0%} to {max(costs):.0%}")
    failing = sum(probe.verdict.value != "fitted" for row in rows for probe in row.estimate.probes)
    print(f"probes that did not fit on the way: {failing} of {sum(len(row.estimate.probes) for row in rows)}")


@click.command()
@click.option("--quick", is_flag=True, help="three settings")
@click.option("--journal", default=None, help="file that keeps every verdict")
def main(quick: bool, journal: str | None) -> None:
    """Print the tables and their summary."""
    use_one_thread()
    print(describe_machine())
    rows = []
    for name in QUICK if quick else SETTINGS:
        rows.append(study(name, journal))
        click.echo(f"{name} done", err=True)
    print_settings(rows)
    print_laws(rows)
    print_summary(rows)


if __name__ == "__main__":
    main()
