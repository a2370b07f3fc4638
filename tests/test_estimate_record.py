from __future__ import annotations

import json
from dataclasses import replace

import pytest

from emc.estimate_record import Climbed, Estimate
from emc.results import ProbeResult, Verdict
from emc.specs import Measurement
from emc.stats.steps_to_fit import STUDY


@pytest.fixture
def record() -> Estimate:
    measurement = Measurement()
    probes = tuple(ProbeResult(str(n), n, 0, 0, Verdict.FITTED, steps=10 * n) for n in (16, 22, 30))
    return Estimate(
        emc=45,
        censored=False,
        reason="",
        interval=(30.25, 70.5),
        interval_method="bootstrap",
        confidence=0.95,
        largest=30,
        steps=300,
        law="log steps is linear in n",
        climbs=(Climbed(0, 30, 300, "near its limit"), Climbed(1, 0, 0, "ended at a probe that failed")),
        parameters=1_234,
        task=measurement.task.to_dict(),
        procedure=measurement.procedure.to_dict(),
        search=measurement.search.to_dict(),
        dataset={"rows": 1_797},
        seed=0,
        fingerprint="0123",
        probes=probes,
        cost={"probes": 3, "steps": 680, "sample_steps": 20_000, "seconds": 1.25},
        full_cost={"probes": 60, "steps": 1e6, "sample_steps": 1.5e8, "flops": 1e12},
        versions={"emc": "0"},
    )


def test_json_and_back(record: Estimate) -> None:
    values = json.loads(record.to_json())
    assert (values["kind"], values["ratio"], values["study"]["settings"]) == ("estimate", 1.5, STUDY.settings)
    assert Estimate.from_dict(values) == record
    open_end = replace(record, censored=True, interval=None, reason="too few")
    assert Estimate.from_dict(json.loads(open_end.to_json())) == open_end


def test_rows(record: Estimate) -> None:
    rows = dict(record.rows())
    assert rows["estimated EMC"] == "45 (no measurement)"
    assert rows["95 % interval"] == "30.25 to 70.5 (bootstrap)"
    assert rows["how far to trust it"] == STUDY.sentence()
    source = "3 fitted sizes up to n = 30, which took 300 steps; the estimate is 1.5 times that"
    assert rows["extrapolated from"] == source
    assert rows["replicates"] == "up to 30 0 (1 near its limit, 1 ended at a probe that failed)"
    assert rows["cost"] == ("3 probes, 680 steps, 20,000 samples seen, 1.2 s; a full measurement sees at most 1.5e+08")


def test_a_refusal_is_a_lower_bound_with_its_reason(record: Estimate) -> None:
    rows = dict(replace(record, emc=30, censored=True, interval=None, interval_method="x", reason="too few").rows())
    assert rows["estimated EMC"] == ">= 30 (too few)"
    assert rows["95 % interval"] == "none (x)"
    assert rows["extrapolated from"] == "3 fitted sizes up to n = 30, which took 300 steps"
    assert {"law", "how far to trust it"}.isdisjoint(rows)
    assert not record.interrupted
    assert replace(record, climbs=(Climbed(0, 30, 300, "interrupted"),)).interrupted


def test_nothing_fitted_is_said(record: Estimate) -> None:
    rows = dict(replace(record, emc=0, censored=True, interval=None, reason="x", largest=0, probes=()).rows())
    assert rows["extrapolated from"] == "nothing: no probe was fitted"
