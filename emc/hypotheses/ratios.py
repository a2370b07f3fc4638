"""Parts of claims that are about EMCs: ratios, interactions and exponents, one number a replicate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emc.comparison import bounds_of
from emc.hypotheses.cells import learned, settings, subject, unlearned
from emc.hypotheses.parts import ABOVE, SAME_SIZE, Found, Reading, Region, StratumFound, no_structure
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
        variants: where there are any, a replicate's number is the mean of theirs that hold it; the terms are theirs.
    """

    terms: tuple[tuple[float, EmcResult], ...]
    offset: float = 0.0
    variants: tuple[Stratum, ...] = ()


def ratio(first: EmcResult, second: EmcResult, offset: float = 0.0) -> Stratum:
    """The log ratio of two EMCs."""
    return Stratum(((1.0, first), (-1.0, second)), offset)


def merged(strata: Iterable[Stratum]) -> tuple[Stratum, ...]:
    """One stratum for all that differ in training only, which are its variants."""
    found: dict[tuple[tuple[Any, ...], ...], list[Stratum]] = {}
    for stratum in strata:
        found.setdefault(tuple(subject(result) for _, result in stratum.terms), []).append(stratum)
    return tuple(Stratum(tuple(t for s in alike for t in s.terms), 0.0, tuple(alike)) for alike in found.values())


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
        structured: whether it speaks of structure in the labels: strata in which none was learned say nothing of it.
    """

    name: str
    strata: tuple[Stratum, ...]
    region: Region | None = ABOVE
    effect_name: str = "ratio of EMCs"
    logarithmic: bool = True
    independent: bool = False
    structured: bool = False

    def test(self, confidence: float) -> Found:
        """Test at both extremes of censoring, and on the lower bounds as they stand.

        Strata say nothing and are left out which censoring leaves wholly open, in every replicate both ways, and, of a
        part about structure, in which none was learned.
        """
        told = tuple(stratum for stratum in self.strata if not (self.structured and unlearned(_results(stratum))))
        noise = no_structure(len(_semantic(self.strata) - _semantic(told)))
        telling = tuple(stratum for stratum in told if self.independent or not _is_silent(stratum)) or told
        count = len(told) - len(telling)
        silent = f"{count} {'stratum' if count == 1 else 'strata'} left out, of which all is censored" if count else ""
        found = replace(self, strata=telling)._tested(confidence)
        if found.honest is None:
            return replace(found, why=noise)
        unknown = self.structured and not any(learned(r) is not None for s in telling for r in _results(s))
        untested = "whether structure was learned is not known, for want of --test-split" if unknown else ""
        return replace(found, notes=(*found.notes, *filter(None, (silent, noise, untested))))

    def _tested(self, confidence: float) -> Found:
        found = Found(self.name, self.effect_name, judged=self.region is not None)
        honest = self._sample(log_sizes)
        if honest is None:
            return found
        at_budget = self._sample(sizes_at_budget)
        assert at_budget is not None  # the same replicates
        contrast = honest.contrast(0.0, confidence)
        results = {id(result): result for stratum in self.strata for _, result in stratum.terms}
        strata = tuple(self._alone(*each, confidence) for each in zip(self.strata, _names(self.strata), strict=True))
        return Found(
            self.name,
            self.effect_name,
            self._reading(honest, confidence),
            self._reading(at_budget, confidence),
            strata,
            max(contrast.sizes),
            contrast.smallest_p,
            contrast.interval_confidence,
            contrast.test,
            tuple(results.values()),
            self.region is not None,
            (*_differing(self.strata), *_mismatch(self.strata), *self._nearest(strata), *self._trend(confidence)),
        )

    def _nearest(self, strata: Sequence[StratumFound]) -> list[str]:
        """The two strata that are the least as claimed, in a sentence."""
        ends = self.region.ends if self.region else ()
        if len(ends) != 1 or len(strata) < 3:
            return []
        (end, side), known = ends[0], [stratum for stratum in strata if stratum.budget is not None]
        known.sort(key=lambda each: side * sum(map(self._log, (_at_budget(each).low, _at_budget(each).high))))
        texts = (f"{each.name} with {_spanned(each.effect.low, each.effect.high)}" for each in known[:2])
        return [f"nearest to {self._shown(math.exp(end)):.3g}, or beyond it, {' and '.join(texts)}"]

    def _log(self, shown: float) -> float:
        return _log(shown) if self.logarithmic else shown

    def _trend(self, confidence: float) -> list[str]:
        """Whether the numbers of a replicate go along with the size of the first model, in a sentence."""
        sizes = [stratum.terms[0][1].parameters or 0 for stratum in self.strata]
        if self.independent or not self.logarithmic or not all(sizes):
            return []
        held: dict[Key, list[tuple[float, Ends]]] = {}
        for stratum, size in zip(self.strata, sizes, strict=True):
            for key, known in _paired(stratum, log_sizes).items():
                held.setdefault(key, []).append((math.log(size), known))
        found = [_slope(points) for points in held.values() if _spans([x for x, _ in points])]
        if not found:
            return []
        given = np.array(found, dtype=np.float64)
        seen = contrast_differences(Differences(*given.T), confidence, ranked=True)
        low, high, *ends = map(_log, (seen.ratio.low, seen.ratio.high, *seen.interval))
        text = f"power {_spanned(low, high)} of the parameters, {_spanned(*ends)}"
        spread = f"from {min(sizes):,} to {max(sizes):,} parameters"
        if ends[0] > 0 or ends[1] < 0:
            return [f"the effect trends with size, {'up' if ends[0] > 0 else 'down'} {spread} ({text})"]
        return [f"no trend with size is shown {spread} ({text})"]

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


def _results(stratum: Stratum) -> list[EmcResult]:
    return [result for _, result in stratum.terms]


def _semantic(strata: Iterable[Stratum]) -> set[int]:
    """Results that tell whether structure was learned."""
    return {id(r) for stratum in strata for r in _results(stratum) if learned(r) is not None}


def _at_budget(stratum: StratumFound) -> Bounds:
    assert stratum.budget is not None  # asked only of those that have it
    return stratum.budget.effect


def _spanned(low: float, high: float) -> str:
    ends = [("infinity" if end > 0 else "-infinity") if math.isinf(end) else f"{end:.3g}" for end in (low, high)]
    return " to ".join(dict.fromkeys(ends))


def _spans(logs: Sequence[float]) -> bool:
    """Whether sizes are far enough apart to tell a trend."""
    return max(logs) - min(logs) >= math.log(1.5)


def _slope(points: Sequence[tuple[float, Ends]]) -> Ends:
    """The least-squares slope of numbers on x, from the ends of what is known of each."""
    x = np.array([at for at, _ in points]) - np.mean([at for at, _ in points])
    weights = x / float(x @ x)
    found = [0.0] * 4
    for weight, known in zip(weights, (known for _, known in points), strict=True):
        low, high, bottom, top = known if weight > 0 else (known[1], known[0], known[3], known[2])
        if weight != 0:
            found = [total + weight * end for total, end in zip(found, (low, high, bottom, top), strict=True)]
    return found[0], found[1], found[2], found[3]


def _mismatch(strata: Sequence[Stratum]) -> list[str]:
    """How far parameters that count as equal are apart, in a sentence."""
    found = []
    for stratum in strata:
        sizes = [result.parameters for result in _results(stratum) if result.parameters]
        if len(sizes) > 1 and stratum.offset == 0 and not stratum.variants:
            found.append(max(sizes) / min(sizes))
    matched = [factor for factor in found if 1 < factor <= SAME_SIZE]
    return [f"parameters of a stratum differ by up to {100 * (max(matched) - 1):.1f} %"] if matched else []


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _doubled(p: Bounds) -> Bounds:
    """A one-sided p-value as half of a two-sided one."""
    return Bounds(min(1.0, 2 * p.low), min(1.0, 2 * p.high))


def _paired(stratum: Stratum, view: View) -> dict[Key, Ends]:
    if stratum.variants:
        each = [_paired(variant, view) for variant in stratum.variants]
        return ends(averaged(each), list(dict.fromkeys(key for found in each for key in found)))
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


def _differing(strata: Sequence[Stratum]) -> list[str]:
    """What the results of a stratum differ in, and the trainings averaged in it, in sentences."""
    compared = _unequal([_results(each) for stratum in strata for each in stratum.variants or (stratum,)])
    texts = [f"cells differ in {', '.join(compared)}"] if compared else []
    if len(averaged := [each for stratum in strata for each in stratum.variants]) <= len(strata):
        return texts
    models = {(stratum.terms[0][1].parameters, _models(stratum)) for stratum in strata}
    unequal = ", ".join(key for key in _unequal(map(_results, strata)) if key not in compared)
    many = f"{len(models)} different {'model' if len(models) == 1 else 'models'}"
    return [*texts, f"{many}; within strata {len(averaged)} trainings are averaged, which differ in {unequal}"]


def _unequal(held: Iterable[Sequence[EmcResult]]) -> list[str]:
    """Names of the settings in which results of a group differ."""
    found: dict[str, None] = {}
    for group in held:
        known = [settings(result) for result in group]
        keys = dict.fromkeys(key for each in known for key in each)
        found |= dict.fromkeys(key for key in keys if len({each.get(key) for each in known}) > 1)
    names = [key for key in found if "." not in key and key not in ("dataset content", "tune")]
    return [*names, *(key for key in found if "." in key and key.partition(".")[0] not in found)]


def _names(strata: Sequence[Stratum]) -> list[str]:
    """Of each stratum, what its results have in common and other strata have not; where that is nothing, its first's.

    Variants are named by what is trained on what.
    """
    firsts = [stratum.terms[0][1] for stratum in strata]
    if any(stratum.variants for stratum in strata):
        return [_subject_text(first) for first in firsts]
    common = []
    for stratum in strata:
        first, *others = (settings(result) for _, result in stratum.terms)
        common.append({key: value for key, value in first.items() if all(o.get(key) == value for o in others)})
    names = _told_apart(common)
    own = _told_apart([settings(first) for first in firsts])
    alone = (name if names.count(name) == 1 else other for name, other in zip(names, own, strict=True))
    return [name or _models(stratum) for name, stratum in zip(alone, strata, strict=True)]


def _told_apart(held: Sequence[Mapping[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for each in held for key in each if key != "dataset content")
    telling = [key for key in keys if len({each.get(key) for each in held}) > 1]
    return [", ".join(f"{key} {each[key]}" for key in telling if key in each) for each in held]


def _subject_text(result: EmcResult) -> str:
    held = settings(result)
    usual = {"inputs": "natural", "activation": "default"}
    more = [f"{k} {held[k]}" for k in ("labels", "inputs", "classes", "activation", "reparam") if k in held]
    more = [text for text in more if text not in {f"{key} {value}" for key, value in usual.items()}]
    model = result.procedure.get("model") or result.procedure.get("train") or result.procedure.get("command")
    return ", ".join([f"{model} on {result.task['data']}", *more])


def _models(stratum: Stratum) -> str:
    return " | ".join(dict.fromkeys(str(result.procedure.get("model")) for _, result in stratum.terms))


def cell_text(result: EmcResult) -> str:
    """One result in words: what was trained on what, its size and its replicates' EMCs."""
    emcs = " ".join(f"{'>=' if r.status.right_censored else ''}{r.emc}" for r in result.replicates)
    what = result.procedure.get("model") or result.procedure.get("train") or result.procedure.get("command")
    size = "" if result.parameters is None else f" ({result.parameters:,} parameters)"
    return f"{what}{size}, {result.task['labels']} labels, {result.task['data']}: EMC {emcs}"
