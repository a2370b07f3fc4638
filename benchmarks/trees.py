"""EMC of a decision tree against its leaves, by scikit-learn's trees and exact counts.

A tree of L leaves is constant on L boxes. What that bounds depends on the labels:

1. Every sample a class of its own: no two can share a leaf, so EMC <= L; and since every split of a node of two
   distinct inputs parts some, a tree grown until it has L leaves fits L of them: EMC = L. A depth of d allows 2^d
   leaves, and a greedy tree of d levels fits between d + 1 and 2^d.
2. Random labels of K classes on a line: neighbours of one label share a leaf, and a fit needs exactly as many leaves as
   there are runs of one label (a cut that lowers the Gini impurity most never parts a run: Fayyad and Irani 1992, "On
   the handling of continuous-valued attributes in decision tree induction"). n samples have 1 + (n - 1)(1 - 1/K) runs
   in the mean, so L does NOT bound the EMC: it lies near 1 + (L - 1) K / (K - 1). Each replicate is held against its
   own largest n of at most L runs, counted by hand.
3. Random labels in d dimensions: trees of L leaves give at most Catalan(L - 1) (d (n - 1))^(L - 1) K^L labellings of n
   samples, of K^n equally likely ones: where that is less than half of them, n is above n50. This bound is the largest
   n of the column "at most".
"""

from __future__ import annotations

import math

import click
import numpy as np
import numpy.typing as npt
from common import describe_machine, quick_option, use_one_thread

import emc
from emc.api import prepare
from emc.specs import Measurement, Probe

TREE = "sklearn:estimator=DecisionTreeClassifier"
ROWS = 4000


@click.command()
@click.option("--replicates", default=20)
@quick_option
def main(replicates: int, quick: bool) -> None:
    """Print one table a statement."""
    use_one_thread()
    print(describe_machine())
    replicates = 4 if quick else replicates
    leaves = (2, 8, 32) if quick else (2, 4, 8, 16, 32, 64, 128)
    print("\nEvery sample a class of its own (3 dimensions)\n\n| leaves at most | EMC of the replicates |\n|---|---|")
    for limit in leaves:
        print(f"| {limit} | {own_classes(f'max_leaf_nodes={limit}', replicates)} |", flush=True)
    for depth in (1, 3, 5) if quick else (1, 2, 3, 4, 5, 6, 7):
        print(f"| depth {depth}: {2**depth} | {own_classes(f'max_depth={depth}', replicates)} |", flush=True)
    print("\nRandom labels\n")
    print("| data | K | leaves | EMC | interval | as counted by runs | on a line 1 + (L - 1) K / (K - 1) | at most |")
    print("|" + "---|" * 8)
    for data, dim in (("gaussian:dim=1", 1), ("digits", 64)):
        for classes in (2, 10):
            for limit in leaves:
                print(random_labels(data, dim, classes, limit, replicates), flush=True)


def own_classes(limit: str, replicates: int) -> str:
    """Smallest and largest EMC of the replicates."""
    X = np.random.default_rng(0).standard_normal((256, 3))
    found = emc.measure(model=f"{TREE},{limit}", data=(X, np.arange(256)), replicates=replicates, tolerance=0.0)
    values = [replicate.emc for replicate in found.replicates]
    return f"{min(values)} to {max(values)}"


def random_labels(data: str, dim: int, classes: int, leaves: int, replicates: int) -> str:
    """One row of the table."""
    named = f"{data},size={ROWS}" if dim == 1 else data
    settings = {"data": named, "labels": "random", "classes": classes, "replicates": replicates, "tolerance": 0.0}
    model = f"{TREE},max_leaf_nodes={leaves}"
    found = emc.measure(model=model, **settings)
    counted = ""
    if dim == 1:
        samples = prepare(Measurement.from_flat({"model": model, **settings})).setup
        truths = [runs_allow(samples.samples(Probe("", 1, r.replicate)).first(ROWS), leaves) for r in found.replicates]
        equal = sum(r.emc == truth for r, truth in zip(found.replicates, truths, strict=True))
        counted = f"{equal} of {len(truths)} equal"
    ends = "" if found.interval is None else f"{found.interval[0]:.4g} to {found.interval[1]:.4g}"
    mean = f"{1 + (leaves - 1) * classes / (classes - 1):.1f}" if dim == 1 else ""
    most = labellings_allow(dim, classes, leaves)
    mark = ">= " if found.censored else ""
    return f"| {data} | {classes} | {leaves} | {mark}{found.emc} | {ends} | {counted} | {mean} | {most} |"


def runs_allow(samples: tuple[object, object], leaves: int) -> int:
    """The largest n whose samples have at most so many runs of one label on the line."""
    X, y = (np.asarray(part) for part in samples)
    sizes = np.arange(1, len(y) + 1)
    return int(max(n for n in sizes[: 64 * leaves] if num_runs(X[:n, 0], y[:n]) <= leaves))


def num_runs(x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> int:
    """Runs of one label along the line."""
    return 1 + int(np.count_nonzero(np.diff(y[np.argsort(x)])))


def labellings_allow(dim: int, classes: int, leaves: int) -> int:
    """The largest n at which trees of so many leaves may give half of all labellings."""

    def log_count(n: int) -> float:
        catalan = math.lgamma(2 * leaves - 1) - 2 * math.lgamma(leaves) - math.log(leaves)
        return catalan + (leaves - 1) * math.log(dim * max(n - 1, 1)) + leaves * math.log(classes)

    n = leaves
    while log_count(n + 1) >= (n + 1) * math.log(classes) - math.log(2):
        n += 1
    return n


if __name__ == "__main__":
    main()
