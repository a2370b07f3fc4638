"""Results of several sizes as a power law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import emc
from emc import texts
from emc.errors import ComparisonError, EmcError, SpecError
from emc.results import EmcResult, Replicate, Status

MakeResult = Callable[..., EmcResult]


def sizes(make_result: MakeResult, **changes: Any) -> list[EmcResult]:
    """Three results whose EMC is half the parameters."""
    facts = {**make_result().dataset, "content_hash": "abc"}
    return [
        replace(
            make_result(),
            parameters=2 * emc_,
            dataset=facts,
            replicates=tuple(Replicate(r, emc_ + r, emc_ + r + 1, Status.BRACKETED) for r in range(6)),
            **changes,
        )
        for emc_ in (1000, 2000, 4000)
    ]


def test_results_of_one_pool_are_paired(make_result: MakeResult) -> None:
    found = sizes(make_result)
    law = emc.power_law(found)
    assert law.exponent == pytest.approx(1, abs=0.01)
    assert law.factor == pytest.approx(0.5, rel=0.05)
    assert law.paired
    other = replace(found[2], seed=7)
    assert not emc.power_law([*found[:2], other]).paired
    assert emc.power_law(found, confidence=0.8).confidence == 0.8


def test_what_results_differ_in_is_told(make_result: MakeResult) -> None:
    """Several families, or several budgets, have one exponent that is none of theirs."""
    found = sizes(make_result)
    assert "differ in" not in dict(emc.power_law(found).rows())
    models = ["mlp:width=2", "mlp:width=4", "cnn:width=2"]
    mixed = [replace(r, procedure={**r.procedure, "model": m}) for r, m in zip(found, models, strict=True)]
    law = emc.power_law(mixed)
    assert law.to_dict()["differences"] == {"model": models}
    assert dict(law.rows())["differ in"] == "model mlp:width=2 | mlp:width=4 | cnn:width=2"


def test_what_cannot_be_fitted_is_told(make_result: MakeResult) -> None:
    found = sizes(make_result)
    with pytest.raises(ComparisonError, match="got none in result 2; leave it out"):
        emc.power_law([found[0], replace(found[1], parameters=None), found[2]])
    with pytest.raises(ComparisonError, match="must have one estimand"):
        emc.power_law([*found[:2], replace(found[2], estimand="another")])
    with pytest.raises(ComparisonError, match="only finished results can be compared, got the interrupted 3"):
        emc.power_law([*found[:2], replace(found[2], status=Status.INTERRUPTED)])
    with pytest.raises(ComparisonError, match="at least 3 sizes whose replicates are all known, got 0 of 0"):
        emc.power_law([])
    with pytest.raises(ComparisonError, match="at least 3 sizes whose replicates are all known, got 1 of 1"):
        emc.power_law([found[0]] * 3)
    with pytest.raises(ComparisonError, match="at least 100, got 5"):
        emc.power_law(found, resamples=5)
    with pytest.raises(SpecError, match="--confidence must be between"):
        emc.power_law(found, confidence=2)
    for wrong in ({"confidence": "high"}, {"seed": -1}, {"seed": "a"}, {"resamples": "many"}, {"resamples": 1e4}):
        with pytest.raises(EmcError, match=f"{next(iter(wrong))}.*got"):
            emc.power_law(found, **wrong)


def test_files_are_read(make_result: MakeResult, tmp_path: Path) -> None:
    found = sizes(make_result)
    paths = [tmp_path / f"{place}.json" for place in range(3)]
    for path, result in zip(paths, found, strict=True):
        texts.write_result(result, path)
    assert emc.power_law(paths).to_dict() == emc.power_law(found).to_dict()


def test_what_is_no_result_is_told(make_result: MakeResult, make_curve: Callable[..., Any]) -> None:
    with pytest.raises(
        ComparisonError, match="results compared are EmcResults, or paths of their files, got a value of type Curve"
    ):
        emc.power_law([*sizes(make_result), make_curve()])
    for wrong in (3, "a.json", make_result()):
        with pytest.raises(ComparisonError, match=r"takes a list of results, got .*; write"):
            emc.power_law(wrong)  # type: ignore[arg-type]
    with pytest.raises(
        ComparisonError, match="results compared are EmcResults, or paths of their files, got a value of type int"
    ):
        emc.compare(1, 2)  # type: ignore[arg-type]
