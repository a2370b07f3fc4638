"""Verdicts of the linear model against the linear program, problem by problem.

python benchmarks/verdicts.py                # 400 problems, d = 20, n from 30 to 54
python benchmarks/verdicts.py --quick        # 50 problems, a budget of 2,000 steps
python benchmarks/verdicts.py --optimizer sgd:lr=0.1 --problems 2000
"""

from __future__ import annotations

from collections import Counter

import click
import numpy as np
from common import describe_machine, prepared, train, use_one_thread
from scipy.optimize import linprog

from emc.results import Evidence, Verdict
from emc.specs import Probe


def is_separable(X: np.ndarray, y: np.ndarray) -> bool:
    """Whether a hyperplane with bias separates two classes: feasibility of y_i w . (x_i, 1) >= 1, by HiGHS."""
    signed = np.hstack([X, np.ones((len(X), 1))]) * np.where(y == 1, 1.0, -1.0)[:, None]
    bounds = [(None, None)] * signed.shape[1]
    return bool(linprog(np.zeros(signed.shape[1]), A_ub=-signed, b_ub=-np.ones(len(X)), bounds=bounds).status == 0)


def print_disagreements(kinds: Counter[tuple[bool, str]], problems: int) -> None:
    """What differs from the truth, the wrong claims apart from the fits that were only not reached."""
    missed = kinds[True, "budget"]
    false_failures = sum(kinds[True, e.key] for e in Evidence if e is not Evidence.BUDGET) + kinds[True, "diverged"]
    false_fits = kinds[False, "fitted"]
    unproved = sum(number for (truth, kind), number in kinds.items() if not truth) - kinds[False, "infeasible"]
    for text, number in (
        ("separable, not fitted, called budget (undertrained: no wrong claim)", missed),
        ("separable, called anything but fitted or budget", false_failures),
        ("not separable, called fitted", false_fits),
        ("not separable, neither fitted nor proved infeasible", unproved - false_fits),
    ):
        print(f"{text}: {number} of {problems} ({number / problems:.2%})")


@click.command()
@click.option("--problems", default=400)
@click.option("--optimizer", default="adam")
@click.option("--schedule", default="reactive")
@click.option("--seed", default=0)
@click.option("--min-steps", default=25_000)
@click.option("--quick", is_flag=True)
def main(problems: int, optimizer: str, schedule: str, seed: int, min_steps: int, quick: bool) -> None:
    """Print how often verdict and truth agree, and every disagreement."""
    use_one_thread()
    print(describe_machine())
    if quick:
        problems, min_steps = 50, 2_000
    ready = prepared(
        model="linear", data="gaussian:dim=20,size=2000", labels="random", classes=2,
        optimizer=optimizer, schedule=schedule, seed=seed, min_steps=min_steps,
    )  # fmt: skip
    sizes = range(30, 55, 3)
    probes = [Probe(ready.base, sizes[i % len(sizes)], 10_000 + i) for i in range(problems)]
    results, seconds = train(ready, probes)
    agreed, kinds = 0, Counter[tuple[bool, str]]()
    for probe, result in zip(probes, results, strict=True):
        X, y = ready.setup.samples(probe).first(probe.n)
        truth = is_separable(X.double().numpy(), y.numpy())
        right = (result.verdict is Verdict.FITTED) == truth
        agreed += right
        kinds[truth, result.verdict.value if result.evidence is None else result.evidence.key] += 1
        if not right:
            print(f"n={probe.n} separable={truth} {result.verdict.value} {result.correct}/{probe.n} {result.detail}")
    print(f"{optimizer}, {schedule}: {agreed} of {problems} verdicts agree with the linear program ({seconds:.0f} s)")
    print_disagreements(kinds, problems)
    for (truth, kind), number in sorted(kinds.items()):
        print(f"  {'separable' if truth else 'not separable':14s} {kind:12s} {number}")


if __name__ == "__main__":
    main()
