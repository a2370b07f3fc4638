"""How the cost of a measurement grows with the EMC, and what part of it is not training.

python benchmarks/growth.py                  # linear on 5 to 500 dimensions, MLPs of width 2 to 64 on 20
python benchmarks/growth.py --quick

Not training is all outside the executor's `advance`: search, engine, setting up and concluding. Within it, what no
probe was charged for is the examination of failures: of the linear model by the linear program, which grows faster
than its training.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
from common import Report, json_option, quick_option, trainers
from scipy import stats

from emc.api import prepare
from emc.engine import Engine
from emc.executors.base import Executor
from emc.results import ProbeResult
from emc.specs import Execution, Measurement

FAMILIES = {
    "linear": [{"model": "linear", "data": f"gaussian:dim={dim}"} for dim in (5, 16, 50, 160, 500)],
    "MLP": [{"model": f"mlp:width={w}", "data": "gaussian:dim=20,size=10000"} for w in (2, 4, 8, 16, 32, 64)],
}


@dataclass
class Spent:
    """Seconds in the executor's own call."""

    advancing: float = 0.0


class TimedExecutor:
    """An executor whose `advance` is timed; all else is the wrapped one's.

    Args:
        executor: wrapped.
        spent: what the seconds are added to.
    """

    def __init__(self, executor: Executor, spent: Spent) -> None:
        self._executor, self._spent = executor, spent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    def advance(self) -> list[ProbeResult]:
        """Go on, and note how long that took."""
        started = time.perf_counter()
        try:
            return self._executor.advance()
        finally:
            self._spent.advancing += time.perf_counter() - started


@contextmanager
def timed_executors() -> Iterator[Spent]:
    """Every engine that starts gets a timed executor."""
    spent = Spent()

    def engine(executor: Executor, *args: Any, **options: Any) -> Engine:
        return Engine(TimedExecutor(executor, spent), *args, **options)

    with patch("emc.session.Engine", engine):
        yield spent


@click.command()
@click.option("--replicates", default=2)
@click.option("--min-steps", default=5_000)
@click.option("--trainer", default="auto", type=click.Choice(["auto", *trainers()]))
@quick_option
@json_option
def main(replicates: int, min_steps: int, trainer: str, quick: bool, json_path: Path | None) -> None:
    """Print cost by EMC, the fitted exponents with their standard errors, and the engine's share."""
    report = Report("growth", json_path, quick)
    if quick:
        replicates, min_steps = 1, 500
    execution = Execution(trainer=trainer)
    _row({**FAMILIES["linear"][0], "min_steps": 100}, execution)  # the first one compiles and warms caches
    rows: list[dict[str, Any]] = []
    for family, members in FAMILIES.items():
        for settings in members[:: 2 if quick else 1]:
            shared = {"classes": 2, "labels": "random", "min_steps": min_steps, "replicates": replicates}
            rows.append({"family": family, **_row({**settings, **shared, "certify": "none"}, execution)})
    report.table("Cost of a measurement", rows)
    report.table("Cost as a power of the EMC", [row for family in FAMILIES for row in exponents(family, rows)])


def _row(settings: dict[str, Any], execution: Execution) -> dict[str, Any]:
    ready = prepare(Measurement.from_flat(settings), execution=execution)
    with timed_executors() as spent:
        started = time.perf_counter()
        result = ready.run()
        seconds = time.perf_counter() - started
    cost = result.cost
    return {
        "model": f"{settings['model']}, {settings['data']}",
        "trained by": result.versions["trainer"],
        "parameters": ready.parameters,
        "EMC": result.emc,
        "status": result.status.key,
        "probes": len(result.probes),
        "sample-steps": int(cost["sample_steps"]),
        "seconds": seconds,
        "seconds charged to probes": cost["seconds"],
        "not training": f"{1 - spent.advancing / seconds:.2%}",
    }


def exponents(family: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Slope of log cost by log EMC, by least squares, with its standard error."""
    own = [row for row in rows if row["family"] == family and row["EMC"] > 0]
    found = []
    for cost in ("sample-steps", "seconds", "seconds charged to probes"):
        fit = stats.linregress(np.log([row["EMC"] for row in own]), np.log([row[cost] for row in own]))
        numbers = {"exponent": float(fit.slope), "standard error": float(fit.stderr), "points": len(own)}
        found.append({"family": family, "EMC": f"{own[0]['EMC']:,} to {own[-1]['EMC']:,}", "cost": cost, **numbers})
    return found


if __name__ == "__main__":
    main()
