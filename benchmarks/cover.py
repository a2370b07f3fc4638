"""A measurement of the linear model on Gaussian inputs, held against Cover's theorem and the linear program.

    emc measure --model linear --data gaussian:dim=20,size=2000 --labels random --classes 2 \
                --replicates 40 --tolerance 0 --json cover.json
    python benchmarks/cover.py cover.json
"""

from __future__ import annotations

import click
from common import prepared, use_one_thread
from verdicts import is_separable

from emc.specs import Probe
from emc.texts import read_result


@click.command()
@click.argument("path")
def main(path: str) -> None:
    """Compare each replicate's EMC with the largest separable prefix of its samples."""
    use_one_thread()
    result = read_result(path)
    ready = prepared(
        model="linear", data=result.task["data"], labels=result.task["labels"], classes=2, seed=result.seed,
    )  # fmt: skip
    equal = 0
    for replicate in result.replicates:
        X, y = ready.setup.samples(Probe("", 400, replicate.replicate)).first(400)
        truth = largest_separable_prefix(X.double().numpy(), y.numpy())
        equal += truth == replicate.emc
        if truth != replicate.emc:
            print(f"replicate {replicate.replicate}: EMC {replicate.emc} {replicate.status.key}, prefix {truth}")
    print(f"median {result.emc}, interval {result.interval}, Cover's n50 is {2 * (20 + 1)}")
    print(f"{equal} of {len(result.replicates)} replicates equal the largest separable prefix")


def largest_separable_prefix(X, y) -> int:  # type: ignore[no-untyped-def]
    """By bisection, since every prefix of a separable prefix is separable."""
    low, high = 1, len(X)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_separable(X[:middle], y[:middle]) else (low, middle)
    return low


if __name__ == "__main__":
    main()
