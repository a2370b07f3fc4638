"""How two quantities go together over several measurements: Pearson, Spearman and Kendall, with bootstrap intervals."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from emc.errors import ComparisonError
from emc.results import EmcResult, Tabular
from emc.specs import Measurement

Array = npt.NDArray[np.float64]

#: Of each group of points, what each point is of, such as its dataset: points of one unit are no independent evidence.
Units: TypeAlias = Sequence[Sequence[Hashable]]

#: Fewest points that are correlated: three have few different resamples.
MIN_POINTS = 4

#: Resamples worked on at once, times points.
CHUNK = 100_000


@dataclass(frozen=True)
class Coefficient:
    """One coefficient of correlation.

    Attributes:
        value: between -1 and 1.
        interval: by the bootstrap.
    """

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, repr=False)
class Correlation(Tabular):
    """How two quantities go together.

    Attributes:
        pearson: of the values: how close to a straight line.
        spearman: of the ranks (ties share their mean rank): how close to monotone.
        kendall: tau-b: share of pairs in the same order less that in opposite order, corrected for ties.
        points: pairs of values.
        confidence: of the intervals.
        resamples: bootstrap resamples drawn.
        degenerate: of these, left out since x or y did not vary in them.
        seed: of the resamples.
    """

    pearson: Coefficient
    spearman: Coefficient
    kendall: Coefficient
    points: int
    confidence: float
    resamples: int
    degenerate: int
    seed: int

    def rows(self) -> list[tuple[str, str]]:
        """The table a user reads."""
        level = f"{100 * self.confidence:.4g} % interval"
        found = [("Pearson", self.pearson), ("Spearman", self.spearman), ("Kendall", self.kendall)]
        low, high = self.pearson.interval
        sentence = (
            f"over {self.points} points Pearson's r is {self.pearson.value:.3f} ({level} {low:.3f} to {high:.3f})"
        )
        rows = [("conclusion", sentence)]
        rows += [(name, f"{c.value:.3f} ({level} {c.interval[0]:.3f} to {c.interval[1]:.3f})") for name, c in found]
        left_out = f", {self.degenerate:,} left out since a side did not vary" if self.degenerate else ""
        method = f"percentile bootstrap of the points, {self.resamples:,} resamples, seed {self.seed}{left_out}"
        return [*rows, ("intervals", method)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        names = ("pearson", "spearman", "kendall")
        found = {name: getattr(self, name) for name in names}
        return {
            **{name: {"value": c.value, "interval": list(c.interval)} for name, c in found.items()},
            **{name: getattr(self, name) for name in self.__dataclass_fields__ if name not in names},
        }

    def to_json(self) -> str:
        """The record as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)


def correlate(
    x: Iterable[float | EmcResult],
    y: Iterable[float | EmcResult],
    *,
    confidence: float = Measurement.confidence,
    resamples: int = 10_000,
    seed: int = 0,
) -> Correlation:
    """Correlate two quantities, such as the EMCs of several procedures and their test accuracies.

    The points (x, y) are resampled with replacement; an interval is the percentiles of a coefficient over the
    resamples. With ten points or fewer it is too short: use it as a sketch.

    Args:
        x: numbers, or results, which stand for their EMC.
        y: likewise, as many.
        confidence: of the intervals.
        resamples: how many.
        seed: of the resamples.

    Raises:
        ComparisonError: unequal lengths, fewer than `MIN_POINTS`, a value that is not finite or a censored EMC,
            results of different estimands, a side that does not vary.
        SpecError: the confidence is out of range.

    References:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13; Kendall 1945, "The treatment of ties
        in ranking problems" (tau-b).

    >>> correlate([1, 2, 3, 4, 5], [1, 2, 3, 5, 4]).kendall.value
    0.8
    """
    confidence = Measurement(confidence=confidence).confidence
    if resamples < 100:
        raise ComparisonError(f"a bootstrap interval takes at least 100 resamples, got {resamples}; raise resamples")
    given = list(x), list(y)
    _check_estimands([*given[0], *given[1]])
    first, second = _numbers("x", given[0]), _numbers("y", given[1])
    _check(first, second)
    shape = _Shape(first, second)
    found = shape.coefficients(np.ones((1, len(first))))[:, 0]
    n = len(first)
    drawn = _draw([shape], [np.arange(n)], [1.0], n, resamples, seed)
    return _correlation(found, drawn, len(first), confidence, seed)


def correlate_within(
    groups: Sequence[tuple[Sequence[float], Sequence[float]]],
    *,
    units: Units | None = None,
    confidence: float = Measurement.confidence,
    resamples: int = 10_000,
    seed: int = 0,
) -> Correlation:
    """Correlate two quantities within groups of points: each coefficient is the mean of the groups', point by point.

    Units are resampled, in all groups that have units in common at once.

    Args:
        groups: x and y of each, as for `correlate`.
        units: of each group, what its points are of; a unit has one point a group at most. Without it each point is
            of its own.
        confidence, resamples, seed: as for `correlate`.

    Raises:
        ComparisonError: as for `correlate`.
    """
    sides = [(_numbers("x", x), _numbers("y", y)) for x, y in groups]
    for x, y in sides:
        _check(x, y)
    shapes = [_Shape(x, y) for x, y in sides]
    sizes = [len(x) for x, _ in sides]
    total = sum(sizes)
    found = sum(n / total * shape.coefficients(np.ones((1, n))) for shape, n in zip(shapes, sizes, strict=True))
    drawn = np.zeros((3, resamples))
    held = _units(sizes, units)
    for place, linked in enumerate(_linked(held)):
        order = {unit: i for i, unit in enumerate(dict.fromkeys(unit for k in linked for unit in held[k]))}
        rows = [np.array([order[unit] for unit in held[k]]) for k in linked]
        weights = [sizes[k] / total for k in linked]
        drawn += _draw([shapes[k] for k in linked], rows, weights, len(order), resamples, seed + place)
    return _correlation(np.asarray(found)[:, 0], drawn, total, confidence, seed)


def permutation_tails(
    groups: Sequence[tuple[Sequence[float], Sequence[float]]],
    draws: int = 100_000,
    seed: int = 0,
    *,
    units: Units | None = None,
) -> tuple[float, float]:
    """One-sided p-values of Pearson's r within groups, for a positive and for a negative correlation.

    Units exchange their y, those of all groups at once, at random among the units that stand in the same groups; the
    data count as one more permutation.

    Args:
        groups: x and y of each, neither constant.
        draws: random permutations.
        seed: of these.
        units: as for `correlate_within`.

    References:
        Fisher 1935, "The Design of Experiments", section 21.
    """
    rng = np.random.default_rng(seed)
    held = _units([len(x) for x, _ in groups], units)
    classes = _exchangeable(held)
    order = {unit: i for i, unit in enumerate(unit for each in classes for unit in each)}
    starts = np.cumsum([0, *map(len, classes)])
    drawn = np.concatenate(
        [
            rng.permuted(np.broadcast_to(np.arange(low, high), (draws, high - low)), axis=1)
            for low, high in itertools.pairwise(starts)
        ],
        axis=1,
    )
    total, observed = np.zeros(draws), 0.0
    for (x, y), members in zip(groups, held, strict=True):
        a, b = (_standard(np.asarray(side, dtype=np.float64)) for side in (x, y))
        a, b = len(a) * a / np.linalg.norm(a), b / np.linalg.norm(b)  # so that a @ b is len(a) r
        observed += float(a @ b)
        rows = np.array([order[unit] for unit in members])
        of_unit = np.zeros(len(order))
        of_unit[rows] = b
        total += of_unit[drawn[:, rows]] @ a
    tie = 1e-12 * sum(len(x) for x, _ in groups)
    above, below = int((total >= observed - tie).sum()), int((total <= observed + tie).sum())
    return (above + 1) / (draws + 1), (below + 1) / (draws + 1)


def count_permutations(units: Units) -> int:
    """How many permutations of units `permutation_tails` draws from."""
    return math.prod(math.factorial(len(each)) for each in _exchangeable(units))


def _units(sizes: Sequence[int], units: Units | None) -> Units:
    """Units as given, each group's once; else a number for each point."""
    if units is None:
        starts = itertools.accumulate(sizes, initial=0)
        return [range(start, start + size) for start, size in zip(starts, sizes, strict=False)]
    for size, members in zip(sizes, units, strict=True):
        if len(members) != size or len(set(members)) != size:
            raise ComparisonError(
                f"a group must have one point a unit, got {size} points of {len(set(members))} units; "
                "average the points of a unit"
            )
    return units


def _exchangeable(units: Units) -> list[list[Hashable]]:
    """Units that stand in the same groups."""
    places: dict[Hashable, tuple[int, ...]] = {}
    for place, members in enumerate(units):
        for unit in members:
            places[unit] = (*places.get(unit, ()), place)
    found: dict[tuple[int, ...], list[Hashable]] = {}
    for unit, groups in places.items():
        found.setdefault(groups, []).append(unit)
    return list(found.values())


def _linked(units: Units) -> list[list[int]]:
    """Numbers of groups that have units in common, also by way of other groups."""
    found: list[tuple[set[Hashable], list[int]]] = []
    for place, members in enumerate(units):
        held, places = set(members), [place]
        for other in [each for each in found if each[0] & held]:
            found.remove(other)
            held, places = held | other[0], [*other[1], *places]
        found.append((held, places))
    return [places for _, places in found]


def _numbers(side: str, values: Sequence[float | EmcResult]) -> Array:
    for place, value in enumerate(values):
        if isinstance(value, EmcResult) and value.censored:
            remedy = "its status says how the censoring ends, or leave it out"
            raise ComparisonError(f"only known EMCs can be correlated, got >= {value.emc} in {side}[{place}]; {remedy}")
    try:
        numbers = np.array([float(v.emc if isinstance(v, EmcResult) else v) for v in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ComparisonError(f"{side} must hold numbers or results ({error}); leave out what is neither") from None
    for place, number in enumerate(numbers):
        if not math.isfinite(number):
            raise ComparisonError(f"only finite numbers correlate, got {number} in {side}[{place}]; leave it out")
    return numbers


def _check_estimands(values: Sequence[float | EmcResult]) -> None:
    estimands = list(dict.fromkeys(value.estimand for value in values if isinstance(value, EmcResult)))
    if len(estimands) > 1:
        raise ComparisonError(
            f'results correlated must have one estimand, got "{estimands[0]}" and "{estimands[1]}"; '
            "measure all with the same --growth, --attempts and --criterion"
        )


def _check(x: Array, y: Array) -> None:
    if len(x) != len(y):
        raise ComparisonError(f"x and y must have equally many points, got {len(x)} and {len(y)}; leave out the rest")
    if len(x) < MIN_POINTS:
        raise ComparisonError(f"a correlation takes at least {MIN_POINTS} points, got {len(x)}; measure more")
    for side, values in (("x", x), ("y", y)):
        if values.min() == values.max():
            raise ComparisonError(
                f"a correlation takes values that vary, got {values[0]:g} everywhere in {side}; measure others"
            )


def _correlation(found: Array, drawn: Array, points: int, confidence: float, seed: int) -> Correlation:
    """The coefficients (3,) with the percentiles of their resamples (3, resamples)."""
    kept = drawn[:, np.isfinite(drawn).all(axis=0)]
    levels = [(1 - confidence) / 2, (1 + confidence) / 2]
    ends = np.quantile(kept, levels, axis=1) if kept.shape[1] else np.array([[-1.0] * 3, [1.0] * 3])
    pearson, spearman, kendall = (
        Coefficient(float(found[i]), (float(ends[0, i]), float(ends[1, i]))) for i in range(3)
    )
    resamples = drawn.shape[1]
    return Correlation(pearson, spearman, kendall, points, confidence, resamples, resamples - kept.shape[1], seed)


class _Shape:
    """The points, ready for all coefficients of a resample from how often it holds each point."""

    def __init__(self, x: Array, y: Array) -> None:
        self.values = [_standard(x), _standard(y)]
        signs = [np.sign(v[:, None] - v[None, :]) for v in (x, y)]
        self.below = [(s + 1) / 2 for s in signs]  # how much a point adds to the rank of another
        self.concordant = signs[0] * signs[1]
        self.untied = [np.abs(s) for s in signs]

    def coefficients(self, counts: Array) -> Array:
        """Pearson, Spearman, Kendall: (3, resamples), NaN where a side does not vary.

        Args:
            counts: (resamples, points), how often each point was drawn.
        """
        x, y = (np.broadcast_to(v, counts.shape) for v in self.values)
        ranks = [counts @ below.T for below in self.below]
        pairs, *untied = (((counts @ m) * counts).sum(axis=1) for m in (self.concordant, *self.untied))
        varies = (untied[0] > 0) & (untied[1] > 0)
        kendall = np.where(varies, pairs / np.sqrt(np.where(varies, untied[0] * untied[1], 1)), np.nan)
        found = [_weighted_pearson(a, b, counts, varies) for a, b in ((x, y), ranks)]
        return np.asarray(np.clip(np.stack([*found, kendall]), -1, 1))


def _standard(values: Array) -> Array:
    """Centred and scaled to at most 1, so that squares neither overflow nor vanish."""
    values = values / np.abs(values).max()
    centred = values - values.mean()
    return np.asarray(centred / np.abs(centred).max())


def _weighted_pearson(x: Array, y: Array, counts: Array, varies: npt.NDArray[np.bool_]) -> Array:
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)  # of a group's units all may be missing
    dx, dy = (v - (counts * v).sum(axis=1, keepdims=True) / total for v in (x, y))
    xy, xx, yy = ((counts * a * b).sum(axis=1) for a, b in ((dx, dy), (dx, dx), (dy, dy)))
    scale = np.sqrt(np.where(varies, xx * yy, 1))
    return np.where(varies & (scale > 0), xy / np.where(scale > 0, scale, 1), np.nan)


def _draw(
    shapes: Sequence[_Shape],
    rows: Sequence[npt.NDArray[np.intp]],
    weights: Sequence[float],
    units: int,
    resamples: int,
    seed: int,
) -> Array:
    """Resamples of units: the weighted sum of the groups' coefficients, (3, resamples).

    Args:
        shapes: of groups.
        rows: of each, the numbers of its points' units.
        weights: of each.
        units: how many there are.
        resamples, seed: as for `correlate`.
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, CHUNK // units)
    found = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        counts = rng.multinomial(units, np.full(units, 1 / units), size).astype(np.float64)
        groups = zip(shapes, rows, weights, strict=True)
        found.append(np.sum([weight * shape.coefficients(counts[:, row]) for shape, row, weight in groups], axis=0))
    return np.concatenate(found, axis=1)
