"""Numbers that the tables of studies share: one EMC as a row, and its ratio to another one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from emc.comparison import compare
from emc.results import EmcResult, Replicate, Status
from emc.stats.intervals import far_below, interval

if TYPE_CHECKING:
    import pandas as pd

#: Columns of every mark that shows an EMC; a study puts its own before them.
MARK_COLUMNS = (
    "parameters", "emc", "censored", "status", "interval_low", "interval_high", "interval_method", "emc_per_parameter",
    "num_replicates", "num_censored", "num_undertrained", "num_far_below", "replicates", "test_accuracy", "rows",
    "steps", "seconds", "fingerprint",
)  # fmt: skip

#: Columns of a ratio of EMCs.
RATIO_COLUMNS = (
    "reference", "ratio", "ratio_open_below", "ratio_open_above", "ratio_low", "ratio_high", "p_value_at_most",
    "verdict", "pairing",
)  # fmt: skip


def mark(result: EmcResult) -> dict[str, Any]:
    """One EMC as a row; `interval_high` is infinite where censored replicates leave it open."""
    low, high = _ends(result)
    tested = [share for share in result.test_accuracy if share is not None]
    return {
        "parameters": result.parameters,
        "emc": result.emc,
        "censored": result.censored,
        "status": result.status.key,
        "interval_low": low,
        "interval_high": high,
        "interval_method": result.interval_method,
        "emc_per_parameter": result.emc_per_parameter,
        "num_replicates": len(result.replicates),
        "num_censored": sum(replicate.status.right_censored for replicate in result.replicates),
        "num_undertrained": sum(replicate.status is Status.UNDERTRAINED for replicate in result.replicates),
        "num_far_below": far_below(result.replicates),
        "replicates": " ".join(_text(replicate) for replicate in result.replicates),
        "test_accuracy": sum(tested) / len(tested) if tested else math.nan,
        "rows": result.dataset["rows"],
        "steps": result.cost["steps"],
        "seconds": result.cost["seconds"],
        "fingerprint": result.fingerprint,
    }


def _text(replicate: Replicate) -> str:
    return f"{'>=' if replicate.status.right_censored else ''}{replicate.emc}"


def _ends(result: EmcResult) -> tuple[float, float]:
    """The interval; where censoring opens its upper end, the lower end, which no censored replicate moves."""
    if result.interval is not None:
        return result.interval
    closed = [
        replace(each, status=Status.BRACKETED, upper=2 * max(each.lower, 1)) if each.status.right_censored else each
        for each in result.replicates
    ]
    if not closed:
        return math.nan, math.nan
    ends = interval(closed, result.confidence)
    # Student's interval has no lower end of its own: its width needs every bracket.
    if ends.ends is None or not ends.method.startswith("order statistics"):
        return math.nan, math.inf if result.censored else math.nan
    return ends.ends[0], math.inf


def ratio(result: EmcResult, reference: EmcResult, name: str) -> dict[str, Any]:
    """EMC of a result over that of another one, paired by replicate where samples agree (`emc.compare`).

    A ratio that censored replicates leave open is its bound: the smallest it may be where only the result's are
    censored, the largest where only the reference's are, and the ratio of both bounds where both are.

    Args:
        result, reference: finished, of two replicates at least.
        name: of the reference.
    """
    compared = compare(result, reference)
    found = compared.contrasts[0]
    closed = found.ratio.value is not None
    open_above = not closed and any(each.status.right_censored for each in result.replicates)
    open_below = not closed and any(each.status.right_censored for each in reference.replicates)
    low, high = found.interval
    return {
        "reference": name,
        "ratio": _ratio(found.ratio.low, found.ratio.high, open_below, open_above, result, reference),
        "ratio_open_below": open_below,
        "ratio_open_above": open_above,
        "ratio_low": 0.0 if open_below else low,
        "ratio_high": math.inf if open_above else high,
        "p_value_at_most": found.p_value.high,
        "verdict": found.verdict.key,
        "pairing": compared.pairings[0],
    }


def _ratio(low: float, high: float, below: bool, above: bool, result: EmcResult, reference: EmcResult) -> float:
    if below and above:
        return result.emc / reference.emc if reference.emc else math.nan
    return high if below else low


def frame(rows: Iterable[Mapping[str, Any]], *columns: str, after: Sequence[str] = ()) -> pd.DataFrame:
    """Rows as a frame that has its columns even where there are no rows.

    Args:
        rows: one a mark.
        columns: of the study, which stand before those that all marks share.
        after: further ones behind them, such as `RATIO_COLUMNS`.
    """
    import pandas as pd

    return pd.DataFrame(list(rows), columns=[*columns, *MARK_COLUMNS, *after])
