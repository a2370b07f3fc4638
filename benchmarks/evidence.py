"""How often each kind of evidence decides: small MLPs on digits with random labels, by activation and optimizer.

python benchmarks/evidence.py            # budget 5,000 steps, 4 replicates
python benchmarks/evidence.py --quick
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from statistics import median

import click
from common import describe_machine, prepared, use_one_thread

from emc.results import EmcResult, Evidence, ProbeResult

KINDS = tuple(Evidence)


def deciding(result: EmcResult) -> list[ProbeResult]:
    """The failures at the upper ends of the replicates' brackets."""
    keys = {replicate.deciding for replicate in result.replicates}
    return [probe for probe in result.probes if probe.key in keys and probe.evidence is not None]


def counts(probes: Sequence[ProbeResult]) -> list[str]:
    """How many failures have each kind of evidence."""
    found = Counter(probe.evidence for probe in probes)
    return [str(found[kind]) for kind in KINDS]


def middle(values: Sequence[float | None], form: str) -> str:
    """The median of what is known; a dash where nothing is."""
    known = [value for value in values if value is not None]
    return format(median(known), form) if known else "-"


def facts(probes: Sequence[ProbeResult]) -> list[str]:
    """Median gradient norms at the stop and after the polish, median and largest share of dead units."""
    dead = [probe.detail.get("dead_units") for probe in probes]
    known = [share for share in dead if share is not None]
    return [
        middle([probe.gradient_norm for probe in probes], ".1e"),
        middle([probe.detail.get("polish_gradient_norm") for probe in probes], ".1e"),
        middle(dead, ".1%"),
        f"{max(known):.1%}" if known else "-",
    ]


@click.command()
@click.option("--model", default="mlp:width=8")
@click.option("--activations", default="relu,gelu,tanh")
@click.option("--optimizers", default="adam,lbfgs")
@click.option("--min-steps", default=5_000)
@click.option("--replicates", default=4)
@click.option("--tolerance", default=0.1)
@click.option("--escape", is_flag=True, help="let the procedure escape saddles")
@click.option("--quick", is_flag=True, help="two replicates, a budget of 1,000 steps: shows that it runs")
def main(
    model: str,
    activations: str,
    optimizers: str,
    min_steps: int,
    replicates: int,
    tolerance: float,
    escape: bool,
    quick: bool,
) -> None:
    """Print one row an activation and optimizer, first of the deciding failures, then of all failures."""
    use_one_thread()
    print(describe_machine())
    if quick:
        min_steps, replicates, tolerance = 1_000, 2, 0.5
    print(f"{model}, digits, random labels; min_steps={min_steps} max_epochs=1 replicates={replicates} escape={escape}")
    names = ["gradient norm", "after polish", "dead units", "most dead"]
    print(" | ".join(["| activation", "optimizer", "EMC", "failures", *(kind.key for kind in KINDS), *names, "s |"]))
    print("|" + "---|" * (len(KINDS) + len(names) + 5))
    for activation in activations.split(","):
        for optimizer in optimizers.split(","):
            started = time.perf_counter()
            result = prepared(
                model=model, activation=activation, optimizer=optimizer, data="digits", labels="random",
                min_steps=min_steps, max_epochs=1, replicates=replicates, tolerance=tolerance, escape=escape,
            ).run()  # fmt: skip
            seconds = f"{time.perf_counter() - started:.0f}"
            failures = [probe for probe in result.probes if probe.evidence is not None]
            emc = f"{'>= ' if result.censored else ''}{result.emc}"
            for kind, probes in (("deciding", deciding(result)), ("all", failures)):
                cells = [activation, optimizer, emc, f"{len(probes)} {kind}", *counts(probes), *facts(probes), seconds]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
