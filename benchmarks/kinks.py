"""Failures of one-hidden-layer ReLU nets: what a descent along the kinks makes of them, and what alternatives see.

python benchmarks/kinks.py                                        # mlp:width=8 on digits, n = 360, L-BFGS; an hour
python benchmarks/kinks.py --model mlp:width=4 --n 140
python benchmarks/kinks.py --quick                                # mlp:width=4 on six Gaussian inputs, a minute

Each training is examined as in a measurement; then the point its polish reached is followed along the kinks to the end.
`further` is the gain of a polish ten times as long from a point, `limit` Aitken's extrapolation of the loss over two
doublings of the polish, `hull` the smallest norm in the hull of 100 gradients sampled around the point (radius 1e-4).
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from typing import Any

import click
import numpy as np
import torch
from common import describe_machine, prepared, use_one_thread
from scipy.optimize import nnls
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from emc.specs import Probe
from emc.training.counting import count_right
from emc.training.evidence import judge_curvature
from emc.training.kink_descent import follow_kinks
from emc.training.kinks import EXACT, steepest_slope
from emc.training.polish import gradient_norm, loss_and_gradient, polish
from emc.training.single import _Training

QUICK = {"data": "gaussian:dim=6,size=300", "model": "mlp:width=4", "n": 80, "replicates": 3}


@click.command()
@click.option("--data", default="digits")
@click.option("--model", default="mlp:width=8")
@click.option("--optimizer", default="lbfgs")
@click.option("--n", default=360)
@click.option("--replicates", default=8)
@click.option("--steps", default=5000, help="Newton steps along the kinks")
@click.option("--seconds", default=120.0, help="of them, a failure")
@click.option("--quick", is_flag=True)
def main(quick: bool, steps: int, seconds: float, **chosen: Any) -> None:
    """Print one row a failure, then how many ended where."""
    use_one_thread()
    print(describe_machine())
    chosen |= QUICK if quick else {}
    steps, seconds = (1000, 20.0) if quick else (steps, seconds)
    n, replicates = chosen.pop("n"), chosen.pop("replicates")
    ready = prepared(labels="random", **chosen)
    print(f"{chosen['model']} on {chosen['data']}, random labels, n = {n}, {chosen['optimizer']}")
    rows: list[dict[str, str]] = []
    for replicate in range(replicates):
        row = examined(ready, n, replicate, steps, seconds)
        if row is not None and not rows:
            print("| " + " | ".join(row) + " |\n|" + "---|" * len(row))
        if row is not None:
            print("| " + " | ".join(row.values()) + " |", flush=True)
            rows.append(row)
    for column in ("evidence", "ends at"):
        print(f"{column}: " + ", ".join(f"{kind} {k}" for kind, k in Counter(row[column] for row in rows).items()))


def examined(ready: Any, n: int, replicate: int, steps: int, seconds: float) -> dict[str, str] | None:
    """Train one probe to its verdict; its row, unless it fitted."""
    probe = Probe(ready.base, n, replicate)
    training = _Training(ready.setup, probe)
    while (result := training.advance()) is None:
        pass
    if result.evidence is None:
        return None
    X, y = ready.setup.samples(probe).first(n)
    procedure, at_init = ready.setup.procedure, gradient_norm(ready.setup.fresh_model(probe), X, y)
    reached = polish(training._module, X, y, procedure.polish_steps)
    before = steepest_slope(reached.module, X, y)
    row = {
        "right": f"{result.correct}",
        "evidence": result.evidence.key,
        "loss": f"{reached.loss_after:.4f}",
        "norm": f"{gradient_norm(reached.module, X, y) / at_init:.1e}",
        "slope": "-" if before is None else f"{before.slope / at_init:.1e}",
        "hull": f"{hull_norm(reached.module, X, y) / at_init:.1e}",
        "limit": limit(reached.module, X, y, procedure.polish_steps),
        "further": f"{polish(reached.module, X, y, 10 * procedure.polish_steps).gain:.1e}",
    }
    started, module, done, goal = time.perf_counter(), reached.module, 0, procedure.gradient_tolerance * at_init
    while True:
        found = follow_kinks(module, X, y, goal, 50)
        if found is None:
            raise click.ClickException(f"{type(module).__name__} has no kinks that can be followed")
        done, module = done + found.steps, found.module
        if found.steps < 50 or done >= steps or time.perf_counter() - started > seconds:
            break
    took, after = time.perf_counter() - started, steepest_slope(module, X, y, EXACT)
    certified = after is not None and after.slope <= goal
    kind = "not reached"
    if certified:
        kind = judge_curvature(module, X, y, procedure.curvature_tolerance, kinks=after)[0].key
    return row | {
        "loss followed": f"{found.loss_after:.4f}",
        "right followed": f"{count_right(module, X.double(), y)}",
        "steps": f"{done}",
        "s": f"{took:.0f}",
        "pairs": f"{found.pairs}",
        "slope there": "-" if after is None else f"{after.slope / at_init:.1e}",
        "inside": "-" if after is None else f"{after.inside:.1e}",
        "ends at": kind,
        "further from there": f"{polish(module, X, y, 10 * procedure.polish_steps).gain:.1e}",
    }


def limit(module: nn.Module, X: Tensor, y: Tensor, steps: int) -> str:
    """Loss after endless doublings of the polish, if each gained a fixed share of the one before."""
    first = polish(module, X, y, steps)
    second = polish(first.module, X, y, 2 * steps)
    gained, then = first.loss_before - first.loss_after, second.loss_before - second.loss_after
    return f"{second.loss_after - then**2 / (gained - then):.4f}" if then < gained else "diverges"


def hull_norm(module: nn.Module, X: Tensor, y: Tensor, samples: int = 100, radius: float = 1e-4) -> float:
    """Gradient sampling (Burke, Lewis and Overton 2005): the norm of the smallest convex combination of gradients."""
    generator, found = torch.Generator().manual_seed(0), []
    module, X = copy.deepcopy(module), X.double()
    centre = parameters_to_vector(module.parameters()).detach()
    for _ in range(samples):
        step = torch.randn(centre.shape, generator=generator, dtype=torch.float64)
        vector_to_parameters(centre + radius * step / step.norm(), module.parameters())
        module.zero_grad()
        loss_and_gradient(module, X, y)
        found.append(parameters_to_vector([p.grad for p in module.parameters() if p.grad is not None]).numpy())
    gradients = np.stack(found).T
    heavy = 1e3 * np.abs(gradients).max()  # the weights' sum is held at 1 by a heavy row
    weights = nnls(np.vstack([gradients, np.full(samples, heavy)]), np.append(np.zeros(len(centre)), heavy))[0]
    return float(np.linalg.norm(gradients @ weights / weights.sum()))


if __name__ == "__main__":
    main()
