"""What a claim is made of: parts, each a test over strata of results, and what each part found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from emc.curve_record import Curve
from emc.results import EmcResult
from emc.stats.compare import Bounds

#: What a journal holds that claims can rest on.
Measured: TypeAlias = EmcResult | Curve

#: A ratio of EMCs between 1 / ALIKE and ALIKE counts as about equal: 80 % to 125 %, as of medicines called
#: bioequivalent (FDA 2001, "Statistical approaches to establishing bioequivalence"). It is five times the default
#: tolerance of a search, so that the bracket's width alone never leaves it.
ALIKE = 1.25

#: Parameters of models said to be of one size differ by this factor at most. EMC that grows as parameters to the power
#: 2.5, the steepest seen, then differs by 9 %, well inside `ALIKE`.
SAME_SIZE = 1.035

#: Structure counts as learned where the test accuracy has gone this share of the way from chance to 1. Less, however
#: significant over many test rows, leaves labels that are all but random to the model.
LEARNED = 0.1


@dataclass(frozen=True)
class Region:
    """Where the claim says that the centre of the numbers lies, ends excluded."""

    low: float = -math.inf
    high: float = math.inf

    @property
    def ends(self) -> tuple[tuple[float, int], ...]:
        """The finite ends, each with the side of it that the claim is on: 1 above, -1 below."""
        return tuple((end, side) for end, side in ((self.low, 1), (self.high, -1)) if math.isfinite(end))

    def side(self, low: float, high: float) -> int:
        """1 for values all inside, -1 all beyond one end, else 0."""
        if self.low < low and high < self.high:
            return 1
        return -1 if high < self.low or low > self.high else 0


ABOVE, BELOW = Region(low=0.0), Region(high=0.0)


@dataclass(frozen=True)
class Reading:
    """What a part's numbers show in one view of censoring.

    Attributes:
        effect: estimate, at both extremes.
        interval: for it; infinity is an open end.
        support: p-value of the claim being so, at both extremes; twice a one-sided one.
        against: p-value of its opposite, likewise.
        side: 1 where the effect is as claimed, -1 where it is the opposite, 0 where it is neither or open.
    """

    effect: Bounds
    interval: tuple[float, float]
    support: Bounds
    against: Bounds
    side: int = 0


@dataclass(frozen=True)
class StratumFound:
    """One stratum by itself.

    Attributes:
        name: what tells it from the others.
        cells: results that it compares, each with its EMCs in words.
        effect, interval: of its replicates alone.
        replicates: how many.
        honest, budget: its own test in either view of censoring; None where it has none.
    """

    name: str
    cells: tuple[str, ...]
    effect: Bounds
    interval: tuple[float, float]
    replicates: int
    honest: Reading | None = None
    budget: Reading | None = None


@dataclass(frozen=True)
class Found:
    """What a part of a claim found.

    Attributes:
        name: what was compared.
        effect_name: what the effect is.
        honest: censored replicates may be anything above their lower bounds; None where there are no cells.
        budget: lower bounds taken as the EMC of the procedure with its budget.
        strata: one by one.
        replicates: blocks that the test flips, regroups or permutes.
        smallest_p: the smallest p-value that so many can give.
        interval_confidence: that the interval reaches.
        method: the test in words.
        results: all that were used.
        judged: whether it decides the claim; otherwise it is only shown.
        notes: further sentences.
        blocks: what `replicates` counts, in the plural.
        why: why there are no cells, where there were some that say nothing; empty otherwise.
    """

    name: str
    effect_name: str
    honest: Reading | None = None
    budget: Reading | None = None
    strata: tuple[StratumFound, ...] = ()
    replicates: int = 0
    smallest_p: float = 1.0
    interval_confidence: float = math.nan
    method: str = ""
    results: tuple[Measured, ...] = ()
    judged: bool = True
    notes: tuple[str, ...] = ()
    blocks: str = "replicates"
    why: str = ""

    @property
    def censored(self) -> Mapping[str, int]:
        """How many replicates of the results are censored, by how they ended."""
        return count_censored(self.results)


def count_censored(results: Iterable[Measured]) -> dict[str, int]:
    """How many replicates of measurements are right-censored, by how they ended."""
    held = (replicate for result in results if isinstance(result, EmcResult) for replicate in result.replicates)
    return dict(Counter(replicate.status.key for replicate in held if replicate.status.right_censored))


def no_structure(count: int) -> str:
    """What is said of so many cells that are left out; empty for none."""
    cells = f"{count} {'cell' if count == 1 else 'cells'}"
    return f"no structure was learned in {cells}, whose test accuracy is about chance" if count else ""


class Part(Protocol):
    """One test."""

    def test(self, confidence: float) -> Found:
        """Carry it out."""
        ...


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        study: of the paper, that it belongs to.
        needs: the cells that a journal must hold, in words.
        parts: makes the tests from a journal's results; the claim holds if it holds in every judged part.
        of_curves: makes them from its curves instead, where the results have no cells.
        question: whether the paper gives no direction, so that nothing can be supported.
    """

    study: str
    needs: str
    parts: Callable[[Sequence[EmcResult]], Sequence[Part]] = field(repr=False)
    of_curves: Callable[[Sequence[Curve]], Sequence[Part]] | None = field(default=None, repr=False)
    question: bool = False
