"""Parts of claims that are about the points where trainings end: the loss's curvature where a training fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emc.hypotheses.cells import settings
from emc.hypotheses.parts import Found, Measured, Reading, StratumFound
from emc.results import Verdict
from emc.stats.compare import Array, Bounds, Differences, contrast_differences

#: Random permutations of a p-value, and their chunk.
DRAWS, CHUNK = 100_000, 5_000

#: Procedures are compared whose training losses, geometric means, are within this factor: a training ends once it fits,
#: each optimizer at a loss of its own, and the curvature of cross-entropy vanishes with the loss. What is left of the
#: factor a regression takes away, which over decades of the loss would only be an extrapolation.
COMPARABLE = 2.0

#: Dataset content, seed, replicate and n: trainings that share them have the same samples.
Block = tuple[str, int, int, int]

#: Log curvature and log loss of the fits of one procedure.
Fits = dict[Block, tuple[float, float]]


@dataclass(frozen=True)
class Compared:
    """Procedures of comparable loss.

    Attributes:
        group: they, by name.
        left: log curvature (replicates, procedures) left by the regression on log loss.
        log_loss: of the same.
        draws: replicates that any of them was trained in.
        dropped: numbers of those left out, in which some fitted nothing that all did, or has no number.
    """

    group: Mapping[str, Measured]
    left: Array
    log_loss: Array
    draws: int
    dropped: tuple[int, ...]


@dataclass(frozen=True)
class Minima:
    """A test of whether procedures end in points of different curvature, at equal samples and loss.

    Within each replicate the procedures' names are permuted: if they end alike, all ways are equally likely. The
    statistic is the variance over procedures of their mean log curvature, less what a regression on log loss within
    replicates explains. It has no direction, so that nothing can speak against the claim but a lack of evidence.

    Attributes:
        name: what is compared.
        groups: of each, procedures by name; within a group they differ in nothing else.
        number: which number of `flatness` is read.
        judged: whether it decides the claim.

    References:
        Freedman and Lane 1983, "A nonstochastic interpretation of reported significance levels" (residuals permuted).
    """

    name: str
    groups: tuple[Mapping[str, Measured], ...]
    number: str
    judged: bool = True

    def test(self, confidence: float) -> Found:
        """Test by permutations; nothing here is censored, for only fits are read."""
        effect_name = "ratio of the steepest optimizer to the flattest at equal loss"
        alike = [(group, _comparable(_fits(group, self.number))) for group in self.groups]
        told = [compared for group, clusters in alike for names in clusters if (compared := _compared(group, names))]
        if not told:
            apart = _apart(alike, [])
            why = f"no two optimizers ended at comparable losses: {'; '.join(apart)}" if apart else ""
            return Found(self.name, effect_name, judged=self.judged, why=why)
        p = _permuted([(each.left, each.log_loss) for each in told])
        readings, levels = zip(*(_extremes(each.left, confidence) for each in told), strict=True)
        widest = max(readings, key=lambda found: found.effect.low)
        reading = Reading(widest.effect, widest.interval, Bounds(p, p), Bounds(1.0, 1.0))
        strata = tuple(
            StratumFound(_order(each.group, each.left), _cells(each), found.effect, found.interval, len(each.left))
            for each, found in zip(told, readings, strict=True)
        )
        furthest = strata[readings.index(widest)].name
        tables = [each.left for each in told]
        return Found(
            self.name,
            effect_name,
            reading,
            reading,
            strata,
            sum(map(len, tables)),
            max(_least(tables), 1 / (DRAWS + 1)),
            levels[readings.index(widest)],
            f"{DRAWS:,} random permutations within replicates of what a regression on log loss leaves (Monte Carlo, "
            "seed 0)",
            tuple(result for each in told for result in each.group.values()),
            self.judged,
            (
                f"furthest apart of all pairs is {furthest}, whose interval is too short for having been chosen",
                *dict.fromkeys(map(_kept, told)),
                *_apart(alike, told),
            ),
        )


def _fits(group: Mapping[str, Measured], number: str) -> dict[str, Fits]:
    return {name: found for name, result in group.items() if (found := _curvatures(result, number))}


def _curvatures(result: Measured, number: str) -> Fits:
    content = str(result.dataset["content_hash"])
    found = {}
    for probe in result.probes:
        flatness = probe.detail.get("flatness") or {}
        value, loss = _log(flatness.get(number)), _log(flatness.get("loss", probe.loss))
        if probe.verdict is Verdict.FITTED and value is not None and loss is not None:
            found[content, result.seed, probe.replicate, probe.n] = value, loss
    return found


def _log(value: object) -> float | None:
    return math.log(value) if isinstance(value, int | float) and 0 < value < math.inf else None


def _loss(fits: Fits) -> float:
    return math.exp(float(np.mean([loss for _, loss in fits.values()])))


def _comparable(fits: Mapping[str, Fits]) -> list[dict[str, Fits]]:
    """Procedures by their loss, ascending, cut wherever one is more than `COMPARABLE` above the smallest before."""
    found: list[dict[str, Fits]] = []
    for name in sorted(fits, key=lambda name: _loss(fits[name])):
        if found and _loss(fits[name]) <= COMPARABLE * _loss(next(iter(found[-1].values()))):
            found[-1][name] = fits[name]
        else:
            found.append({name: fits[name]})
    return found


def _compared(group: Mapping[str, Measured], fits: Mapping[str, Fits]) -> Compared | None:
    """None for procedures of one optimizer, and where they share no replicate.

    A replicate's numbers are means over the sizes that all procedures fitted.
    """
    if len({settings(group[name])["optimizer"] for name in fits}) < 2:
        return None
    held = {name: result for name, result in group.items() if name in fits}
    rows: dict[tuple[str, int, int], list[list[tuple[float, float]]]] = {}
    for block in sorted(set.intersection(*(set(fits[name]) for name in held))):
        rows.setdefault(block[:3], []).append([fits[name][block] for name in held])
    if not rows:
        return None
    table = np.array([np.mean(row, axis=0) for row in rows.values()])
    draws = {
        (str(result.dataset["content_hash"]), result.seed, probe.replicate)
        for result in held.values()
        for probe in result.probes
    }
    dropped = tuple(sorted(replicate for *_, replicate in draws - set(rows)))
    left = _left(table[:, :, 0], table[:, :, 1])
    return Compared(held, left, table[:, :, 1], len(draws), dropped)


def _left(values: Array, log_loss: Array) -> Array:
    """Values (..., R, K) less the regression on log loss (R, K) within replicates, of one slope."""
    x = log_loss - log_loss.mean(axis=-1, keepdims=True)
    power = float((x * x).sum())
    if power <= 1e-12 * log_loss.size:
        return values
    slope = (values * x).sum(axis=(-2, -1), keepdims=True) / power
    left: Array = values - slope * x
    return left


def _kept(compared: Compared) -> str:
    if not compared.dropped:
        return f"all {compared.draws} replicates have a number for every optimizer compared"
    dropped = ", ".join(map(str, compared.dropped))
    return (
        f"{len(compared.left)} of {compared.draws} replicates are used, those with a number for every optimizer "
        f"compared: left out are {dropped}, a choice by outcome"
    )


def _apart(
    alike: Sequence[tuple[Mapping[str, Measured], Sequence[Mapping[str, Fits]]]], told: Sequence[Compared]
) -> list[str]:
    """Procedures without another optimizer of comparable loss, with theirs."""
    used = {id(result) for each in told for result in each.group.values()}
    texts = [
        f"{name} at {_loss(fits):.2g}"
        for group, clusters in alike
        for names in clusters
        for name, fits in names.items()
        if id(group[name]) not in used
    ]
    return [f"by their losses stand alone {', '.join(texts)}"] if texts else []


def _permuted(tables: Sequence[tuple[Array, Array]]) -> float:
    """The p-value of residuals, each with its log loss, on which what is permuted is regressed again."""
    rng = np.random.default_rng(0)
    observed = float(sum(len(left) * left.mean(axis=0).var() for left, _ in tables))
    tie = 1e-9 * observed
    hits = 0
    for _ in range(DRAWS // CHUNK):
        drawn = np.zeros(CHUNK)
        for left, log_loss in tables:
            many = _left(rng.permuted(np.broadcast_to(left, (CHUNK, *left.shape)), axis=2), log_loss)
            drawn += len(left) * many.mean(axis=1).var(axis=1)
        hits += int((drawn >= observed - tie).sum())
    return (hits + 1) / (DRAWS + 1)


def _least(tables: Sequence[Array]) -> float:
    """The smallest p-value: of (K!)^R ways to name K procedures in R replicates, K! name them alike everywhere."""
    return math.prod(float(math.factorial(table.shape[1])) ** (1 - len(table)) for table in tables)


def _extremes(table: Array, confidence: float) -> tuple[Reading, float]:
    """The two procedures furthest apart, and the confidence that their interval reaches."""
    means = table.mean(axis=0)
    d = table[:, means.argmax()] - table[:, means.argmin()]
    found = contrast_differences(Differences(d, d, d, d), confidence)
    reading = Reading(found.ratio, found.interval, found.p_value, Bounds(1.0, 1.0))
    return reading, found.interval_confidence


def _order(group: Mapping[str, Measured], table: Array) -> str:
    means, names = table.mean(axis=0), list(group)
    return f"{names[means.argmax()]} over {names[means.argmin()]}"


def _cells(compared: Compared) -> tuple[str, ...]:
    means, losses = (np.exp(table.mean(axis=0)) for table in (compared.left, compared.log_loss))
    names = zip(compared.group, means, losses, strict=True)
    return tuple(
        f"{name}: geometric mean {mean:.4g} at equal loss, its own loss {loss:.2g}" for name, mean, loss in names
    )
