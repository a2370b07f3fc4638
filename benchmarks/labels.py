"""Training accuracy against n at equal budgets, random labels beside semantic ones.

EMC_DATA=... python benchmarks/labels.py --model mlp:width=8 --data cifar10 --sizes 512,1024,2048,4096
"""

from __future__ import annotations

import click
from common import describe_machine, prepared, train, use_one_thread

from emc.specs import Probe


@click.command()
@click.option("--model", default="mlp:width=8")
@click.option("--data", default="digits")
@click.option("--sizes", default="100,200,400,800")
@click.option("--replicates", default=3)
@click.option("--min-steps", default=5_000)
def main(model: str, data: str, sizes: str, replicates: int, min_steps: int) -> None:
    """Print one row a size: mean accuracy of both, and in how many replicates the random labels lie below."""
    use_one_thread()
    print(describe_machine())
    print("| n | random | semantic | random below semantic |")
    print("|---|---|---|---|")
    accuracy: dict[str, dict[int, list[float]]] = {}
    numbers = [int(n) for n in sizes.split(",")]
    for labels in ("random", "semantic"):
        ready = prepared(model=model, data=data, labels=labels, min_steps=min_steps, max_epochs=1)
        probes = [Probe(ready.base, n, replicate) for n in numbers for replicate in range(replicates)]
        results, _ = train(ready, probes)
        accuracy[labels] = {n: [r.correct / n for r in results if r.n == n] for n in numbers}
    for n in numbers:
        random, semantic = accuracy["random"][n], accuracy["semantic"][n]
        below = sum(r < s for r, s in zip(random, semantic, strict=True))
        means = [f"{sum(values) / replicates:.4f}" for values in (random, semantic)]
        print(f"| {n:,} | {means[0]} | {means[1]} | {below} of {replicates} |", flush=True)


if __name__ == "__main__":
    main()
