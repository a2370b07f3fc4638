from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from emc.results import EmcResult, Evidence, ProbeResult, Replicate, RunningProbe, Status, Verdict, unused

MakeResult = Callable[..., EmcResult]

KINDS = ["bracketed", "undertrained", "non_monotone", "censored", "diverged", "interrupted"]
RIGHT_CENSORED = {Status.CENSORED_ABOVE, Status.UNDERTRAINED, Status.DIVERGED, Status.FAILED, Status.INTERRUPTED}


def row(result: EmcResult, name: str) -> str:
    return dict(result.rows())[name]


def reread(result: EmcResult) -> EmcResult:
    return EmcResult.from_dict(json.loads(result.to_json()))


def probe(
    key: str, verdict: Verdict = Verdict.NOT_FITTED, evidence: Evidence | None = None, **more: Any
) -> ProbeResult:
    return ProbeResult(key, n=20, replicate=0, attempt=0, verdict=verdict, evidence=evidence, **more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("replicates", [1, 3, 6])
def test_a_result_survives_json(make_result: MakeResult, kind: str, replicates: int) -> None:
    result = make_result(kind, replicates)
    assert reread(result) == result


@pytest.mark.parametrize("status", Status)
def test_every_status_survives_json(make_result: MakeResult, status: Status) -> None:
    ends = Replicate(0, 0, 1, status, "key", (3, 5))
    assert Replicate.from_dict(json.loads(json.dumps(ends.to_dict()))) == ends
    result = replace(make_result(), status=status, replicates=(ends,))
    assert reread(result) == result
    assert json.loads(result.to_json())["status"] == status.name.lower()


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("evidence", [None, *Evidence])
def test_every_verdict_and_evidence_survives_json(verdict: Verdict, evidence: Evidence | None) -> None:
    result = probe("key", verdict, evidence, correct=3, loss=0.25, detail={"gain": 1e-3, "stopped": "stall"})
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert ProbeResult.from_dict(values) == result
    assert values["verdict"] == verdict.name.lower()
    assert values["evidence"] == (None if evidence is None else evidence.name.lower())


def test_a_record_says_what_can_be_derived_from_it(make_result: MakeResult) -> None:
    record = json.loads(make_result().to_json())
    assert record["emc_per_parameter"] == record["emc"] / record["parameters"] == 100 / 1210
    assert [entry["emc"] for entry in record["replicates"]] == [100, 92, 108, 97, 104, 112]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_no_nan_or_infinity_is_ever_written(make_result: MakeResult, loss: float) -> None:
    result = make_result()
    broken = replace(result, probes=(replace(result.probes[0], loss=loss),))
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        broken.to_json()


def test_the_statuses_that_only_bound_from_below() -> None:
    assert {status for status in Status if status.right_censored} == RIGHT_CENSORED
    undertrained = {Evidence.BUDGET, Evidence.UNSTABLE, Evidence.SADDLE}
    assert {evidence for evidence in Evidence if evidence.undertrained} == undertrained


@pytest.mark.parametrize("kind", KINDS)
def test_a_bound_is_printed_as_one_wherever_the_emc_stands(make_result: MakeResult, kind: str) -> None:
    result = make_result(kind)
    mark = ">= " if result.status in RIGHT_CENSORED else ""
    assert row(result, "EMC") == f"{mark}100"
    assert row(result, "EMC per parameter") == f"{mark}0.08264"
    assert row(result, "bits per parameter") == f"{mark}0.2745"


def test_bits_are_shown_only_where_labels_are_random(make_result: MakeResult) -> None:
    assert "bits per parameter" not in dict(make_result(bits_per_parameter=None).rows())


def test_sizes_are_shown_where_they_are_known(make_result: MakeResult) -> None:
    """Earlier records know what is trained only, and are read as they were."""
    before = make_result()
    now = replace(before, stored=1300, bits=9680, bits_per_bit=0.0343)
    assert row(before, "parameters") == "1,210"
    assert row(now, "parameters") == "1,210 trained, 1,300 stored, 9,680 bits"
    assert row(now, "label bits per bit") == "0.0343"
    unknown = replace(now, bits=None, bits_per_bit=None)
    assert row(unknown, "parameters") == "1,210 trained, 1,300 stored, bits not known with weights from a file"
    assert EmcResult.from_dict(json.loads(unknown.to_json())) == unknown
    record = json.loads(before.to_json())
    for name in ("stored", "bits", "bits_per_bit"):
        del record[name]
    assert EmcResult.from_dict(record) == before
    assert EmcResult.from_dict(json.loads(now.to_json())) == now
    with pytest.raises(TypeError, match="bits"):
        EmcResult.from_dict({**record, "bits": "many"})


def test_a_reparameterisation_is_part_of_the_procedure(make_result: MakeResult) -> None:
    result = make_result()
    dressed = replace(result, procedure={**result.procedure, "reparam": "subspace:dim=9"})
    assert row(dressed, "procedure") == "mlp:width=16, adam, reparam subspace:dim=9"


def test_each_censored_replicate_is_marked(make_result: MakeResult) -> None:
    result = make_result()
    found = (*result.replicates[:2], replace(result.replicates[2], status=Status.UNDERTRAINED))
    assert row(replace(result, replicates=found), "replicates") == "100 92 >=108 (2 bracketed, 1 undertrained)"


def test_the_interval_names_its_confidence_and_method(make_result: MakeResult) -> None:
    result = make_result(confidence=0.9)
    assert row(result, "90 % interval") == "92 to 117 (order statistics)"
    assert row(make_result(replicates=1), "95 % interval") == "none (one replicate)"
    assert row(make_result(confidence=0.995), "99.5 % interval") == "92 to 117 (order statistics)"


@pytest.mark.parametrize("status", Status)
def test_the_status_is_followed_by_its_sentence(make_result: MakeResult, status: Status) -> None:
    assert row(make_result(status=status), "status") == f"{status.name.lower()}: {status.value}"


def test_the_whole_table(make_result: MakeResult) -> None:
    result = make_result("bracketed", 3, fingerprint="f00", lower=97)
    result = replace(result, cost={"probes": 1234, "steps": 56789.0, "sample_steps": 1, "seconds": 4321.06})
    assert result.rows() == [
        ("EMC", "100"),
        ("95 % interval", "92 to 117 (order statistics)"),
        ("status", "bracketed: both ends of the bracket are verified probes"),
        ("replicates", "100 92 108 (3 bracketed)"),
        ("estimand", "n50"),
        ("parameters", "1,210"),
        ("EMC per parameter", "0.08264"),
        ("bits per parameter", "0.2745"),
        ("deciding evidence", "3 noise_floor"),
        ("procedure", "mlp:width=16, adam"),
        ("data", "digits, random labels, natural inputs; 1,797 rows, 0 repeats (0 with another label)"),
        ("cost", "1,234 probes, 56,789 steps, 4,321.1 s"),
        ("fingerprint", "f00"),
    ]


def test_what_is_on_is_part_of_the_procedures_name(make_result: MakeResult) -> None:
    """What is off is not, nor what an older record does not know."""
    result = make_result()
    plain = {name: result.procedure[name] for name in ("model", "optimizer")}
    on = {"label_smoothing": 0.1, "clip_norm": 1.0, "augment": "flip_crop:padding=4", "init": "default"}
    assert row(replace(result, procedure=plain), "procedure") == row(result, "procedure") == "mlp:width=16, adam"
    expected = "mlp:width=16, adam, augment flip_crop:padding=4, clip norm 1.0, label smoothing 0.1"
    assert row(replace(result, procedure={**plain, **on}), "procedure") == expected


def test_text_is_the_table_in_two_aligned_columns(make_result: MakeResult) -> None:
    result = make_result()
    lines = str(result).splitlines()
    assert lines[0] == "EMC                 100"
    assert [(line[:18].rstrip(), line[20:]) for line in lines] == result.rows()
    assert repr(result) == str(result)


def test_evidence_is_counted_over_the_deciding_failures_only(make_result: MakeResult) -> None:
    result = make_result()
    assert sum(probe.evidence is not None for probe in result.probes) > 6
    assert result.deciding_evidence == {"noise_floor": 6}
    probes = (
        probe("a", evidence=Evidence.STATIONARY),
        probe("b", evidence=Evidence.INFEASIBLE),
        probe("c", evidence=Evidence.STATIONARY),
        probe("not deciding", evidence=Evidence.MINIMUM),
        probe("fitted", Verdict.FITTED),
    )
    found = tuple(Replicate(i, 10, 20, Status.BRACKETED, key) for i, key in enumerate("abc"))
    mixed = replace(result, probes=probes, replicates=(*found, Replicate(3, 20, None, Status.CENSORED_ABOVE)))
    assert mixed.deciding_evidence == {"infeasible": 1, "stationary": 2}
    assert row(mixed, "deciding evidence") == "1 infeasible, 2 stationary"


def test_without_replicates_the_estimator_says_what_decided_and_what_to_show(make_result: MakeResult) -> None:
    probes = (
        probe("a", evidence=Evidence.STATIONARY),
        probe("b", evidence=Evidence.BUDGET),
        probe("c", Verdict.FITTED),
        probe("d", Verdict.DIVERGED),
    )
    detail = {"deciding": ["a", "b"], "table": {"verdicts": "1 fitted, 2 not_fitted"}}
    result = replace(make_result(), replicates=(), probes=probes, detail=detail)
    assert result.deciding_evidence == {"budget": 1, "stationary": 1}
    assert row(result, "verdicts") == "1 fitted, 2 not_fitted"
    assert "replicates" not in dict(result.rows())


def test_without_a_failure_nothing_decided(make_result: MakeResult) -> None:
    result = make_result("censored")
    assert result.deciding_evidence == {}
    assert row(result, "deciding evidence") == "no failure"


def test_html_is_the_table_with_everything_escaped(make_result: MakeResult) -> None:
    result = make_result()
    evil = replace(
        result,
        procedure=result.procedure | {"model": "<script>alert('x')</script>"},  # type: ignore[operator]
        task=result.task | {"data": 'csv:path=a&b,target="t"'},  # type: ignore[operator]
        fingerprint="<b>",
    )
    page = evil._repr_html_()
    assert "<script>alert(&#x27;x&#x27;)" not in page
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;, adam" in page
    assert "csv:path=a&amp;b,target=&quot;t&quot;" in page
    assert set(re.findall(r"</?(\w+)", page)) == {"table", "tr", "th", "td"}
    assert page.count("<tr>") == len(evil.rows())


def test_html_shows_a_bound_as_one(make_result: MakeResult) -> None:
    assert "&gt;= 100<" in make_result("undertrained")._repr_html_()


def test_a_frame_has_a_row_for_each_probe_with_accuracy_a_share_and_time_in_seconds(make_result: MakeResult) -> None:
    result = make_result()
    frame = result.to_frame()
    assert len(frame) == len(result.probes)
    assert {
        "n",
        "replicate",
        "attempt",
        "verdict",
        "evidence",
        "correct",
        "accuracy",
        "loss",
        "steps",
        "seconds",
    } <= set(frame.columns)
    assert "detail" not in frame.columns
    for (_, line), probe in zip(frame.iterrows(), result.probes, strict=True):
        assert line["accuracy"] == probe.correct / probe.n
        assert (line["n"], line["replicate"], line["steps"]) == (probe.n, probe.replicate, probe.steps)
        assert line["seconds"] == probe.seconds == 0.5
        assert line["verdict"] == probe.verdict.name.lower()
    fitted = frame["verdict"] == "fitted"
    assert (frame.loc[fitted, "accuracy"] == 1).all()
    assert (frame.loc[~fitted, "accuracy"] < 1).all()
    assert frame.loc[fitted, "evidence"].isna().all()
    assert set(frame.loc[~fitted, "evidence"]) == {"noise_floor"}


def test_a_frame_of_no_probes_is_empty(make_result: MakeResult) -> None:
    assert len(make_result(probes=()).to_frame()) == 0


def running(steps: int, seconds: float) -> RunningProbe:
    return RunningProbe(20, 0, 0, 3, steps, 100, sample_steps=8 * steps, seconds=seconds)


def test_what_was_trained_and_not_used_is_counted() -> None:
    spent = {"steps": 10, "sample_steps": 80, "seconds": 0.5}
    used, beside = probe("a", **spent), probe("b", **spent)
    assert unused([used], [used], []) == {}
    assert unused([used], [beside, used], []) == {"probes": 1, "unfinished": 0, **spent}
    assert unused([used], [used, used], []) == {"probes": 1, "unfinished": 0, **spent}, "trained twice, used once"
    found = unused([used], [beside], [running(3, 0.25), running(4, 0.25)])
    assert found == {"probes": 1, "unfinished": 2, "steps": 17, "sample_steps": 136, "seconds": 1.0}


def test_the_cost_row_says_what_was_not_used(make_result: MakeResult) -> None:
    result = make_result()
    plain = row(result, "cost")
    assert "not used" not in plain
    for found, text in (
        ({"probes": 1, "unfinished": 0}, "1 probe"),
        ({"probes": 0, "unfinished": 2}, "2 broken off"),
        ({"probes": 3, "unfinished": 2}, "3 probes, 2 broken off"),
    ):
        spent = replace(result, unused={**found, "steps": 1700, "sample_steps": 9, "seconds": 1.25})
        assert row(spent, "cost") == f"{plain}; also trained and not used: {text}, 1,700 steps, 1.2 s"
        assert reread(spent) == spent


def test_a_record_of_before_unused_was_counted_is_read(make_result: MakeResult) -> None:
    result = make_result()
    values = {key: value for key, value in result.to_dict().items() if key != "unused"}
    assert EmcResult.from_dict(values) == result


def test_repeats_that_were_not_looked_for_are_not_none(make_result: MakeResult) -> None:
    result = make_result()
    unknown = replace(result, dataset={**result.dataset, "repeats": None, "conflicts": None})
    assert dict(unknown.rows())["data"].endswith("1,797 rows, repeats not looked for")
