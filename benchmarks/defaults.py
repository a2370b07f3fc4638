"""How the procedure's defaults were chosen: each number varied alone, on problems of known and unknown answer.

python benchmarks/defaults.py                # about twenty minutes on one core
python benchmarks/defaults.py --only adam:beta1

The first column counts the linear problems (d = 20, Gaussian inputs, random labels, n from 36 to 48) that were not
fitted, of those that a linear program finds separable; the others how many of 8 fresh MLPs 64-16-10 fitted n digits
with random labels, and the optimizer steps that took.
"""

from __future__ import annotations

import click
from common import describe_machine, prepared, train, use_one_thread
from verdicts import is_separable

from emc.results import Verdict
from emc.specs import Probe

VARIANTS: list[dict[str, object]] = [
    {},
    *({"optimizer": f"adam:lr={lr}"} for lr in (1e-3, 1e-2)),
    *({"optimizer": f"adam:beta1={beta1}"} for beta1 in (0.9, 0.95, 0.98)),
    {"optimizer": "sgd"},
    {"optimizer": "gd"},
    {"schedule": "constant"},
    {"schedule": "cosine"},
    {"schedule": "reactive:ceiling=1"},
    {"schedule": "reactive:gain=0.1"},
    {"batch_size": 32},
    {"min_steps": 10_000},
    {"min_steps": 40_000},
    {"stall_tolerance": 1e-2},
]
SIZES = (400, 450, 500, 550)
DRAWS = 8


@click.command()
@click.option("--only", default="", help="variants whose description contains this text")
@click.option("--problems", default=150)
def main(only: str, problems: int) -> None:
    """Print one row a variant, as it comes."""
    use_one_thread()
    print(describe_machine())
    print("| variant | linear missed | " + " | ".join(f"n = {n}" for n in SIZES) + " | steps |")
    print("|---|---|" + "---|" * (len(SIZES) + 1))
    for variant in VARIANTS:
        name = ", ".join(f"{key} {value}" for key, value in variant.items()) or "the defaults"
        if only in name:
            missed, separable = linear_misses(variant, problems)
            fits, steps = digits_fits(variant)
            row = [f"{missed} of {separable}", *(f"{fits[n]}/{DRAWS}" for n in SIZES), f"{steps:,}"]
            print(f"| {name} | " + " | ".join(row) + " |", flush=True)


def linear_misses(variant: dict[str, object], problems: int) -> tuple[int, int]:
    """Separable problems that were not fitted, and how many were separable."""
    ready = prepared(model="linear", data="gaussian:dim=20,size=2000", labels="random", classes=2, **variant)
    sizes = range(36, 49)
    probes = [Probe(ready.base, sizes[i % len(sizes)], 20_000 + i) for i in range(problems)]
    separable = []
    for probe in probes:
        X, y = ready.setup.samples(probe).first(probe.n)
        if is_separable(X.double().numpy(), y.numpy()):
            separable.append(probe)
    results, _ = train(ready, separable)
    return sum(result.verdict is not Verdict.FITTED for result in results), len(separable)


def digits_fits(variant: dict[str, object]) -> tuple[dict[int, int], int]:
    """Fits by size, and the steps of all trainings."""
    ready = prepared(model="mlp:width=16", data="digits", labels="random", **variant)
    probes = [Probe(ready.base, n, replicate) for n in SIZES for replicate in range(DRAWS)]
    results, _ = train(ready, probes)
    fits = {n: sum(r.verdict is Verdict.FITTED for r in results if r.n == n) for n in SIZES}
    return fits, sum(result.steps for result in results)


if __name__ == "__main__":
    main()
