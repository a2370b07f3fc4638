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
    "reference", "ratio", "ratio_open_below", "ratio_open_above", "ratio_low", "ratio_high", "ratio_bar_low",
    "ratio_bar_high", "p_value_at_most", "verdict", "pairing",
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

    `ratio`, `ratio_bar_low` and `ratio_bar_high` are estimate and interval as if every lower bound were an EMC;
    `ratio_low` and `ratio_high` are the ends that `emc.compare` gives, as far as censored replicates may move them.

    Args:
        result, reference: finished, of two replicates at least.
        name: of the reference.
    """
    compared = compare(result, reference)
    found, closed = compared.contrasts[0], compare(_closed(result), _closed(reference)).contrasts[0]
    value = closed.ratio.low
    return {
        "reference": name,
        "ratio": value,
        "ratio_open_below": found.ratio.low < value,
        "ratio_open_above": found.ratio.high > value,
        "ratio_low": found.interval[0],
        "ratio_high": found.interval[1],
        "ratio_bar_low": closed.interval[0],
        "ratio_bar_high": closed.interval[1],
        "p_value_at_most": found.p_value.high,
        "verdict": found.verdict.key,
        "pairing": compared.pairings[0],
    }


def _closed(result: EmcResult) -> EmcResult:
    """The result as if the lower bounds of its censored replicates were their EMCs."""
    return replace(
        result,
        replicates=tuple(
            replace(each, status=Status.BRACKETED, upper=each.lower) if each.status.right_censored else each
            for each in result.replicates
        ),
    )


def frame(rows: Iterable[Mapping[str, Any]], *columns: str, after: Sequence[str] = ()) -> pd.DataFrame:
    """Rows as a frame that has its columns even where there are no rows.

    Args:
        rows: one a mark.
        columns: of the study, which stand before those that all marks share.
        after: further ones behind them, such as `RATIO_COLUMNS`.
    """
    import pandas as pd

    return pd.DataFrame(list(rows), columns=[*columns, *MARK_COLUMNS, *after])
