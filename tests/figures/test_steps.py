from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from studied import Recorded, drawn, made, spread, study_of, taken_of

from emc.results import EmcResult, Evidence, ProbeResult, Status, Verdict

STUDY = study_of("steps")


def probed(_: int, cell: Any) -> EmcResult:
    """Replicates with EMCs around 100 whose fits take ten times n steps, and a failure each."""
    found = made(cell, spread(100))
    fits = [
        ProbeResult(f"{found.fingerprint} {r.replicate} {n}", n, r.replicate, 0, Verdict.FITTED, None, n, steps=10 * n)
        for r in found.replicates
        for n in (16, 32, 64, r.lower)
    ]
    failed = [
        ProbeResult(f"{found.fingerprint} {r} 128", 128, r, 0, Verdict.NOT_FITTED, Evidence.BUDGET, 100, steps=9999)
        for r in range(10)
    ]
    return replace(found, probes=(*fits, *failed))


def test_every_fitted_probe_of_a_known_replicate_is_a_row() -> None:
    taken = taken_of("steps", probed)
    table = STUDY.table(taken)
    assert len(table) == 40 * len(taken.results)
    assert (table["steps"] == 10 * table["n"]).all()
    assert (table["n"] <= table["emc"]).all()


def test_other_optimizers_and_censored_replicates_are_left_out() -> None:
    taken = taken_of("steps", probed)
    first = taken.results[0][1]
    foreign = [
        replace(first, procedure={**first.procedure, **change}, fingerprint=f"other {change}")
        for change in ({"optimizer": "sgd:lr=0.1"}, {"check_steps": 25}, {"min_steps": 50}, {"activation": "tanh"})
    ]
    open_ = replace(
        first, fingerprint="open", replicates=tuple(replace(r, status=Status.UNDERTRAINED) for r in first.replicates)
    )
    more = Recorded((*taken.recorded.results, *foreign, open_), (), taken.recorded.cells, {})
    assert len(STUDY.table(replace(taken, recorded=more))) == len(STUDY.table(taken))


def test_families_of_few_probes_are_left_out_and_the_caption_is_of_the_rows() -> None:
    taken = taken_of("steps", probed)
    first = taken.results[0][1]
    procedure = {**first.procedure, "model": "vit:dim=4"}
    few = replace(first, procedure=procedure, fingerprint="few", probes=first.probes[:20])
    more = Recorded((*taken.recorded.results, few), (), taken.recorded.cells, {})
    table = STUDY.table(replace(taken, recorded=more))
    assert set(table["family"]) == {"mlp", "cnn"}
    digits = (table["data"] == "digits").sum()
    assert f"{digits:,} on digits" in STUDY.tells(table)
    assert "vit" not in STUDY.tells(table)
    assert STUDY.measured(taken).startswith("Training: adam, batches of up to 2,048 samples, budget of at least 25,000")


def test_the_running_median_is_that_of_the_steps() -> None:
    table = STUDY.table(taken_of("steps", probed))
    figure = drawn(STUDY, table)
    assert [axes.get_title().partition(",")[0] for axes in figure.axes] == ["MLP", "CNN"]
    (median,) = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.5 and line.get_linestyle() == "-"]
    for share, steps in zip(median.get_xdata(), median.get_ydata(), strict=True):
        assert steps == pytest.approx(1000 * share, rel=0.15)
