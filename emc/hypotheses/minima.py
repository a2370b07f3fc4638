"""Parts of claims that are about the minima found: the loss's curvature where a training fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emc.hypotheses.parts import Found, Measured, Reading, StratumFound
from emc.results import Verdict
from emc.stats.compare import Array, Bounds, Differences, contrast_differences

#: Random permutations of a p-value, and their chunk.
DRAWS, CHUNK = 100_000, 5_000

#: Dataset content, seed, replicate and n: trainings that share them have the same samples.
Block = tuple[str, int, int, int]


@dataclass(frozen=True)
class Minima:
    """A test of whether procedures end in minima of different curvature, at equal samples.

    Within each replicate the procedures' names are permuted: if they end alike, all ways are equally likely. The
    statistic is the variance over procedures of their mean log curvature. It has no direction, so that nothing can
    speak against the claim but a lack of evidence.

    Attributes:
        name: what is compared.
        groups: of each, procedures by name; within a group they differ in nothing else.
        number: which number of `flatness` is read.
        judged: whether it decides the claim.
    """

    name: str
    groups: tuple[Mapping[str, Measured], ...]
    number: str
    judged: bool = True

    def test(self, confidence: float) -> Found:
        """Test by permutations; nothing here is censored, for only fits are read."""
        effect_name = "ratio of the steepest optimizer to the flattest"
        tables = [(group, _table(group, self.number)) for group in self.groups]
        tables = [(group, table) for group, table in tables if len(table)]
        if not tables:
            return Found(self.name, effect_name, judged=self.judged)
        p = _permuted([table for _, table in tables])
        readings, levels = zip(*(_extremes(table, confidence) for _, table in tables), strict=True)
        widest = max(readings, key=lambda found: found.effect.low)
        reading = Reading(widest.effect, widest.interval, Bounds(p, p), Bounds(1.0, 1.0))
        strata = tuple(
            StratumFound(_order(group, table), _cells(group, table), found.effect, found.interval, len(table))
            for (group, table), found in zip(tables, readings, strict=True)
        )
        furthest = _order(*tables[readings.index(widest)])
        return Found(
            self.name,
            effect_name,
            reading,
            reading,
            strata,
            sum(len(table) for _, table in tables),
            max(_least([table for _, table in tables]), 1 / (DRAWS + 1)),
            levels[readings.index(widest)],
            f"{DRAWS:,} random permutations of the procedures within replicates (Monte Carlo, seed 0)",
            tuple(result for group, _ in tables for result in group.values()),
            self.judged,
            (f"furthest apart of all pairs is {furthest}, whose interval is too short for having been chosen",),
        )


def _table(group: Mapping[str, Measured], number: str) -> Array:
    """Log curvature (replicates, procedures), averaged over the sizes that all procedures fitted."""
    columns = [_curvatures(result, number) for result in group.values()]
    shared = sorted(set.intersection(*(set(column) for column in columns))) if len(columns) > 1 else []
    rows: dict[tuple[str, int, int], list[list[float]]] = {}
    for block in shared:
        rows.setdefault(block[:3], []).append([column[block] for column in columns])
    return np.array([np.mean(row, axis=0) for row in rows.values()]).reshape(len(rows), len(columns))


def _curvatures(result: Measured, number: str) -> dict[Block, float]:
    content = str(result.dataset["content_hash"])
    found = {}
    for probe in result.probes:
        value = (probe.detail.get("flatness") or {}).get(number)
        if probe.verdict is Verdict.FITTED and isinstance(value, int | float) and 0 < value < math.inf:
            found[content, result.seed, probe.replicate, probe.n] = math.log(value)
    return found


def _permuted(tables: Sequence[Array]) -> float:
    rng = np.random.default_rng(0)
    observed = _spread(tables)
    tie = 1e-9 * observed
    hits = 0
    for _ in range(DRAWS // CHUNK):
        drawn = np.zeros(CHUNK)
        for table in tables:
            many = rng.permuted(np.broadcast_to(table, (CHUNK, *table.shape)), axis=2)
            drawn += len(table) * many.mean(axis=1).var(axis=1)
        hits += int((drawn >= observed - tie).sum())
    return (hits + 1) / (DRAWS + 1)


def _spread(tables: Sequence[Array]) -> float:
    return float(sum(len(table) * table.mean(axis=0).var() for table in tables))


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


def _cells(group: Mapping[str, Measured], table: Array) -> tuple[str, ...]:
    means = np.exp(table.mean(axis=0))
    return tuple(f"{name}: geometric mean {mean:.4g}" for name, mean in zip(group, means, strict=True))
