"""Parts of claims that are about EMCs: ratios, interactions and exponents, one number a replicate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emc.comparison import bounds_of
from emc.hypotheses.cells import settings
from emc.hypotheses.parts import ABOVE, Found, Reading, Region, StratumFound
from emc.results import EmcResult, Replicate
from emc.stats.blocks import Ends, averaged, ends, sizes_at_budget, weighted
from emc.stats.compare import (
    Bounds,
    Contrast,
    Differences,
    LogSizes,
    contrast_differences,
    contrast_groups,
    log_sizes,
)

#: Dataset content, seed and number of a replicate: those that share them share their samples.
Key = tuple[str, int, int]

#: Either view of censoring: log EMCs of replicates, the largest that a censored one may be handed over.
View = Callable[[Sequence[Replicate], float], LogSizes]


@dataclass(frozen=True)
class Stratum:
    """One number a replicate: the offset plus the sum of weight times log EMC over results equal but in one factor.

    Attributes:
        terms: (weight, result), no weight 0.
        offset: such as the log of a ratio of parameters.
    """

    terms: tuple[tuple[float, EmcResult], ...]
    offset: float = 0.0


def ratio(first: EmcResult, second: EmcResult, offset: float = 0.0) -> Stratum:
    """The log ratio of two EMCs."""
    return Stratum(((1.0, first), (-1.0, second)), offset)


def slope(results: Sequence[EmcResult], x: Sequence[float], less: Sequence[float] | None = None) -> Stratum:
    """The least-squares slope on x, of which there are at least two values, of log EMC (less known numbers)."""
    centred = np.asarray(x, dtype=np.float64) - np.mean(x)
    weights = centred / float(centred @ centred)
    terms = tuple((float(w), r) for w, r in zip(weights, results, strict=True) if w != 0)
    return Stratum(terms, 0.0 if less is None else -float(weights @ np.asarray(less, dtype=np.float64)))


@dataclass(frozen=True)
class EmcPart:
    """A test of where one number a replicate is centred.

    Attributes:
        name: what is compared.
        strata: the number of a replicate is the mean over those that hold it.
        region: where the claim has the centre; None where the part is only shown.
        effect_name: what the centre is.
        logarithmic: whether the effect is shown as the exponential, a ratio.
        independent: whether sides differ in dataset, so that replicates are no pairs: the terms of positive and of
            negative weight are then two groups.
    """

    name: str
    strata: tuple[Stratum, ...]
    region: Region | None = ABOVE
    effect_name: str = "ratio of EMCs"
    logarithmic: bool = True
    independent: bool = False

    def test(self, confidence: float) -> Found:
        """Test at both extremes of censoring, and on the lower bounds as they stand.

        Strata that censoring leaves wholly open, in every replicate both ways, say nothing and are left out.
        """
        telling = tuple(stratum for stratum in self.strata if self.independent or not _is_silent(stratum))
        if telling and len(telling) < len(self.strata):
            count = len(self.strata) - len(telling)
            silent = f"{count} {'stratum' if count == 1 else 'strata'} left out, of which all is censored"
            found = replace(self, strata=telling).test(confidence)
            return replace(found, notes=(*found.notes, silent))
        found = Found(self.name, self.effect_name, judged=self.region is not None)
        honest = self._sample(log_sizes)
        if honest is None:
            return found
        at_budget = self._sample(sizes_at_budget)
        assert at_budget is not None  # the same replicates
        contrast = honest.contrast(0.0, confidence)
        results = {id(result): result for stratum in self.strata for _, result in stratum.terms}
        names = _names(self.strata)
        return Found(
            self.name,
            self.effect_name,
            self._reading(honest, confidence),
            self._reading(at_budget, confidence),
            tuple(self._alone(*each, confidence) for each in zip(self.strata, names, strict=True)),
            max(contrast.sizes),
            contrast.smallest_p,
            contrast.interval_confidence,
            contrast.test,
            tuple(results.values()),
            self.region is not None,
            _differing(self.strata),
        )

    def _sample(self, view: View) -> _Pairs | _Groups | None:
        if not self.strata:
            return None
        if self.independent:
            return _grouped(self.strata, view)
        found = averaged([_paired(stratum, view) for stratum in self.strata])
        return _Pairs(found) if len(found.low) else None

    def _reading(self, sample: _Pairs | _Groups, confidence: float) -> Reading:
        contrast = sample.contrast(0.0, confidence)
        tests = [
            (sample.contrast(end, confidence), side) for end, side in (self.region.ends if self.region else ((0.0, 1),))
        ]
        supports = [_doubled(c.larger if side > 0 else c.smaller) for c, side in tests]
        against = [_doubled(c.smaller if side > 0 else c.larger) for c, side in tests]
        return Reading(
            Bounds(self._shown(contrast.ratio.low), self._shown(contrast.ratio.high)),
            (self._shown(contrast.interval[0]), self._shown(contrast.interval[1])),
            Bounds(max(p.low for p in supports), max(p.high for p in supports)),
            Bounds(min(p.low for p in against), min(p.high for p in against)),
            (self.region or ABOVE).side(_log(contrast.ratio.low), _log(contrast.ratio.high)),
        )

    def _shown(self, value: float) -> float:
        return value if self.logarithmic else _log(value)

    def _alone(self, stratum: Stratum, name: str, confidence: float) -> StratumFound:
        single = replace(self, strata=(stratum,))
        honest, budget = single._sample(log_sizes), single._sample(sizes_at_budget)
        cells = tuple(cell_text(result) for _, result in stratum.terms)
        if honest is None or budget is None:
            return StratumFound(name, cells, Bounds(-math.inf, math.inf), (-math.inf, math.inf), 0)
        found, at_budget = (single._reading(sample, confidence) for sample in (honest, budget))
        count = max(honest.contrast(0.0, confidence).sizes)
        return StratumFound(name, cells, found.effect, found.interval, count, found, at_budget)


@dataclass(frozen=True)
class _Pairs:
    given: Differences

    def contrast(self, against: float, confidence: float) -> Contrast:
        return contrast_differences(self.given.less(against), confidence, ranked=True)


@dataclass(frozen=True)
class _Groups:
    a: LogSizes
    b: LogSizes

    def contrast(self, against: float, confidence: float) -> Contrast:
        a = LogSizes(self.a.low - against, self.a.high - against, self.a.upper - against)
        return contrast_groups(a, self.b, confidence, ranked=True)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _doubled(p: Bounds) -> Bounds:
    """A one-sided p-value as half of a two-sided one."""
    return Bounds(min(1.0, 2 * p.low), min(1.0, 2 * p.high))


def _paired(stratum: Stratum, view: View) -> dict[Key, Ends]:
    results = [result for _, result in stratum.terms]
    shared = [key for key in _keys(results[0]) if all(key in keys for keys in map(_keys, results[1:]))]
    if not shared:
        return {}
    sizes = [_sizes(r, bound, view, shared) for r, bound in zip(results, bounds_of(*results), strict=True)]
    weights = [weight for weight, _ in stratum.terms]
    return ends(weighted(list(zip(weights, sizes, strict=True)), stratum.offset), shared)


def _keys(result: EmcResult) -> dict[Key, int]:
    content = str(result.dataset["content_hash"])
    return {(content, result.seed, r.replicate): place for place, r in enumerate(result.replicates)}


def _sizes(result: EmcResult, bound: float, view: View, keys: Iterable[Key]) -> LogSizes:
    places = _keys(result)
    return view(result.replicates, bound).take([places[key] for key in keys])


def _grouped(strata: Sequence[Stratum], view: View) -> _Groups | None:
    """Both sides of all strata, each averaged by the number of the replicate."""
    sides: tuple[list[dict[int, Ends]], list[dict[int, Ends]]] = ([], [])
    for stratum in strata:
        bounds = bounds_of(*(result for _, result in stratum.terms))
        for (weight, result), bound in zip(stratum.terms, bounds, strict=True):
            sizes = view(result.replicates, bound)
            numbers = [replicate.replicate for replicate in result.replicates]
            sides[weight < 0].append(ends(Differences(sizes.low, sizes.high, sizes.low, sizes.upper), numbers))
    found = []
    for side in sides:
        shared = sorted(set.intersection(*map(set, side)))
        if not shared:
            return None
        mean = averaged([{number: each[number] for number in shared} for each in side])
        found.append(LogSizes(mean.low, mean.high, mean.top))
    return _Groups(*found)


def _is_silent(stratum: Stratum) -> bool:
    known = _paired(stratum, log_sizes).values()
    return bool(known) and all(low == -math.inf and high == math.inf for low, high, *_ in known)


def _differing(strata: Sequence[Stratum]) -> tuple[str, ...]:
    """What the results of a stratum differ in, in a sentence."""
    found: dict[str, None] = {}
    for stratum in strata:
        held = [settings(result) for _, result in stratum.terms]
        keys = dict.fromkeys(key for each in held for key in each)
        found |= dict.fromkeys(key for key in keys if len({each.get(key) for each in held}) > 1)
    names = [key for key in found if "." not in key and key not in ("dataset content", "tune")]
    options = [key for key in found if "." in key and key.partition(".")[0] not in found]
    return (f"cells differ in {', '.join([*names, *options])}",) if names or options else ()


def _names(strata: Sequence[Stratum]) -> list[str]:
    """Of each stratum, what its results have in common and other strata have not."""
    common = []
    for stratum in strata:
        first, *others = (settings(result) for _, result in stratum.terms)
        common.append({key: value for key, value in first.items() if all(o.get(key) == value for o in others)})
    keys = dict.fromkeys(key for each in common for key in each if key != "dataset content")
    telling = [key for key in keys if len({each.get(key) for each in common}) > 1]
    names = (", ".join(f"{key} {each[key]}" for key in telling if key in each) for each in common)
    return [name or _models(stratum) for name, stratum in zip(names, strata, strict=True)]


def _models(stratum: Stratum) -> str:
    return " | ".join(dict.fromkeys(str(result.procedure.get("model")) for _, result in stratum.terms))


def cell_text(result: EmcResult) -> str:
    """One result in words: what was trained on what, its size and its replicates' EMCs."""
    emcs = " ".join(f"{'>=' if r.status.right_censored else ''}{r.emc}" for r in result.replicates)
    what = result.procedure.get("model") or result.procedure.get("train") or result.procedure.get("command")
    size = "" if result.parameters is None else f" ({result.parameters:,} parameters)"
    return f"{what}{size}, {result.task['labels']} labels, {result.task['data']}: EMC {emcs}"
