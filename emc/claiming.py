"""The paper's claims put to a journal: `claims`, what each shows, and the texts that say so."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from emc.curve_record import Curve
from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import usable
from emc.hypotheses.parts import Claim, Found, Measured, Reading, StratumFound, count_censored
from emc.recorded import read_recorded
from emc.registry import Plugin
from emc.results import EmcResult, Tabular
from emc.specs import Measurement
from emc.stats.compare import ROUNDING, Bounds, holm

#: Columns of the table.
HEAD = ("claim", "verdict", "effect", "interval", "p (Holm)", "at this budget", "rests on")
QUESTION_HEAD = ("question", "answer", *HEAD[2:])

#: Values of a setting that a sentence names.
NAMED = 4

#: Models over a smaller factor of parameters are few to speak of models at large.
DECADE = 10


class Finding(Enum):
    """What a journal shows of a claim; the value is what a user reads."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Weighed:
    """A claim's evidence in one view of censoring.

    Attributes:
        support: p-value of all judged parts being as claimed, at both extremes: the largest of theirs.
        against: p-value of one of them being the opposite: the smallest of theirs times their number.
        p_adjusted: the smaller of the two after Holm's correction, at both extremes.
        finding: what that shows.
        disagree: strata that are significantly the opposite of what all together show, which leaves it undecided.
    """

    support: Bounds
    against: Bounds
    p_adjusted: Bounds
    finding: Finding
    disagree: tuple[StratumFound, ...] = ()

    @property
    def p_value(self) -> Bounds:
        """Before the correction."""
        return Bounds(min(self.support.low, self.against.low), min(self.support.high, self.against.high))


@dataclass(frozen=True)
class Judged:
    """One claim, tested.

    Attributes:
        name: of the claim.
        statement: the hypothesis as it is tested.
        study: of the paper.
        parts: what each part found.
        question: whether no direction is claimed.
        honest: censored replicates may be anything above their lower bounds; None where a part has no cells.
        budget: what undertrained replicates fitted taken as the EMC of the procedure with its budget.
        reason: why it is undecided; empty where it is not.
    """

    name: str
    statement: str
    study: str
    parts: tuple[Found, ...]
    question: bool
    honest: Weighed | None
    budget: Weighed | None
    reason: str

    @property
    def finding(self) -> Finding:
        """At both extremes of censoring."""
        return Finding.UNDECIDED if self.honest is None else self.honest.finding

    @property
    def answer(self) -> str:
        """The finding in a word; of a question, whether EMC is raised or lowered."""
        return _answer(self.finding, self.question)

    @property
    def results(self) -> tuple[Measured, ...]:
        """All results that it rests on."""
        return tuple({id(result): result for part in self.parts for result in part.results}.values())

    @property
    def deciding(self) -> Found:
        """The part on which the finding hangs."""
        judged = _judged(self.parts, self.question)
        known = [part for part in judged if part.honest is not None]
        if self.finding is Finding.CONTRADICTED:
            return min(known, key=lambda part: _reading(part).against.high)
        return max(known, key=lambda part: _reading(part).support.high, default=judged[0])

    def row(self) -> list[str]:
        """Its line of the table; `HEAD` names the columns."""
        part = self.deciding
        if part.honest is None or self.honest is None or self.budget is None:
            return [self.name, self.answer, "", "", "", "", "none"]
        p = _p(self.honest.p_adjusted.high)
        budget = f"{_answer(self.budget.finding, self.question)}, p {_p(self.budget.p_adjusted.high)}"
        effect, interval = _bounds(part.honest.effect), _interval(part.honest.interval)
        return [self.name, self.answer, effect, interval, p, budget, _rests_on(part)]

    def sentence(self) -> str:
        """What was found, in plain words."""
        texts = [f"{self.answer}: {self.statement}"]
        texts += [self.reason[0].upper() + self.reason[1:] + "."] if self.reason else []
        texts += [_part_text(part) + "." for part in self.parts if part.honest is not None]
        if self.honest is not None and self.budget is not None:
            corrected = f"{_p(self.honest.p_adjusted.high)} after Holm's correction"
            p = f"The p-value is {_p(self.honest.p_value.high)}, {corrected}"
            budget = f"{_answer(self.budget.finding, self.question)}, p {_p(self.budget.p_adjusted.high)}"
            texts += [f"{p}; at this budget, where what undertrained replicates fitted is their EMC: {budget}."]
        texts += [f"Setting: {setting_text(self.results)}."] if self.results else []
        return " ".join(texts)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None is an open end."""
        return {
            "name": self.name,
            "statement": self.statement,
            "study": self.study,
            "question": self.question,
            "verdict": self.answer,
            "reason": self.reason,
            "sentence": self.sentence(),
            "honest": None if self.honest is None else _weighed_record(self.honest),
            "at_this_budget": None if self.budget is None else _weighed_record(self.budget),
            "parts": [_part_record(part) for part in self.parts],
            "results": [result.fingerprint for result in self.results],
        }

    def to_json(self) -> str:
        """The record as JSON text; never NaN or infinity."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)


@dataclass(frozen=True, repr=False)
class Claims(Tabular):
    """The paper's claims, tested on one journal.

    Attributes:
        claims: by study, in the order of the table.
        questions: what the paper asks without a direction; corrected among themselves.
        confidence: a p-value of at most one minus this decides.
        num_tested: claims that had cells, over which p-values are corrected.
        left_out: results that were not used: why, and how many.
    """

    claims: tuple[Judged, ...]
    questions: tuple[Judged, ...]
    confidence: float
    num_tested: int
    left_out: Mapping[str, int]

    def __getitem__(self, name: str) -> Judged:
        """One claim or question.

        Raises:
            UnknownNameError: there is none of that name.
        """
        CLAIMS.get(name)
        return next(each for each in (*self.claims, *self.questions) if each.name == name)

    def rows(self) -> list[tuple[str, str]]:
        """The sentences, and what was left out."""
        rows = [(each.name, each.sentence()) for each in (*self.claims, *self.questions)]
        left_out = "; ".join(f"{count} that {reason}" for reason, count in self.left_out.items())
        return [*rows, *([("results left out", left_out)] if left_out else []), ("method", self.method())]

    def method(self) -> str:
        """How the p-values and intervals were made."""
        return (
            f"p-values are two-sided and corrected by Holm's method over the {self.num_tested} claims that have cells "
            f"(questions among themselves); at most {1 - self.confidence:.4g} decides. A claim of several parts takes "
            "the largest p-value of its parts, its opposite the smallest times their number. Intervals are not "
            "corrected. Censored replicates are tried as small and as large as they may be, and the worse p-value "
            'counts; "at this budget" takes what undertrained ones fitted as their EMC'
        )

    def to_dict(self) -> dict[str, Any]:
        """The record that `--json` writes; None is an open end."""
        return {
            "confidence": self.confidence,
            "num_tested": self.num_tested,
            "method": self.method(),
            "claims": [each.to_dict() for each in self.claims],
            "questions": [each.to_dict() for each in self.questions],
            "left_out": dict(self.left_out),
        }

    def to_json(self) -> str:
        """The record as JSON text; never NaN or infinity."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_markdown(self) -> str:
        """Both tables, and a sentence for each line."""
        lines = _markdown(HEAD, [each.row() for each in self.claims])
        lines += ["", *(f"- **{each.name}**: {_escaped(each.sentence())}" for each in self.claims)]
        lines += ["", *_markdown(QUESTION_HEAD, [each.row() for each in self.questions])]
        lines += ["", *(f"- **{each.name}**: {_escaped(each.sentence())}" for each in self.questions)]
        return "\n".join([*lines, "", *(f"{name}: {_escaped(text)}." for name, text in self.rows()[-1:]), ""])


def claims(journal: str | os.PathLike[str], *, confidence: float = Measurement.confidence) -> Claims:
    """Put the paper's claims to a journal.

    Each claim is a hypothesis about results that are equal in all but one factor: such results are strata, and a
    replicate's numbers, log ratios of EMCs for the most part, are averaged over them, so that one exact test over
    replicates decides. Where a journal shows the opposite of a claim, that is a finding like any other.

    Args:
        journal: any journal, also a packed one; none needs to come from the figures.
        confidence: of the intervals; a corrected p-value of at most one minus this decides.

    Raises:
        JournalError: the journal cannot be read.
        SpecError: the confidence is out of range.
    """
    confidence = Measurement(confidence=confidence).confidence
    recorded = read_recorded(journal)
    found = weigh_claims(recorded.results, recorded.curves, confidence=confidence)
    failed = {"came to no end": len(recorded.failed)} if recorded.failed else {}
    return replace(found, left_out={**found.left_out, **failed})


def weigh_claims(
    results: Iterable[EmcResult], curves: Iterable[Curve] = (), *, confidence: float = Measurement.confidence
) -> Claims:
    """Put the paper's claims to results.

    Args:
        results: of measurements.
        curves: of which some claims can be told too.
        confidence: as for `claims`.
    """
    held, left_out = usable(results)
    whole = [curve for curve in curves if not curve.interrupted and curve.dataset.get("content_hash")]
    found = [(plugin, plugin.factory()) for plugin in CLAIMS]
    found.sort(key=lambda each: each[1].study)
    stated = [each for each in found if not each[1].question]
    asked = [each for each in found if each[1].question]
    judged, questions = (_judge(each, held, whole, confidence) for each in (stated, asked))
    tested = sum(each.honest is not None for each in judged)
    return Claims(judged, questions, confidence, tested, left_out)


def _judge(
    found: Sequence[tuple[Plugin[Claim], Claim]],
    results: Sequence[EmcResult],
    curves: Sequence[Curve],
    confidence: float,
) -> tuple[Judged, ...]:
    """Test all, and correct the p-values of those that have cells."""
    tests = [_tests(claim, results, curves, confidence) for _, claim in found]
    testable = [
        place
        for place, ((_, claim), parts) in enumerate(zip(found, tests, strict=True))
        if all(part.honest is not None for part in _judged(parts, claim.question))
    ]
    kept = [_judged(tests[place], found[place][1].question) for place in testable]
    honest = dict(zip(testable, _weigh(kept, _reading, confidence), strict=True))
    budget = dict(zip(testable, _weigh(kept, _at_budget, confidence), strict=True))
    judged = []
    for place, (plugin, claim) in enumerate(found):
        reason = _reason(claim, tests[place], honest.get(place), len(testable), confidence)
        facts = plugin.name, plugin.summary, claim.study, tests[place], claim.question
        judged.append(Judged(*facts, honest.get(place), budget.get(place), reason))
    return tuple(judged)


def _tests(claim: Claim, results: Sequence[EmcResult], curves: Sequence[Curve], confidence: float) -> tuple[Found, ...]:
    found = tuple(part.test(confidence) for part in claim.parts(results))
    if claim.of_curves is None or any(part.honest is not None for part in found):
        return found
    return tuple(part.test(confidence) for part in claim.of_curves(curves))


def _judged(parts: Sequence[Found], question: bool) -> list[Found]:
    return [part for part in parts if part.judged or question]


def _reading(part: Found | StratumFound) -> Reading:
    assert part.honest is not None  # asked only of parts that have cells
    return part.honest


def _at_budget(part: Found | StratumFound) -> Reading:
    assert part.budget is not None
    return part.budget


def _opposite(
    parts: Sequence[Found], view: Callable[[Found | StratumFound], Reading], finding: Finding, confidence: float
) -> list[StratumFound]:
    """Strata that by themselves are significantly the opposite of the finding, by Holm's method over their part's."""
    sides = {Finding.SUPPORTED: "against", Finding.CONTRADICTED: "support"}
    if finding not in sides:
        return []
    if finding is Finding.CONTRADICTED:  # by one part, of which alone the strata have to agree
        parts = [min(parts, key=lambda part: view(part).against.high)]
    found = []
    for part in parts:
        tested = [stratum for stratum in part.strata if stratum.honest is not None]
        tested = [] if len(part.strata) < 2 else tested
        corrected = holm([getattr(view(stratum), sides[finding]).high for stratum in tested])
        alpha = 1 - confidence + ROUNDING
        found += [stratum for stratum, p in zip(tested, corrected, strict=True) if p <= alpha]
    return found


def _weigh(
    kept: Sequence[Sequence[Found]], view: Callable[[Found | StratumFound], Reading], confidence: float
) -> list[Weighed]:
    """The evidence on each claim, corrected over all.

    All parts have to hold, which the largest p-value tests (intersection-union); one that is the opposite is enough
    against the claim, which the smallest times their number tests.

    References:
        Berger 1982, "Multiparameter hypothesis testing and acceptance sampling" (intersection-union tests).
    """
    pairs = []
    for parts in kept:
        each, other = ([getattr(view(part), side) for part in parts] for side in ("support", "against"))
        for_all = Bounds(max(p.low for p in each), max(p.high for p in each))
        count = len(parts)
        for_one = Bounds(*(min(1.0, count * min(getattr(p, end) for p in other)) for end in ("low", "high")))
        pairs.append((for_all, for_one))
    lows = holm([min(support.low, against.low) for support, against in pairs])
    highs = holm([min(support.high, against.high) for support, against in pairs])
    alpha = 1 - confidence + ROUNDING
    weighed = []
    for parts, (support, against), low, high in zip(kept, pairs, lows, highs, strict=True):
        finding = _finding(support, against, high <= alpha)
        disagree = tuple(_opposite(parts, view, finding, confidence))
        weighed.append(
            Weighed(support, against, Bounds(low, high), Finding.UNDECIDED if disagree else finding, disagree)
        )
    return weighed


def _finding(support: Bounds, against: Bounds, decided: bool) -> Finding:
    if not decided:
        return Finding.UNDECIDED
    return Finding.SUPPORTED if support.high < against.high else Finding.CONTRADICTED


def _reason(claim: Claim, parts: Sequence[Found], weighed: Weighed | None, tested: int, confidence: float) -> str:
    """Why a claim is undecided; empty where it is not."""
    judged = _judged(parts, claim.question)
    missing = [part.name for part in judged if part.honest is None]
    if weighed is None:
        if empty := [f"{part.name}: {part.why}" for part in judged if part.honest is None and part.why]:
            return f"nothing is left to compare, for {'; '.join(dict.fromkeys(empty))}"
        of = "" if len(missing) == len(judged) else f" for {' and '.join(missing)}"
        return f"no cells{of}; it takes {claim.needs}"
    if weighed.finding is not Finding.UNDECIDED:
        return ""
    if weighed.disagree:
        strata = "; ".join(f"{each.name} alone has {_bounds(each.effect)}" for each in weighed.disagree)
        return f"the strata disagree: {strata}"
    alpha = 1 - confidence + ROUNDING
    reasons = []
    if weighed.p_adjusted.low <= alpha:
        own = weighed.p_value.low != weighed.p_value.high
        what = f"what the censored replicates would be ({_censored(judged)})"
        others = "what the censored replicates of other claims would be, by Holm's correction"
        reasons.append(f"it depends on {what if own else others}")
    smallest = max(part.smallest_p for part in judged)
    if tested * smallest > alpha:
        fewest = max(judged, key=lambda part: part.smallest_p)
        reasons.append(
            f"too few {fewest.blocks} ({fewest.replicates}): their smallest p-value is {_p(smallest)}, too large for "
            f"{tested} {'question' if claim.question else 'claim'}{'' if tested == 1 else 's'}"
        )
    blocks = max(judged, key=lambda part: part.smallest_p).blocks
    held = any(count_censored(part.results) for part in judged)
    open_ = f", and lower bounds leave it open ({_censored(judged)})" if held else ""
    return (
        "; ".join(reasons) or f"the {blocks} differ too much, or the effect is too small, for so many to decide{open_}"
    )


_CENSORED = {
    "undertrained": "undertrained",
    "censored_above": "with the whole pool fitted",
    "diverged": "diverged",
    "failed": "failed",
}


def _censored(parts: Sequence[Found]) -> str:
    results = {id(result): result for part in parts for result in part.results}.values()
    counts = count_censored(results)
    total = sum(len(result.replicates) for result in results if isinstance(result, EmcResult))
    told = ", ".join(f"{count} {_CENSORED.get(key, key)}" for key, count in counts.items())
    return f"{told or 'some below one sample'} of {total}"


def _part_text(part: Found) -> str:
    reading = _reading(part)
    text = (
        f"{part.name[0].upper()}{part.name[1:]}: {part.effect_name} {_bounds(reading.effect)} "
        f"({100 * part.interval_confidence:.4g} % interval {_interval(reading.interval)}; {_rests_on(part)}"
        f"{'' if part.judged else '; shown only'})"
    )
    if part.budget is not None and part.budget.effect != reading.effect:
        text += f", at this budget {_bounds(part.budget.effect)} ({_interval(part.budget.interval)})"
    return "; ".join([text, *_spread(part), *part.notes])


def _rests_on(part: Found) -> str:
    """Strata, and over how many blocks of all of them the test goes."""
    return f"{len(part.strata)} {'stratum' if len(part.strata) == 1 else 'strata'}, {part.replicates} {part.blocks}"


def _spread(part: Found) -> list[str]:
    """How far strata are apart, and how many are on the other side than all together."""
    if len(part.strata) < 2:
        return []
    low, high = min(s.effect.low for s in part.strata), max(s.effect.high for s in part.strata)
    text = f"strata from {_number(low)} to {_number(high)}"
    side = _reading(part).side
    sides = [stratum.honest.side for stratum in part.strata if stratum.honest is not None]
    either = f", {sides.count(0)} either" if sides.count(0) else ""
    return [f"{text}, {sides.count(-side)} of {len(part.strata)} the other way{either}" if side and sides else text]


def setting_text(results: Sequence[Measured]) -> str:
    """Data, models, sizes, labels, inputs, optimizers and budgets of results, in one line."""
    texts = [_several(kind, (str(result.task[kind]) for result in results)) for kind in ("data", "labels", "inputs")]
    sizes = [result.parameters for result in results if result.parameters is not None]
    texts.insert(1, _models(results))
    if sizes:
        factor = max(sizes) / min(sizes)
        spread = f"{min(sizes):,} to {max(sizes):,} parameters, a factor of {factor:.2g}"
        spread += "" if factor >= DECADE else ", less than a decade: of larger models it says nothing"
        texts.insert(2, f"{sizes[0]:,} parameters, one size" if factor == 1 else spread)
    texts.append(
        _several("optimizer", (str(r.procedure.get("optimizer", "its own")).partition(":")[0] for r in results))
    )
    texts.append(_several("budget", map(_budget, results)))
    replicates = sorted({len(r.replicates) if isinstance(r, EmcResult) else r.draws for r in results})
    return "; ".join([*texts, f"{' or '.join(map(str, replicates))} replicates a cell"])


def _models(results: Sequence[Measured]) -> str:
    """All models where they are few, else how many of each family."""
    told = dict.fromkeys(
        str(r.procedure.get("model") or r.procedure.get("train") or r.procedure.get("command")) for r in results
    )
    if len(told) <= NAMED:
        return _several("models", told)
    families = Counter(model.partition(":")[0] for model in told)
    return f"{len(told)} models: {', '.join(f'{count} of {family}' for family, count in families.items())}"


def _budget(result: Measured) -> str:
    known = result.procedure
    if "min_steps" not in known:
        return "its own"
    passes = f"{known['max_epochs']:,} {'pass' if known['max_epochs'] == 1 else 'passes'}"
    return f"{known['min_steps']:,} steps or {passes}, whichever is more, in batches of {known['batch_size']:,}"


def _several(kind: str, values: Iterable[str]) -> str:
    found = list(dict.fromkeys(values))
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{kind} {' | '.join(found[:NAMED])}{more}"


def _answer(finding: Finding, question: bool) -> str:
    if not question:
        return finding.value
    return {
        Finding.SUPPORTED: "raises EMC",
        Finding.CONTRADICTED: "lowers EMC",
        Finding.UNDECIDED: "not decided",
    }[finding]


def _p(value: float) -> str:
    return f"{value:.2g}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "-infinity" if value < 0 else "infinity"
    return f"{value:.3g}" if abs(value) > ROUNDING else "0"


def _bounds(found: Bounds) -> str:
    low, high = _number(found.low), _number(found.high)
    return low if low == high else f"{low} to {high}"


def _interval(found: tuple[float, float]) -> str:
    return f"{_number(found[0])} to {_number(found[1])}"


def _closed(*values: float) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _weighed_record(weighed: Weighed) -> dict[str, Any]:
    names = ("p_value", "p_adjusted", "support", "against")
    found = {name: getattr(weighed, name) for name in names}
    return {"finding": weighed.finding.value} | {name: [p.low, p.high] for name, p in found.items()}


def _reading_record(reading: Reading | None) -> dict[str, Any] | None:
    if reading is None:
        return None
    bounds = {name: getattr(reading, name) for name in ("effect", "support", "against")}
    found = {name: _closed(b.low, b.high) for name, b in bounds.items()}
    return found | {"interval": _closed(*reading.interval)}


def _part_record(part: Found) -> dict[str, Any]:
    return {
        "name": part.name,
        "effect_name": part.effect_name,
        "judged": part.judged,
        "honest": _reading_record(part.honest),
        "at_this_budget": _reading_record(part.budget),
        "interval_confidence": _closed(part.interval_confidence)[0],
        "replicates": part.replicates,
        "smallest_p": part.smallest_p,
        "test": part.method,
        "censored": dict(part.censored),
        "notes": list(part.notes),
        "strata": [_stratum_record(stratum) for stratum in part.strata],
    }


def _stratum_record(stratum: StratumFound) -> dict[str, Any]:
    return {
        "name": stratum.name,
        "cells": list(stratum.cells),
        "effect": _closed(stratum.effect.low, stratum.effect.high),
        "interval": _closed(*stratum.interval),
        "replicates": stratum.replicates,
    }


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *([_escaped(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def detail_rows(judged: Judged) -> list[tuple[str, str]]:
    """One claim with all its strata and cells, as (name, text) pairs."""
    rows = [("claim", judged.name), ("study", judged.study), ("hypothesis", judged.statement)]
    rows.append(("conclusion", judged.sentence()))
    for part in judged.parts:
        if part.honest is None:
            rows.append((part.name, "no cells"))
            continue
        rows += [(part.name, _part_text(part)), ("test", part.method)]
        for stratum in part.strata:
            name = f"{stratum.name}: {_bounds(stratum.effect)} ({_interval(stratum.interval)})"
            rows += [("  stratum", f"{name}, {stratum.replicates} replicates")]
            rows += [("    cell", cell) for cell in stratum.cells]
    return rows
