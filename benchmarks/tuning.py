"""What tuning finds and what it costs, against measuring every rate of a grid.

python benchmarks/tuning.py --journal tuning.jsonl        # continues where it was cut off
python benchmarks/tuning.py --quick                       # two optimizers, small budgets: shows that it runs

Each optimizer's EMC is measured at five rates on eight replicates; the tuner chooses one of them on draws of its own,
for several measurement seeds. The budget is far below the default, so most EMCs are lower bounds: these are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import click
from common import describe_machine

from emc.api import Prepared, prepare
from emc.estimators import make_estimator
from emc.results import cost
from emc.session import drive
from emc.specs import Execution, Measurement
from emc.tuning import Tuning

#: Each with the middle of its five rates, and its other options.
OPTIMIZERS = {
    "adam": ("adam", 3e-3, ""),
    "sgd": ("sgd", 0.1, ""),
    "adamw": ("adamw", 3e-3, ",weight_decay=0.01"),
    "gd": ("gd", 0.1, ""),
}
FACTORS = (0.1, 0.316, 1.0, 3.16, 10.0)
SETTING = {
    "model": "mlp:width=8",
    "data": "digits",
    "labels": "random",
    "batch_size": 32,
    "min_steps": 2000,
    "max_epochs": 60,
    "certify": "none",
    "replicates": 8,
}
QUICK = {"model": "mlp:width=4", "min_steps": 300, "max_epochs": 10, "tolerance": 0.2, "replicates": 3}

#: What a rate was measured to, and what that cost.
Measured = tuple[int, bool, dict[str, float]]


@click.command()
@click.option("--quick", is_flag=True, help="two optimizers and small budgets")
@click.option("--only", type=click.Choice(list(OPTIMIZERS)), help="one optimizer")
@click.option("--tune", "tuner", default="halving", help="the tuner")
@click.option("--tunings", default=2, help="measurement seeds the choice is made for, the grid's own first")
@click.option("--journal", type=click.Path(), help="file that keeps every verdict")
def main(quick: bool, only: str | None, tuner: str, tunings: int, journal: str | None) -> None:
    """Print one row an optimizer, as it comes."""
    print(describe_machine())
    setting = SETTING | (QUICK if quick else {})
    print("# " + ", ".join(f"{key} {value}" for key, value in setting.items()) + f"; {tuner}")
    print("| optimizer | EMC at the five rates | tuned rate (EMC / the best's), per seed |", end="")
    print(" tuning / grid: sample-steps | steps | seconds | tuning + measuring / grid: sample-steps |")
    print("|---|---|---|---|---|---|---|")
    execution = Execution(journal=journal, device="cpu", threads=1, stack=64)
    for name in list(OPTIMIZERS)[: 2 if quick else None]:
        if only in (None, name):
            print(row(name, setting, execution, tuner, 2 if quick else tunings), flush=True)


def row(name: str, setting: Mapping[str, object], execution: Execution, tuner: str, tunings: int) -> str:
    """One optimizer: its grid, then its choices."""
    optimizer, middle, rest = OPTIMIZERS[name]

    def ready(lr: float, **more: object) -> Prepared:
        settings = {**setting, "optimizer": f"{optimizer}:lr={lr:.3g}{rest}", **more}
        return prepare(Measurement.from_flat(settings), execution=execution)

    rates = [float(f"{middle * factor:.3g}") for factor in FACTORS]
    grid = measured({rate: ready(rate) for rate in rates})
    spent = {unit: sum(found[2][unit] for found in grid.values()) for unit in cost([])}
    found: list[Tuning] = []
    for seed in range(tunings):
        tuning = ready(middle, tune=tuner, seed=seed).tuned().tuning
        if tuning is None or tuning.chosen is None:
            raise KeyboardInterrupt
        found.append(tuning)
    chosen = [nearest(tuning.chosen.lr, rates) for tuning in found if tuning.chosen is not None]
    beyond = {rate: ready(rate) for rate in chosen if rate not in grid}
    every = grid | (measured(beyond) if beyond else {})
    best = max(emc for emc, *_ in grid.values())
    costs = [tuning.to_dict()["cost"] for tuning in found]
    shares = {unit: median(each[unit] for each in costs) / spent[unit] for unit in spent}
    own = median(every[rate][2]["sample_steps"] for rate in chosen) / spent["sample_steps"]
    cells = [
        name + rest.replace(",", " "),
        ", ".join(f"{rate:.3g}: {'>= ' if low else ''}{emc}" for rate, (emc, low, _) in grid.items()),
        ", ".join(f"{rate:.3g} ({every[rate][0] / best:.0%})" for rate in chosen),
        *(f"{shares[unit]:.1%}" for unit in ("sample_steps", "steps", "seconds")),
        f"{shares['sample_steps'] + own:.1%}",
    ]
    return "| " + " | ".join(cells) + " |"


def nearest(rate: float, rates: list[float]) -> float:
    """The grid's rate that is this one but for rounding; else the rate itself."""
    return next((known for known in rates if abs(known / rate - 1) < 0.01), rate)


def measured(ready: Mapping[float, Prepared]) -> dict[float, Measured]:
    """Every rate's measurement, side by side: EMC, whether it is a lower bound, cost."""
    estimators = {rate: make_estimator(one.measurement) for rate, one in ready.items()}
    execution = next(iter(ready.values())).execution
    searches = [(one.base, search) for rate, one in ready.items() for search in estimators[rate].searches]
    if drive({one.base: one.setup for one in ready.values()}, execution, searches).interrupted:
        raise KeyboardInterrupt
    found = {rate: estimator.conclude() for rate, estimator in estimators.items()}
    return {rate: (each.emc, each.censored, cost(each.probes)) for rate, each in found.items()}


if __name__ == "__main__":
    main()
