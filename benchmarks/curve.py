"""The measured curve of the linear model on Gaussian inputs, held against Cover's theorem and the linear program.

python benchmarks/curve.py                       # d = 20 and 50, 200 draws at 9 sizes each
python benchmarks/curve.py --quick               # 20 draws
"""

from __future__ import annotations

from typing import Any

import click
import numpy as np
from common import describe_machine, prepared, use_one_thread
from verdicts import is_separable

import emc
from emc.results import Verdict
from emc.specs import Probe
from emc.stats.cover import Region

SIZES = {20: range(26, 59, 4), 50: range(78, 127, 6)}


@click.command()
@click.option("--draws", default=200)
@click.option("--optimizer", default="adam")
@click.option("--journal", default=None, help="keeps verdicts, so that the same command continues")
@click.option("--seed", default=0)
@click.option("--quick", is_flag=True, help="20 draws")
def main(draws: int, optimizer: str, journal: str | None, seed: int, quick: bool) -> None:
    """Print every size, and whether all of them lie in the simultaneous 95 % band."""
    use_one_thread()
    print(describe_machine())
    draws = 20 if quick else draws
    for dim, sizes in SIZES.items():
        settings: dict[str, Any] = {
            "model": "linear", "data": f"gaussian:dim={dim}", "labels": "random", "optimizer": optimizer, "seed": seed,
        }  # fmt: skip
        curve = emc.curve(sizes=list(sizes), draws=draws, journal=journal, stack=512, **settings)
        truth = separable_draws(prepared(**settings), list(sizes), draws)
        print_curve(curve, truth)


def separable_draws(ready: emc.Prepared, sizes: list[int], draws: int) -> np.ndarray:
    """Whether the linear program separates each draw at each size, (draws, sizes); a prefix of a separable set is."""
    found = np.zeros((draws, len(sizes)), dtype=bool)
    for draw in range(draws):
        X, y = ready.setup.samples(Probe("", sizes[-1], draw)).first(sizes[-1])
        inputs, labels = X.double().numpy(), y.numpy()
        for place, n in enumerate(sizes):
            if not is_separable(inputs[:n], labels[:n]):
                break
            found[draw, place] = True
    return found


def print_curve(curve: emc.Curve, truth: np.ndarray) -> None:
    """One dimension's table, then what it shows."""
    assert curve.cover is not None
    regions = curve.cover.regions
    places = {point.n: place for place, point in enumerate(curve.points)}
    missed, impossible = np.zeros((2, len(places)), dtype=int)
    for probe in curve.probes:
        fitted, separable = probe.verdict is Verdict.FITTED, truth[probe.replicate, places[probe.n]]
        missed[places[probe.n]] += separable and not fitted
        impossible[places[probe.n]] += fitted and not separable
    print(f"\nd = {curve.cover.dim}, {curve.draws} draws, {curve.procedure['optimizer']}\n")
    print("| n | Cover | band | fitted | separable | missed | undertrained | mean accuracy |")
    print("|---|---|---|---|---|---|---|---|")
    for place, (point, region) in enumerate(zip(curve.points, regions, strict=True)):
        mark = "" if region.accepts(point.fits) else " (outside)"
        print(
            f"| {point.n} | {region.probability:.3f} | {region.fewest} to {region.most} | {point.fits}{mark} | "
            f"{truth[:, place].sum()} | {missed[place]} | {point.undertrained} | {point.accuracy:.4f} |"
        )
    fits = [point.fits for point in curve.points]
    print(f"\nmeasured: {inside(regions, fits)}; linear program: {inside(regions, truth.sum(axis=0).tolist())}")
    print(f"missed {missed.sum()} of {truth.sum()} separable probes; fitted {impossible.sum()} that are not separable")
    print(f"n50 {curve.n50:.4g}, interval {curve.interval}; Cover's is {curve.cover.n50}")
    print(f"{curve.cost['probes']} probes, {curve.cost['seconds']:.0f} s")


def inside(regions: tuple[Region, ...], counts: list[int]) -> str:
    """Whether all counts lie in the band."""
    outside = [region.n for region, count in zip(regions, counts, strict=True) if not region.accepts(count)]
    return f"outside the band at n = {outside}" if outside else f"inside the band at all {len(regions)} sizes"


if __name__ == "__main__":
    main()
