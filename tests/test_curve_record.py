from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from emc import texts
from emc.curve_record import CoverCheck, Curve, CurvePoint
from emc.errors import OutputError
from emc.results import Evidence, ProbeResult, Verdict
from emc.stats.cover import band

MakeCurve = Callable[..., Curve]


def probe(draw: int, verdict: Verdict, correct: int, evidence: Evidence | None = None) -> ProbeResult:
    return ProbeResult(f"{draw}", 20, draw, 0, verdict, evidence, correct, steps=100, seconds=0.5)


def test_a_point_sums_up_its_draws() -> None:
    draws = [
        probe(0, Verdict.FITTED, 20),
        probe(1, Verdict.NOT_FITTED, 18, Evidence.BUDGET),
        probe(2, Verdict.NOT_FITTED, 16, Evidence.INFEASIBLE),
        probe(3, Verdict.DIVERGED, 0),
        probe(4, Verdict.FAILED, 0),
    ]
    point = CurvePoint.of(20, draws, 5, 0.95)
    assert (point.fits, point.failures, point.undertrained, point.diverged, point.missing) == (1, 2, 1, 2, 0)
    assert point.fit_share == pytest.approx(1 / 3)
    assert point.fit_interval == pytest.approx((0.0615, 0.7923), abs=5e-5)  # Wilson, 1 of 3
    assert point.accuracy == pytest.approx(0.9)
    assert point.accuracy_interval == pytest.approx((0.8, 1.0))
    assert (point.steps, point.seconds) == (500, 2.5)


def test_a_point_with_missing_draws_has_no_share() -> None:
    point = CurvePoint.of(20, [probe(0, Verdict.FITTED, 20)], 2, 0.95)
    assert (point.missing, point.fit_share, point.fit_interval, point.accuracy) == (1, None, None, None)


def test_the_table(make_curve: MakeCurve) -> None:
    rows = dict(make_curve().rows())
    assert rows["EMC (n50)"] == "13.2"
    assert rows["95 % interval"] == "11.5 to 15 (posterior)"
    assert rows["Cover's theorem"] == ("inside the band that 95 % of curves stay in, all 5 sizes at once; n50 is 14")
    assert rows["11"].split() == ["8/10", "0.800", "0.490-0.943", "0.9636", "0.9091-1.0000", "0", "0"]
    assert "undertrained" not in rows
    assert rows["cost"] == "50 probes, 50,000 steps, 25.0 s"


def test_every_line_of_the_table_stands_in_one_line(make_curve: MakeCurve) -> None:
    text = texts.plain_table(make_curve().rows())
    columns = [line for line in text.splitlines() if line.split()[0] in {"n", "8", "11", "14", "18", "24"}]
    assert len(columns) == 6
    assert len({len(line) for line in columns}) == 1


def test_points_outside_are_named(make_curve: MakeCurve) -> None:
    check = CoverCheck(6, band([8, 11], [10, 10], 6, 0.95), (8, 11), 0.95)
    assert not check.inside
    text = dict(make_curve(cover=check).rows())["Cover's theorem"]
    assert text.startswith("outside, at n = 8, 11, the band that 95 % of curves stay in")


def test_a_lower_bound_is_marked(make_curve: MakeCurve) -> None:
    curve = make_curve(Evidence.BUDGET)
    assert curve.fitted is not None
    rows = dict(replace(curve, fitted=replace(curve.fitted, censored=True)).rows())
    assert rows["EMC (n50)"] == ">= 13.2"
    assert rows["undertrained"] == (
        "27 of 27 failures; there P(fit) is a lower bound for the procedure trained to its end"
    )


def test_a_curve_survives_its_file(make_curve: MakeCurve, tmp_path: Path) -> None:
    for curve in (make_curve(), make_curve(Evidence.BUDGET, fitted=None, cover=None)):
        texts.write_result(curve, tmp_path / "c.json")
        assert texts.read_record(tmp_path / "c.json") == curve
    with pytest.raises(OutputError, match=r'must hold an EMC result, got ".*c\.json" \(a curve\)'):
        texts.read_result(tmp_path / "c.json")


def test_the_record_says_what_it_is(make_curve: MakeCurve) -> None:
    record = json.loads(make_curve().to_json())
    assert (record["kind"], record["n50"], record["cover"]["inside"]) == ("curve", 13.2, True)
    assert {"draws", "points", "fitted", "probes", "task", "procedure", "seed", "versions"} <= set(record)
