"""Whether one measured EMC is larger than another: `compare`, and the texts that say so."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emc.errors import ComparisonError
from emc.results import EmcResult, Status, Tabular, differences_row
from emc.seeds import order_key
from emc.specs import Measurement, later_settings
from emc.stats.compare import (
    Bounds,
    Contrast,
    LogSizes,
    Verdict,
    contrast_groups,
    contrast_pairs,
    judge,
    log_sizes,
)
from emc.texts import read_result

Source = EmcResult | str | os.PathLike[str]


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """The first of several results against each other one.

    Attributes:
        names: of the results: the file's path, or a letter.
        results: in the same order.
        contrasts: of the first result, A, with each other one, B.
        pairings: for each contrast, how the replicates were paired, or why they were not.
        bounds: for each contrast, the largest EMC that censored replicates of A and of B were given.
        confidence: asked for.
    """

    names: tuple[str, ...]
    results: tuple[EmcResult, ...]
    contrasts: tuple[Contrast, ...]
    pairings: tuple[str, ...]
    bounds: tuple[tuple[float, ...], ...]
    confidence: float

    @property
    def ratio(self) -> float | None:
        """EMC of the first over the second result; None where censored replicates leave it open."""
        return self.contrasts[0].ratio.value

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of that ratio; 0 or infinity is an open end."""
        return self.contrasts[0].interval

    @property
    def p_value(self) -> float | None:
        """First against second result, after Holm's correction; None where censored replicates leave it open."""
        return self.contrasts[0].p_adjusted.value

    @property
    def verdict(self) -> Verdict:
        """What the first against the second result shows."""
        return self.contrasts[0].verdict

    def sentences(self) -> list[str]:
        """One plain sentence for each contrast."""
        return [self._sentence(place) for place in range(len(self.contrasts))]

    def rows(self) -> list[tuple[str, str]]:
        """The table a user reads: what is shown, then the numbers behind it, then what was compared."""
        rows = [("conclusion" if place == 0 else "", sentence) for place, sentence in enumerate(self.sentences())]
        for place in range(len(self.contrasts)):
            if len(self.contrasts) > 1:
                rows.append((f"against {self.names[place + 1]}", self.contrasts[place].verdict.key))
            rows += self._numbers(place)
        rows += [(name, _summary(result)) for name, result in zip(self.names, self.results, strict=True)]
        return [*rows, differences_row(differences_of(self.results)), ("estimand", self.results[0].estimand)]

    def to_dict(self) -> dict[str, Any]:
        """The record that `--json` writes; None is an open end."""
        return {
            "confidence": self.confidence,
            "estimand": self.results[0].estimand,
            "results": [
                {
                    "name": name,
                    "fingerprint": result.fingerprint,
                    "emc": result.emc,
                    "censored": result.censored,
                    "replicates": [replicate.to_dict() for replicate in result.replicates],
                }
                for name, result in zip(self.names, self.results, strict=True)
            ],
            "differences": differences_of(self.results),
            "contrasts": [
                {
                    "first": self.names[0],
                    "second": self.names[place + 1],
                    "conclusion": self._sentence(place),
                    "pairing": self.pairings[place],
                    "censored_up_to": [_closed(bound) for bound in self.bounds[place]],
                    **_record(contrast),
                }
                for place, contrast in enumerate(self.contrasts)
            ],
        }

    def to_json(self) -> str:
        """The record as JSON text; never NaN or infinity."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def _sentence(self, place: int) -> str:
        contrast, first, second = self.contrasts[place], self.names[0], self.names[place + 1]
        p = f"p {bounds_text(contrast.p_adjusted)}" + (" after Holm's correction" if len(self.contrasts) > 1 else "")
        numbers = f"{_percent(contrast.interval_confidence)} interval {interval_text(contrast.interval)}, {p}"
        ratio = bounds_text(contrast.ratio)
        if contrast.verdict in (Verdict.LARGER, Verdict.SMALLER):
            return f"{first} fits {ratio} times as many samples as {second} ({numbers})"
        if contrast.verdict is Verdict.UNDECIDED:
            open_ = sum(_num_censored(self.results[i]) for i in (0, place + 1))
            return (
                f"undecided: depending on {open_} censored replicates, {first} fits {ratio} times as many samples as "
                f"{second} ({numbers}); emc show says of each result how its censoring ends"
            )
        text = f"no difference is shown: {first} fits {ratio} times as many samples as {second} ({numbers})"
        if self._smallest_p(contrast) <= 1 - self.confidence:
            return text
        return f"{text}; so few replicates can show none at {_percent(self.confidence)} confidence, raise --replicates"

    def _smallest_p(self, contrast: Contrast) -> float:
        return min(1.0, len(self.contrasts) * contrast.smallest_p)

    def _numbers(self, place: int) -> list[tuple[str, str]]:
        contrast, first, second = self.contrasts[place], self.names[0], self.names[place + 1]
        reached = contrast.interval_confidence
        short = "" if reached >= self.confidence else ", the widest that so few replicates give"
        p_text = (
            f"{bounds_text(contrast.p_value)} ({contrast.test}; the smallest possible is {contrast.smallest_p:.4g})"
        )
        larger, equal, smaller, unknown = contrast.counts
        what = "pairs" if contrast.paired else "pairings"
        counts = f"{first} larger in {larger}, equal in {equal}, smaller in {smaller} of {sum(contrast.counts)} {what}"
        rows = [
            ("ratio of EMCs", f"{bounds_text(contrast.ratio)} (Hodges-Lehmann on logarithms, {first} over {second})"),
            (
                f"{_percent(self.confidence)} interval",
                f"{interval_text(contrast.interval)} ({contrast.interval_method}: {_percent(reached)}{short})",
            ),
            ("p-value", p_text),
        ]
        if len(self.contrasts) > 1:
            rows.append(("after Holm", f"{bounds_text(contrast.p_adjusted)} (of {len(self.contrasts)} comparisons)"))
        unknown_text = f", censored in {unknown}" if unknown else ""
        rows.append(("dominance", f"{bounds_text(contrast.dominance)} ({counts}{unknown_text})"))
        rows.append(("pairing", self.pairings[place]))
        censored = self._censored_text(place)
        return [*rows, ("censored", censored)] if censored else rows

    def _censored_text(self, place: int) -> str:
        counts = [(name, _num_censored(result)) for name, result in self._sides(place)]
        if not any(count for _, count in counts):
            return ""
        which = " and ".join(f"{count} of {name}" for name, count in counts if count)
        tops = {bound for bound, (_, count) in zip(self.bounds[place], counts, strict=True) if count}
        top = " and ".join(
            "infinity" if math.isinf(bound) else f"the pool's {bound:,.0f} rows" for bound in sorted(tops)
        )
        return f"{which}, tried as small and as large as they may be, up to {top}"

    def _sides(self, place: int) -> list[tuple[str, EmcResult]]:
        return [(self.names[i], self.results[i]) for i in (0, place + 1)]


def compare(first: Source, second: Source, *others: Source, confidence: float = Measurement.confidence) -> Comparison:
    """Compare the EMC of one result with that of each other one.

    Replicates are paired where dataset content, seed and replicate number, and with them the order of samples, agree;
    else, said so, the results are compared as independent groups. Each contrast has the ratio of the EMCs
    (Hodges-Lehmann on logarithms) with an interval, an exact permutation test and the dominance; several contrasts have
    their p-values corrected by Holm's method, their intervals not.

    A censored replicate's EMC may be anything from its lower bound up to the pool's rows, since no search asks for
    more; up to infinity where any replicate of the two results has fitted its whole pool, for then the pool bounds
    nothing; from 0 to 1 where not even one sample was fitted. All numbers are given at both extremes; a conclusion that
    the extremes do not share is undecided.

    Args:
        first: a result, or a file that `emc measure --json` wrote.
        second: what it is compared with, likewise.
        others: likewise, each compared with the first.
        confidence: of the intervals; a p-value of at most 1 - confidence shows a difference.

    Raises:
        ComparisonError: no result or file, a result is interrupted or has one replicate only, or estimands differ.
        OutputError: a file cannot be read.
        SpecError: the confidence is out of range.
    """
    confidence = Measurement(confidence=confidence).confidence
    sources = (first, second, *others)
    results = results_of(sources)
    names = tuple(_letters(place) if isinstance(s, EmcResult) else os.fspath(s) for place, s in enumerate(sources))
    check_finished(names, results)
    bounds = tuple(bounds_of(results[0], other) for other in results[1:])
    found = [_contrast(results[0], other, up_to, confidence) for other, up_to in zip(results[1:], bounds, strict=True)]
    contrasts = judge([contrast for contrast, _ in found], confidence)
    return Comparison(names, results, contrasts, tuple(text for _, text in found), bounds, confidence)


def compare_files(paths: Sequence[str], confidence: float) -> Comparison:
    """What `emc compare` does.

    Raises:
        ComparisonError: fewer than two files; for the rest see `compare`.
    """
    if len(paths) < 2:
        remedy = "name another file written by emc measure --json"
        raise ComparisonError(f'a comparison takes at least two results, got "{" ".join(paths)}"; {remedy}')
    first, second, *others = paths
    return compare(first, second, *others, confidence=confidence)


def results_of(sources: Sequence[Source]) -> tuple[EmcResult, ...]:
    """Results, those given as files read.

    Raises:
        ComparisonError: what is neither a result nor a path.
        OutputError: a file cannot be read.
    """
    for source in sources:
        if not isinstance(source, EmcResult | str | os.PathLike):
            raise ComparisonError(
                "results compared are EmcResults, or paths of their files, got a value of type "
                f"{type(source).__name__}; measure with emc.measure or emc measure --json PATH"
            )
    return tuple(source if isinstance(source, EmcResult) else read_result(os.fspath(source)) for source in sources)


def _letters(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else f"result {place + 1}"


def check_finished(names: Sequence[str], results: Sequence[EmcResult]) -> None:
    """Refuse results that cannot stand beside each other: unfinished, without replicates, of several estimands.

    Raises:
        ComparisonError: one of these.
    """
    for name, result in zip(names, results, strict=True):
        if Status.INTERRUPTED in (result.status, *(replicate.status for replicate in result.replicates)):
            raise ComparisonError(f"only finished results can be compared, got the interrupted {name}; run it again")
        if not result.replicates:
            raise ComparisonError(
                f'results compared must have one EMC a replicate, got "{result.estimand}" in {name}, which has none; '
                "measure with --search bisection and --criterion fit or a loss"
            )
        if len(result.replicates) < 2:
            count = len(result.replicates)
            raise ComparisonError(
                f"a comparison takes at least 2 replicates, got {count} in {name}; use --replicates 6"
            )
        if result.estimand != results[0].estimand:
            raise ComparisonError(
                f'results compared must have one estimand, got "{results[0].estimand}" in {names[0]} and '
                f'"{result.estimand}" in {name}; measure both with the same --growth, --attempts and --criterion'
            )


def bounds_of(*results: EmcResult) -> tuple[float, ...]:
    """The largest EMC of each result's censored replicates: its pool's rows.

    Infinity for all, where any replicate has fitted its whole pool: the pool bounds nothing then.
    """
    rows = [float(result.dataset.get("rows", math.inf)) for result in results]
    sides = zip(results, rows, strict=True)
    if any(replicate.lower >= most for result, most in sides for replicate in result.replicates):
        return tuple(math.inf for _ in results)
    return tuple(rows)


def _contrast(first: EmcResult, second: EmcResult, up_to: tuple[float, ...], confidence: float) -> tuple[Contrast, str]:
    a, b = log_sizes(first.replicates, up_to[0]), log_sizes(second.replicates, up_to[1])
    unpaired = why_unpaired(first, second)
    if unpaired:
        return contrast_groups(a, b, confidence), f"unpaired, since {unpaired}"
    orders = [_orders(first), _orders(second)]
    shared = sorted(orders[0].keys() & orders[1].keys(), key=orders[0].__getitem__)
    if len(shared) < 2:
        return contrast_groups(a, b, confidence), f"unpaired, since {len(shared)} replicates have the same samples"
    pairs = [_taken(side, order, shared) for side, order in zip((a, b), orders, strict=True)]
    left_out = len(a.low) + len(b.low) - 2 * len(shared)
    rest = f"; {left_out} replicates without a partner left out" if left_out else ""
    return contrast_pairs(pairs[0], pairs[1], confidence), f"{_kind_of_pairing(first, second)}{rest}"


def _taken(side: LogSizes, order: Mapping[int, int], keys: Sequence[int]) -> LogSizes:
    return side.take([order[key] for key in keys])


def why_unpaired(first: EmcResult, second: EmcResult) -> str:
    """Why replicates of the same number have other samples; empty where they have the same."""
    contents = [result.dataset.get("content_hash") for result in (first, second)]
    versions = [result.versions.get("results") for result in (first, second)]
    if None in contents:
        return "a result does not know its dataset's content"
    if contents[0] != contents[1]:
        return "the datasets differ"
    if first.seed != second.seed:
        return f"the seeds differ ({first.seed} and {second.seed})"
    if versions[0] != versions[1]:
        return f"the results versions differ ({versions[0]} and {versions[1]})"
    return ""


def _orders(result: EmcResult) -> dict[int, int]:
    """Place of each replicate by its order key."""
    content = str(result.dataset["content_hash"])
    return {order_key(result.seed, content, r.replicate): place for place, r in enumerate(result.replicates)}


def _kind_of_pairing(first: EmcResult, second: EmcResult) -> str:
    differing = [name for name in ("labels", "inputs", "classes") if first.task.get(name) != second.task.get(name)]
    if not differing:
        return "by replicate: the same samples, in the same order and with the same labels"
    values = ", ".join(f"{first.task.get(name)} and {second.task.get(name)} {name}" for name in differing)
    return f"by replicate: the same rows in the same order, but {values}"


def differences_of(results: Sequence[EmcResult]) -> dict[str, list[str]]:
    """Settings in which the results differ, with each one's value."""
    settings = [
        {
            **result.task,
            **result.procedure,
            **later_settings(result.procedure),
            **result.search,
            "seed": result.seed,
            "device": result.versions.get("device"),
            "dataset content": result.dataset.get("content_hash"),
            "emc version": result.versions.get("emc"),
        }
        for result in results
    ]
    names = dict.fromkeys(name for known in settings for name in known)
    values = {name: [str(known.get(name)) for known in settings] for name in names}
    return {name: texts for name, texts in values.items() if len(set(texts)) > 1}


def _summary(result: EmcResult) -> str:
    marks = [(">=" if r.status.right_censored else "") + str(r.emc) for r in result.replicates]
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(r.status.key for r in result.replicates).items())
    return f"EMC {'>= ' if result.censored else ''}{result.emc}; replicates {' '.join(marks)} ({kinds})"


def _num_censored(result: EmcResult) -> int:
    return sum(r.status.right_censored or r.status is Status.CENSORED_BELOW for r in result.replicates)


def _record(contrast: Contrast) -> dict[str, Any]:
    bounds = {name: getattr(contrast, name) for name in ("ratio", "p_value", "p_adjusted", "dominance")}
    larger, equal, smaller, unknown = contrast.counts
    return {
        "verdict": contrast.verdict.key,
        "paired": contrast.paired,
        "sizes": list(contrast.sizes),
        **{name: [_closed(found.low), _closed(found.high)] for name, found in bounds.items()},
        "interval": [_closed(end) for end in contrast.interval],
        "interval_confidence": contrast.interval_confidence,
        "interval_method": contrast.interval_method,
        "smallest_p": contrast.smallest_p,
        "test": contrast.test,
        "counts": {"larger": larger, "equal": equal, "smaller": smaller, "censored": unknown},
    }


def _closed(value: float) -> float | None:
    return None if math.isinf(value) else value


def bounds_text(found: Bounds) -> str:
    """A number that censoring may leave open, as a user reads it."""
    if found.value is not None:
        return f"{found.low:.4g}"
    return f"{found.low:.4g} or more" if math.isinf(found.high) else f"{found.low:.4g} to {found.high:.4g}"


def interval_text(ends: tuple[float, float]) -> str:
    """An interval as a user reads it."""
    return f"{ends[0]:.4g} to {'infinity' if math.isinf(ends[1]) else f'{ends[1]:.4g}'}"


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"
