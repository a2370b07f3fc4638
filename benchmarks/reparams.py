"""What reparameterised procedures fit: a linear model in a subspace beside Cover's theorem; an MLP by trained numbers.

python benchmarks/reparams.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from common import Report, json_option, prepared, quick_option, train, use_one_thread
from torch import nn

from emc.api import prepare
from emc.reparams import REPARAMS
from emc.results import EmcResult, Verdict
from emc.specs import Execution, Measurement, Probe
from emc.stats import cover
from emc.stats.proportions import acceptance

#: Coordinates have far to go, so that their rate is higher.
SUBSPACE = {"optimizer": "adam:lr=0.03"}

DIMS = (20, 50, 100, 200, 400, 800)
OTHERS = (
    "subspace:dim=200,projection=sparse",
    "subspace:dim=200,projection=fastfood",
    "subspace:dim=200,projection=kronecker",
    "precision:bf16",
    "precision:fp16",
    "precision:int8",
    "precision:int4",
    "prune:0.5",
    "prune:0.8",
    "prune:0.9",
    "prune:0.9,rule=magnitude",
    "prune:0.9,rule=lottery",
)


@click.command()
@json_option
@quick_option
def main(json_path: Path | None, quick: bool) -> None:
    """Print both tables; --quick takes fewer draws and subspaces only."""
    use_one_thread()
    report = Report("reparams", json_path, quick)
    report.table("A linear model in a subspace, two classes", _linear((4,) if quick else (4, 8), 20 if quick else 100))
    rows: list[dict[str, Any]] = []
    for spec in [None, *(f"subspace:{dim}" for dim in (DIMS[:2] if quick else DIMS)), *(() if quick else OTHERS)]:
        rows.append(_measured(spec, 500 if quick else 3000))
        report.table("mlp:width=16 on digits, random labels", rows)


def _zeros(shape: tuple[int, ...], classes: int) -> nn.Module:
    """A linear model with theta_0 = 0."""
    module = nn.Linear(shape[0], classes)
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def _linear(dims: tuple[int, ...], draws: int) -> list[dict[str, Any]]:
    """P(fit) of P z is C(n, dim) / 2^n: dim counts, not the 42 parameters; half at n = 2 dim."""
    rows = []
    for dim in dims:
        settings = {"data": "gaussian:dim=20,size=1000", "classes": 2, "labels": "random", "certify": "none"}
        settings |= {"reparam": f"subspace:dim={dim},normalise=false", "optimizer": "lbfgs", "min_steps": 1000}
        ready = prepare(Measurement.from_flat(settings), model=_zeros, execution=Execution(trainer="single"))
        for n in (2 * dim - 3, 2 * dim, 2 * dim + 3):
            found, _ = train(ready, [Probe(ready.base, n, replicate) for replicate in range(draws)])
            exact = cover.separable(n, dim - 1)
            fewest, most = acceptance(draws, exact, 0.95)
            fits = sum(result.verdict is Verdict.FITTED for result in found)
            told = {"draws": draws, "fitted": fits, "exact P(fit)": exact, "accepted": f"{fewest} to {most}"}
            rows.append({"dim": dim, "n": n} | told)
    return rows


def _measured(spec: str | None, min_steps: int) -> dict[str, Any]:
    """One measurement as a row."""
    dressed = {} if spec is None else {"reparam": str(REPARAMS.resolve(spec))}
    own = SUBSPACE if spec is not None and spec.startswith("subspace") else {}
    budget = {"min_steps": min_steps, "max_epochs": 50, "tolerance": 0.1, "certify": "none"}
    trainer = "single" if spec is not None and "lottery" in spec else "lockstep"
    settings = {"model": "mlp:width=16", "labels": "random", "replicates": 3} | budget | own | dressed
    return {"reparam": spec or "none"} | row(prepared(trainer, **settings).run())


def row(result: EmcResult) -> dict[str, Any]:
    """What a table says of a measurement."""
    return {
        "trained": result.parameters,
        "stored": result.stored,
        "bits": result.bits,
        "EMC": f"{'>= ' if result.censored else ''}{result.emc}",
        "replicates": " ".join(str(replicate.emc) for replicate in result.replicates),
        "EMC / trained": result.emc_per_parameter,
        "label bits / bit": result.bits_per_bit,
        "evidence": ", ".join(f"{count} {kind}" for kind, count in result.deciding_evidence.items()),
        "s": result.cost["seconds"],
    }


if __name__ == "__main__":
    main()
