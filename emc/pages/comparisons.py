"""The page's section of comparisons: measurements that differ in one setting, each pair put to `emc.compare`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from emc.comparison import Comparison, bounds_text, compare, interval_text
from emc.errors import ComparisonError
from emc.pages.parts import AT_LEAST, Cell, Column, Figure, Section, Source, Table, number
from emc.pages.settings import setting_text, settings_of, shortened, telling
from emc.results import EmcResult
from emc.specs import Measurement
from emc.stats.compare import ROUNDING, Contrast, Verdict, judge

#: Pairs that a page compares at most.
MOST = 500


@dataclass(frozen=True)
class Pair:
    """Two measurements that differ in one setting.

    Attributes:
        first, second: their places among the results.
        setting: in which they differ.
        values: of it, as text.
    """

    first: int
    second: int
    setting: str
    values: tuple[str, str]


def pairs(results: Sequence[EmcResult]) -> list[Pair]:
    """All pairs that differ in one setting, by setting."""
    made = [{"device": each.versions.get("device"), "results": each.versions.get("results")} for each in results]
    rows = [{**settings_of(result), **facts} for result, facts in zip(results, made, strict=True)]
    families = {name.partition(".")[0] for name in telling(rows)}
    rows = [{name: value for name, value in row.items() if name.partition(".")[0] in families} for row in rows]
    short = shortened(rows)
    found = []
    for (i, first), (j, second) in combinations(enumerate(rows), 2):
        names = telling([first, second])
        if len(names) == 1:
            values = setting_text(short[i].get(names[0])), setting_text(short[j].get(names[0]))
            found.append(Pair(i, j, names[0], values))
    return sorted(found, key=lambda pair: (pair.setting, pair.first, pair.second))


@dataclass(frozen=True)
class Compared:
    """A pair with what its comparison showed, judged together with the others of its setting."""

    pair: Pair
    comparison: Comparison

    @property
    def contrast(self) -> Contrast:
        """Of the first measurement with the second."""
        return self.comparison.contrasts[0]


def compared(results: Sequence[EmcResult], asked: Sequence[Pair]) -> tuple[list[Compared], Mapping[str, int]]:
    """The comparisons of pairs, p-values corrected by Holm's method among those of one setting.

    Returns:
        the comparisons, and how many pairs cannot be compared, by reason.
    """
    found: list[Compared] = []
    refused: Counter[str] = Counter()
    for pair in asked:
        try:
            found.append(Compared(pair, compare(results[pair.first], results[pair.second])))
        except ComparisonError as error:
            refused[str(error)] += 1
    judged: list[Compared] = []
    for setting in dict.fromkeys(each.pair.setting for each in found):
        family = [each for each in found if each.pair.setting == setting]
        contrasts = judge([each.contrast for each in family], Measurement.confidence)
        judged += [
            Compared(each.pair, replace(each.comparison, contrasts=(contrast,)))
            for each, contrast in zip(family, contrasts, strict=True)
        ]
    return judged, refused


def comparisons(results: Sequence[EmcResult]) -> Section:
    """All comparisons of pairs that differ in one setting."""
    asked = pairs(results)
    found, refused = compared(results, asked[:MOST])
    texts = [_INTRODUCTION] if found else ["No two measurements differ in one setting only."] if not asked else []
    if len(asked) > MOST:
        texts.append(f"{len(asked):,} pairs differ in one setting; the first {MOST:,} of them are compared.")
    texts += [f"{count:,} pairs not compared: {reason}." for reason, count in refused.items()]
    texts += _hopeless(found)
    rows = [_row(place + 1, each, results) for place, each in enumerate(found)]
    if not rows:
        return Section("comparisons", "Comparisons", texts)
    table = Table("Comparisons", _COLUMNS, rows)
    figure = Figure("ratios", "ratios", _CAPTION)
    return Section("comparisons", "Comparisons", texts, [figure], [table], {"ratios": _source(found)})


_INTRODUCTION = (
    "Pairs of measurements that differ in one setting, as emc compare puts them to the test. Replicates are paired "
    "where they had the same samples. p-values are corrected by Holm's method among the comparisons of the same "
    "setting; intervals are not. R paired replicates give no p-value below 2/2^R, so that none of m comparisons of one "
    f"setting can be decided where m times that is above {1 - Measurement.confidence:.4g}."
)
_CAPTION = (
    f"Ratio of EMCs of each comparison, numbered as in the table, with its {100 * Measurement.confidence:.4g} % "
    "interval or the widest that its replicates give. An arrow is an end that censored replicates leave open; a bar "
    "without a point has no one value because of them. Left of the dashed line the first fits fewer samples."
)
_COLUMNS = (
    Column("no.", True),
    Column("setting"),
    Column("first"),
    Column("second"),
    Column("measurements"),
    Column("ratio of EMCs"),
    Column("interval"),
    Column("p", True),
    Column("p after Holm", True),
    Column("verdict"),
    Column("pairing"),
)


#: What a comparison shows, in few words.
VERDICTS = {
    Verdict.LARGER: "first larger",
    Verdict.SMALLER: "first smaller",
    Verdict.NOT_SHOWN: "not decided",
    Verdict.UNDECIDED: "not decided: censored",
}


def _hopeless(found: Sequence[Compared]) -> list[str]:
    """A sentence for the settings of which nothing can be decided."""
    told = []
    for setting in dict.fromkeys(each.pair.setting for each in found):
        smallest = [each.contrast.smallest_p for each in found if each.pair.setting == setting]
        least = len(smallest) * min(smallest)
        if least > 1 - Measurement.confidence + ROUNDING:
            told.append(f"{setting} ({len(smallest):,} times {min(smallest):.2g} is {least:.2g})")
    return [f"So few replicates can decide no comparison of: {', '.join(told)}."] if told else []


def _row(place: int, each: Compared, results: Sequence[EmcResult]) -> tuple[Cell, ...]:
    pair, contrast = each.pair, each.contrast
    emcs = [(AT_LEAST if results[i].censored else "") + f"{results[i].emc:,}" for i in (pair.first, pair.second)]
    return (
        number(place),
        Cell(pair.setting),
        Cell(f"{pair.values[0]} (EMC {emcs[0]})"),
        Cell(f"{pair.values[1]} (EMC {emcs[1]})"),
        Cell(f"{pair.first + 1} and {pair.second + 1}"),
        Cell(bounds_text(contrast.ratio)),
        Cell(interval_text(contrast.interval)),
        Cell(bounds_text(contrast.p_value), contrast.p_value.high),
        Cell(bounds_text(contrast.p_adjusted), contrast.p_adjusted.high),
        Cell(VERDICTS[contrast.verdict]),
        Cell(each.comparison.pairings[0]),
    )


#: Open ends are drawn so much beyond all that are not.
_BEYOND = 1.3


def _source(found: Sequence[Compared]) -> Source:
    ends = [end for each in found for end in (*each.contrast.interval, each.contrast.ratio.value)]
    known = [1.0, *(end for end in ends if end and math.isfinite(end))]
    least, most = min(known) / _BEYOND, max(known) * _BEYOND
    rows: list[tuple[Any, ...]] = []
    for place, each in enumerate(found):
        contrast, (low, high) = each.contrast, each.contrast.interval
        ratio = contrast.ratio.value
        below, above = low <= 0, math.isinf(high)
        drawn = ratio if ratio and math.isfinite(ratio) else None
        shown = (drawn, least if below else low, most if above else high, below, above, VERDICTS[contrast.verdict])
        rows.append((place + 1, *shown, each.pair.setting, *each.pair.values))
    heads = ("number", "ratio", "low", "high", "below", "above", "verdict", "setting", "first", "second")
    labels = [
        f"{place}  {each.pair.setting}: {' / '.join(each.pair.values)}" for place, each in enumerate(found, start=1)
    ]
    return Source({"ratios": (heads, rows), "one": (("low",), [(1,)])}, {"ticks_labels": labels})
