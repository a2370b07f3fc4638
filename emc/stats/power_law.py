"""A power law EMC = a * parameters ** b through several sizes of a model, with intervals by the bootstrap."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from emc.errors import ComparisonError
from emc.results import Replicate, Status, Tabular, differences_row

Array = npt.NDArray[np.float64]

#: Fewest sizes: two lie on a power law always. Fewest replicates of which resamples say anything.
MIN_SIZES, MIN_REPLICATES = 3, 4


@dataclass(frozen=True)
class Size:
    """One size of a model.

    Attributes:
        parameters: numbers that the optimizer changes.
        replicates: its EMCs.
    """

    parameters: float
    replicates: tuple[Replicate, ...]

    @property
    def censored(self) -> int:
        """Replicates whose logarithm is not known to within a bracket."""
        return sum(_censored(each) for each in self.replicates)


@dataclass(frozen=True)
class Bound:
    """What sizes with censored replicates say of the exponent, these at the end of their range that is known.

    Attributes:
        exponent: of the fit through all sizes.
        side: "at least" or "at most" where censoring can move it one way only, else "unknown".
    """

    exponent: float
    side: str


@dataclass(frozen=True)
class Residual:
    """How far a size lies from the law.

    Attributes:
        parameters: of the size.
        ratio: geometric mean of its replicates over the law's EMC.
    """

    parameters: float
    ratio: float


@dataclass(frozen=True, repr=False)
class PowerLaw(Tabular):
    """EMC = factor * parameters ** exponent.

    Attributes:
        exponent, factor: by least squares on the logarithms.
        exponent_interval, factor_interval: None with fewer than `MIN_REPLICATES` replicates at some size.
        r_squared: of the logarithms of all replicates.
        residuals: by size; a trend among them says that no power law holds.
        bracket_error: standard error of the exponent that the brackets alone make; the intervals hold it.
        sizes: those fitted.
        left_out: those with censored replicates.
        bound: what these say; None where none are left out.
        paired: whether replicates of one number were resampled together over all sizes.
        confidence: of the intervals.
        resamples, seed: of the bootstrap.
        differences: settings in which the results of the sizes differ, with each one's value; the model's sizes, and
            whatever else makes the law one of several things at once. Empty where the sizes are of no results.
    """

    exponent: float
    factor: float
    exponent_interval: tuple[float, float] | None
    factor_interval: tuple[float, float] | None
    r_squared: float
    residuals: tuple[Residual, ...]
    bracket_error: float
    sizes: tuple[Size, ...]
    left_out: tuple[Size, ...]
    bound: Bound | None
    paired: bool
    confidence: float
    resamples: int
    seed: int
    _drawn: Array = field(repr=False, compare=False)
    differences: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def predict(self, parameters: float) -> tuple[float, tuple[float, float] | None]:
        """EMC of the law at a number of parameters, with the interval of the law there (not of one replicate)."""
        points = _Points.of(self.sizes)
        x = math.log(parameters) - points.centre
        value = self.factor * parameters**self.exponent
        if self.exponent_interval is None:
            return value, None
        drawn = self._drawn @ np.array([1.0, x])
        ends = _ends(math.log(value), drawn, points.fewest, self.confidence, points.line_error(x))
        return value, (math.exp(ends[0]), math.exp(ends[1]))

    def rows(self) -> list[tuple[str, str]]:
        """The table a user reads."""
        level = f"{100 * self.confidence:.4g} % interval"
        span = f"{self.sizes[0].parameters:,.0f} to {self.sizes[-1].parameters:,.0f}"
        rows = [
            ("power law", f"EMC = {self.factor:.4g} * parameters ^ {self.exponent:.3f}, over {span} parameters"),
            ("exponent", f"{self.exponent:.3f} ({_interval_text(level, self.exponent_interval)})"),
            ("factor", f"{self.factor:.4g} ({_interval_text(level, self.factor_interval)})"),
            ("linear", self._linear()),
            ("R^2", f"{self.r_squared:.4f} of the logarithms of {sum(len(s.replicates) for s in self.sizes)} EMCs"),
            ("residuals", ", ".join(f"{r.parameters:,.0f}: {r.ratio:.3f}" for r in self.residuals)),
        ]
        if self.bound is not None:
            sizes = ", ".join(f"{s.parameters:,.0f} ({s.censored} of {len(s.replicates)})" for s in self.left_out)
            rows.append(("left out", f"sizes with censored replicates: {sizes}"))
            known = "with them the exponent is"
            if self.bound.side == "unknown":
                rows.append(("", f"{known} not known; {self.bound.exponent:.3f} were they what they are at least"))
            else:
                rows.append(("", f"{known} {self.bound.side} {self.bound.exponent:.3f}"))
        if self.differences:
            rows.append(differences_row(self.differences))
        return [*rows, ("intervals", self._method())]

    def _linear(self) -> str:
        if self.exponent_interval is None:
            return "not decided, for want of an interval"
        low, high = self.exponent_interval
        if low <= 1 <= high:
            return "an exponent of 1 is not excluded"
        return f"no: the exponent is {'above' if low > 1 else 'below'} 1"

    def _method(self) -> str:
        how = "by number, the same at every size" if self.paired else "at each size by itself"
        return (
            f"Student's t with the standard error of a bootstrap of replicates {how}, {self.resamples:,} resamples, "
            f"seed {self.seed}; with that of the brackets, for the exponent {self.bracket_error:.3f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = ("exponent", "factor", "r_squared", "bracket_error", "paired", "confidence", "resamples", "seed")
        ends = {name: getattr(self, name) for name in ("exponent_interval", "factor_interval")}
        return {
            **{name: getattr(self, name) for name in plain},
            **{name: None if pair is None else list(pair) for name, pair in ends.items()},
            "residuals": [asdict(each) for each in self.residuals],
            "sizes": [_size_dict(size) for size in self.sizes],
            "left_out": [_size_dict(size) for size in self.left_out],
            "bound": None if self.bound is None else asdict(self.bound),
            "differences": {name: list(values) for name, values in self.differences.items()},
        }

    def to_json(self) -> str:
        """The record as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)


def fit_power_law(
    sizes: Sequence[Size], *, paired: bool, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> PowerLaw:
    """Fit EMC = a * parameters ** b by least squares on logarithms, each replicate a point.

    A replicate stands at the geometric middle of its bracket, sqrt(lower * upper). Its EMC may lie anywhere in it, on
    the same side for all replicates of a size, since the search asks all for the same sizes. So each size's error is
    taken for uniform over the brackets (Sheppard) and shared by its replicates: for the exponent independent between
    sizes, for the line's height shared by all.

    Replicates are resampled (bootstrap), sizes are not: the interval is that of the least-squares law over these sizes,
    whether or not a power law holds. Student's t for the fewest replicates of a size is laid around the estimate, with
    the resamples' standard deviation, corrected for their number, and the brackets' in quadrature.

    A size with a censored replicate is left out: without its largest or smallest EMCs it would mislead. What it says
    all the same is `PowerLaw.bound`.

    Args:
        sizes: of one family, under one procedure.
        paired: whether replicates of one number share their samples over all sizes; then they are resampled together.
        confidence: of the intervals.
        resamples: how many.
        seed: of the resamples.

    Raises:
        ComparisonError: fewer than `MIN_SIZES` different numbers of parameters without censored replicates.

    References:
        Hesterberg 2015, "What teachers should know about the bootstrap", section 4.2 (bootstrap t, and the correction).

    >>> sizes = [Size(p, tuple(Replicate(r, p, p, Status.BRACKETED) for r in range(6))) for p in (100, 200, 400)]
    >>> round(fit_power_law(sizes, paired=True).exponent, 6)
    1.0
    """
    ordered = sorted(sizes, key=lambda size: size.parameters)
    kept = tuple(size for size in ordered if not size.censored)
    left_out = tuple(size for size in ordered if size.censored)
    bound = _bound(ordered) if left_out else None
    if len({size.parameters for size in kept}) < MIN_SIZES:
        raise ComparisonError(_too_few(kept, left_out, bound))
    points = _Points.of(kept)
    level, slope = points.fit(np.ones((1, points.groups)) if paired else None)[0]
    drawn = points.fit(_counts(points, paired, resamples, seed))
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    exponent_interval = factor_interval = None
    if points.fewest >= MIN_REPLICATES:
        exponent_interval = _ends(float(slope), drawn[:, 1], points.fewest, confidence, points.slope_error)
        at_one, way = level - slope * points.centre, np.array([1, -points.centre])
        ends = _ends(at_one, drawn @ way, points.fewest, confidence, points.line_error(-points.centre))
        factor_interval = math.exp(ends[0]), math.exp(ends[1])
    return PowerLaw(
        exponent=float(slope),
        factor=math.exp(level - slope * points.centre),
        exponent_interval=exponent_interval,
        factor_interval=factor_interval,
        r_squared=points.r_squared(level, slope),
        residuals=points.residuals(level, slope),
        bracket_error=points.slope_error,
        sizes=kept,
        left_out=left_out,
        bound=bound,
        paired=paired,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        _drawn=drawn,
    )


def _censored(replicate: Replicate) -> bool:
    below = replicate.status is Status.CENSORED_BELOW or replicate.lower == 0
    return replicate.status.right_censored or below or replicate.upper is None


def _too_few(kept: Sequence[Size], left_out: Sequence[Size], bound: Bound | None) -> str:
    said = ""
    known, sizes = (len({size.parameters for size in some}) for some in (kept, [*kept, *left_out]))
    if bound is not None:
        exponent = f"{bound.side} {bound.exponent:.3f}" if bound.side != "unknown" else "not known"
        said = f", {len(left_out)} with censored replicates, with which the exponent is {exponent}"
    return (
        f"a power law takes at least {MIN_SIZES} sizes whose replicates are all known, got {known} of "
        f"{sizes}{said}; measure more sizes, or raise --min-steps or --n-max"
    )


def _bound(sizes: Sequence[Size]) -> Bound | None:
    """The exponent with censored replicates at the known end of their range, and which way they can move it."""
    x, y, rises, falls = [], [], [], []
    for size in sizes:
        for each in size.replicates:
            below = each.lower == 0 or each.status is Status.CENSORED_BELOW
            known = (each.upper or 1) if below else each.lower if _censored(each) else _middle(each)
            x.append(math.log(size.parameters))
            y.append(math.log(known))
            rises.append(_censored(each) and (not below or each.upper is None))
            falls.append(below)
    if len(set(x)) < 2:
        return None
    centred = np.array(x) - np.mean(x)
    exponent = float(centred @ np.array(y) / (centred @ centred))
    up = centred * (np.array(rises, dtype=float) - np.array(falls, dtype=float))
    both = np.array(rises) & np.array(falls) & (centred != 0)
    if both.any() or ((up > 0).any() and (up < 0).any()):
        return Bound(exponent, "unknown")
    return Bound(exponent, "at most" if (up < 0).any() else "at least")


def _middle(replicate: Replicate) -> float:
    return math.sqrt(replicate.lower * (replicate.upper or replicate.lower))


class _Points:
    """All replicates of sizes as points of a line, (log parameters - centre, log EMC).

    Sums of a size's and of a replicate number's points are kept, so that a resample is a few products of matrices.
    """

    def __init__(self, x: Array, y: Array, half: Array, number: npt.NDArray[np.intp], size: npt.NDArray[np.intp]):
        self.centre = float(x.mean())
        self.x, self.y, self.half, self.number, self.size = x - self.centre, y, half, number, size
        self.groups = int(number.max()) + 1
        self.fewest = int(np.bincount(size).min())
        by_size = np.bincount(size, np.abs(self.x) * half) / (self.x @ self.x)
        self.slope_error = float(np.sqrt(by_size @ by_size / 3))

    @classmethod
    def of(cls, sizes: Sequence[Size]) -> _Points:
        """The points of sizes without censored replicates."""
        numbers = sorted({each.replicate for size in sizes for each in size.replicates})
        rows = [(place, size.parameters, each) for place, size in enumerate(sizes) for each in size.replicates]
        return cls(
            np.log([parameters for _, parameters, _ in rows]),
            np.log([_middle(each) for *_, each in rows]),
            np.array([math.log((each.upper or each.lower) / each.lower) / 2 for *_, each in rows]),
            np.array([numbers.index(each.replicate) for *_, each in rows]),
            np.array([place for place, *_ in rows]),
        )

    def fit(self, counts: Array | None) -> Array:
        """Height at the centre and slope of the weighted least-squares line: (resamples, 2), NaN where undefined.

        Args:
            counts: (resamples, groups) how often each replicate number was drawn, or (resamples, points) each point;
                None: each point once.
        """
        if counts is None:
            counts = np.ones((1, len(self.x)))
        weights = counts if counts.shape[1] == len(self.x) else counts[:, self.number]
        powers = np.stack([np.ones_like(self.x), self.x, self.x**2, self.y, self.x * self.y], axis=1)
        s, sx, sxx, sy, sxy = (weights @ powers).T
        spread = s * sxx - sx**2
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(spread > 1e-12 * s * sxx, (s * sxy - sx * sy) / spread, np.nan)
            return np.stack([(sy - slope * sx) / s, slope], axis=1)

    def line_error(self, x: float) -> float:
        """Standard error of the line at x that the brackets make."""
        weights = 1 / len(self.x) + self.x * x / (self.x @ self.x)
        return float(np.abs(weights) @ self.half) / math.sqrt(3)

    def r_squared(self, level: float, slope: float) -> float:
        left, whole = self.y - level - slope * self.x, self.y - self.y.mean()
        return 1 - float(left @ left) / float(whole @ whole) if whole @ whole > 0 else 1.0

    def residuals(self, level: float, slope: float) -> tuple[Residual, ...]:
        left = self.y - level - slope * self.x
        means = np.bincount(self.size, left) / np.bincount(self.size)
        firsts = [self.x[self.size == place][0] + self.centre for place in range(len(means))]
        return tuple(Residual(round(math.exp(x), 6), math.exp(mean)) for x, mean in zip(firsts, means, strict=True))


def _counts(points: _Points, paired: bool, resamples: int, seed: int) -> Array:
    """How often each replicate number, or each point within its size, is drawn by each resample."""
    rng = np.random.default_rng(seed)
    if paired:
        return rng.multinomial(points.groups, np.full(points.groups, 1 / points.groups), resamples).astype(np.float64)
    counts = np.zeros((resamples, len(points.x)))
    for place in np.unique(points.size):
        mine = np.flatnonzero(points.size == place)
        counts[:, mine] = rng.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), resamples)
    return counts


def _ends(value: float, drawn: Array, replicates: int, confidence: float, bracket_error: float) -> tuple[float, float]:
    """Student's t around a value, with the errors of a bootstrap of so many replicates and of the brackets."""
    error = math.hypot(float(drawn.std()) * math.sqrt(replicates / (replicates - 1)), bracket_error)
    half = float(stats.t.ppf((1 + confidence) / 2, replicates - 1)) * error
    return value - half, value + half


def _interval_text(level: str, ends: tuple[float, float] | None) -> str:
    if ends is None:
        return f"no interval with fewer than {MIN_REPLICATES} replicates"
    return f"{level} {ends[0]:.3g} to {ends[1]:.3g}"


def _size_dict(size: Size) -> dict[str, Any]:
    replicates = [{"replicate": r.replicate, "lower": r.lower, "upper": r.upper} for r in size.replicates]
    return {"parameters": size.parameters, "replicates": replicates, "censored": size.censored}
