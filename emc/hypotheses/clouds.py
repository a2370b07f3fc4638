"""Parts of claims that are about a correlation over results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from emc.hypotheses.parts import ABOVE, Found, Reading, StratumFound
from emc.results import EmcResult
from emc.stats.compare import Bounds
from emc.stats.correlate import MIN_POINTS, Correlation, correlate_within, count_permutations, permutation_tails

#: Random permutations of a p-value.
DRAWS = 100_000


@dataclass(frozen=True)
class Point:
    """One point of a correlation.

    Attributes:
        x, y: its values; of lower bounds where censored.
        results: that they come from.
        unit: what it is of, such as its dataset; points of one unit in several groups are permuted together.
        censored: whether x or y rests on a lower bound.
    """

    x: float
    y: float
    results: tuple[EmcResult, ...]
    unit: str
    censored: bool


@dataclass(frozen=True)
class Cloud:
    """A test of Pearson's correlation within groups of points, with Spearman's and Kendall's beside it.

    Nothing bounds a correlation over all completions of censored EMCs, so that with any of them only the correlation at
    this budget is tested.

    Attributes:
        name: what is correlated.
        groups: points by group, one a unit; their units are permuted and resampled, in all groups at once, and exchange
            only with units of the same groups. Groups of too few points are left out.
        sign: of the correlation claimed: 1 or -1.
        units: what they are, in the plural.
        left_out: what was left out of the groups beforehand, and why; empty where nothing was.
    """

    name: str
    groups: tuple[tuple[Point, ...], ...]
    sign: int
    units: str = "datasets"
    left_out: str = ""

    def test(self, confidence: float) -> Found:
        """Test by permutations."""
        groups = [group for group in self.groups if _varies(group)]
        if not groups:
            return Found(self.name, "Pearson's r", why=self.left_out)
        sides = [([p.x for p in group], [p.y for p in group]) for group in groups]
        units = [[point.unit for point in group] for group in groups]
        found = correlate_within(sides, units=units, confidence=confidence)
        tails = permutation_tails(sides, DRAWS, units=units)
        support, against = (min(1.0, 2 * p) for p in (tails if self.sign > 0 else tails[::-1]))
        r = found.pearson
        side = ABOVE.side(self.sign * r.value, self.sign * r.value)
        known = Reading(Bounds(r.value, r.value), r.interval, Bounds(support, support), Bounds(against, against), side)
        censored = any(point.censored for group in groups for point in group)
        open_ = Reading(Bounds(-1.0, 1.0), (-1.0, 1.0), Bounds(support, 1.0), Bounds(against, 1.0))
        return Found(
            self.name,
            "Pearson's r",
            open_ if censored else known,
            known,
            tuple(_alone(group, self.sign, censored, confidence) for group in groups),
            len({unit for members in units for unit in members}),
            min(1.0, 2 * max(1 / count_permutations(units), 1 / (DRAWS + 1))),
            confidence,
            f"{DRAWS:,} random permutations of the {self.units} that stand in the same groups, in all groups at once "
            f"(Monte Carlo, seed 0), two-sided; percentile bootstrap of {self.units}",
            tuple(result for group in groups for point in group for result in point.results),
            notes=(_others(found), *([self.left_out] if self.left_out else [])),
            blocks=self.units,
        )


def _varies(group: Sequence[Point]) -> bool:
    return len(group) >= MIN_POINTS and all(len(set(values)) > 1 for values in _sides(group))


def _sides(group: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [p.x for p in group], [p.y for p in group]


def _alone(group: Sequence[Point], sign: int, censored: bool, confidence: float) -> StratumFound:
    r = correlate_within([_sides(group)], confidence=confidence).pearson
    cells = tuple(
        f"{_name(point)}: x {'>= ' if point.censored else ''}{point.x:.4g}, y {point.y:.4g}" for point in group
    )
    data = Counter(str(p.results[0].task["data"]) for p in group)
    name = next(iter(data)) if len(data) == 1 else str(group[0].results[0].procedure.get("model"))
    effect, side = Bounds(r.value, r.value), ABOVE.side(sign * r.value, sign * r.value)
    tails = permutation_tails([_sides(group)], DRAWS)
    support, against = (Bounds(*[min(1.0, 2 * p)] * 2) for p in (tails if sign > 0 else tails[::-1]))
    found = Reading(effect, r.interval, support, against, side)
    return StratumFound(name, cells, effect, r.interval, len(group), None if censored else found, found)


def _name(point: Point) -> str:
    result = point.results[0]
    return f"{result.procedure.get('model')} on {result.task['data']}"


def _others(found: Correlation) -> str:
    texts = [
        f"{name} {c.value:.2f} ({c.interval[0]:.2f} to {c.interval[1]:.2f})"
        for name, c in (("Spearman's rho", found.spearman), ("Kendall's tau", found.kendall))
    ]
    return f"{' and '.join(texts)} over {found.points} points"
