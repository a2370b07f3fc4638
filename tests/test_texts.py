from __future__ import annotations

import io
import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from emc import texts
from emc.errors import OutputError
from emc.results import EmcResult, Evidence, Status, Verdict
from emc.specs import Measurement, Procedure, Search, Task

KINDS = ["bracketed", "undertrained", "non_monotone", "censored", "diverged", "interrupted"]
MakeResult = Callable[..., EmcResult]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("replicates", [1, 6])
def test_a_result_survives_its_file(make_result: MakeResult, tmp_path: Path, kind: str, replicates: int) -> None:
    result = make_result(kind, replicates)
    texts.write_result(result, tmp_path / "r.json")
    again = texts.read_result(tmp_path / "r.json")
    assert again == result
    assert texts.plain_table(texts.table_rows(again, True)) == texts.plain_table(texts.table_rows(result, True))
    assert texts.probes_text(again) == texts.probes_text(result)


def test_the_file_holds_what_the_issue_names(make_result: MakeResult, tmp_path: Path) -> None:
    texts.write_result(make_result(), tmp_path / "r.json")
    record = json.loads((tmp_path / "r.json").read_text())
    names = """emc censored status lower upper interval interval_method confidence replicates parameters
        emc_per_parameter bits_per_parameter task procedure search fingerprint probes cost versions"""
    assert set(names.split()) <= set(record)
    assert {"replicate", "emc", "lower", "upper", "status"} <= set(record["replicates"][0])
    probe_names = "n replicate attempt verdict evidence correct loss gradient_norm steps seconds key"
    assert set(probe_names.split()) <= set(record["probes"][0])
    assert {"probes", "steps", "sample_steps", "seconds"} <= set(record["cost"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_says_at_least_where_censored(make_result: MakeResult, kind: str) -> None:
    result = make_result(kind)
    rows = dict(texts.table_rows(result))
    assert rows["EMC"] == (">= 100" if Status[kind_status(kind)].right_censored else "100")
    text = " ".join(texts.plain_table(texts.table_rows(result)).split())
    assert result.status.value in text


def kind_status(kind: str) -> str:
    return "CENSORED_ABOVE" if kind == "censored" else kind.upper()


def test_probes_tell_how_flat_each_training_ended(make_result: MakeResult) -> None:
    result = make_result()
    assert "flatness" not in texts.probes_text(result)
    exact = {"largest": 12.34567, "trace": 99.0, "trace_error": 0.0, "products": 610, "loss": 0.125}
    rough = exact | {"largest": None, "trace_error": 0.0123}
    fitted = next(p for p in result.probes if p.verdict is Verdict.FITTED)
    failed = next(p for p in result.probes if p.verdict is Verdict.NOT_FITTED)
    told = {fitted.key: exact, failed.key: rough}
    probes = tuple(
        replace(p, detail={**p.detail, "flatness": told[p.key]}) if p.key in told else p for p in result.probes
    )
    text = texts.probes_text(replace(result, probes=probes))
    table, _, rest = text.partition("probes did not fit")
    lines = [line.split() for line in table.splitlines()[2:4]]
    assert lines[0][-4:] == ["fitted", "0.125", "12.35", "99"]
    assert lines[1][-6:] == ["not", "known", "99", "(+-", "1.2", "%)"]
    assert "not known largest eigenvalue, 99 (+- 1.2 %) trace, at a loss of 0.125" in " ".join(rest.split())
    assert "largest eigenvalue and trace, of the mean training loss" in " ".join(rest.split())


def test_plain_table_wraps_in_its_column() -> None:
    rows = [("EMC", "558"), ("status", " ".join(["word"] * 60))]
    lines = texts.plain_table(rows, width=60).split("\n")
    assert max(map(len, lines)) <= 60
    assert lines[0] == "EMC     558"
    assert all(line.startswith(" " * 8) for line in lines[2:])
    assert " ".join(lines[1:]).split() == ["status"] + ["word"] * 60


def test_verbose_rows_add_what_was_picked(make_result: MakeResult) -> None:
    result = make_result()
    assert texts.table_rows(result, verbose=True)[:-1] == texts.table_rows(result)
    assert texts.table_rows(result, verbose=True)[-1] == (
        "run with",
        "emc 0.1.0, torch 2.6.0, device cpu, trainer lockstep",
    )


def test_rich_table_shows_every_word_and_takes_no_markup(make_result: MakeResult) -> None:
    result = make_result(interval_method="[red]order[/red] statistics")
    console = Console(file=io.StringIO(), width=70)
    console.print(texts.rich_table(texts.table_rows(result)))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, shown.split("\n"))) <= 70
    for name, text in texts.table_rows(result):
        assert name in shown
        assert all(word in "".join(shown.split()) for word in text.split())


def test_probes_text_lists_failing_probes_only(make_result: MakeResult) -> None:
    result = make_result("bracketed", 1)
    text = texts.probes_text(result)
    assert text.startswith("3 of 7 probes did not fit")
    assert "n 105, replicate 0, attempt 0: not_fitted" in text
    assert "104 of 105 correct (99.0476%) after 1,000 steps" in text
    assert "noise_floor: the procedure itself gained nothing" in text
    assert "    gain  25 % of the loss" in text
    assert "gradient norm  0.00123 of its value at init" in text
    assert "  other\n    stopped  stall" in text  # what has no label is shown by its key
    assert text.count("\nWhat the numbers mean\n") == 1
    assert "    gain  share by which descent on all n samples lowered the loss further" in text
    assert text.count("replicate 0") == 3


def test_probes_text_of_a_diverged_probe_has_no_evidence(make_result: MakeResult) -> None:
    text = texts.probes_text(make_result("diverged", 1))
    assert text.startswith("1 of 5 probes did not fit")
    assert ": diverged" in text
    assert "evidence" not in text


def test_probes_text_without_failures(make_result: MakeResult) -> None:
    assert texts.probes_text(make_result("censored")) == "no probe failed"


def _plan(**changes: Any) -> dict[str, Any]:
    measurement = Measurement.from_flat(
        {"data": 'csv:path=a "quoted" \\ name.csv,target=é', "labels": "random", "seed": 3, **changes}
    )
    sizes = {"trained": 1210, "stored": 1300, "bits": 9680}
    cost = {"probes": 60.0, "steps": 1.2e6, "sample_steps": 1.5e8, "flops": 3e12}
    return texts.plan_record(measurement, {"rows": 1797, "shape": (1, 8, 8)}, sizes, "abc", cost)


def test_a_plan_is_json() -> None:
    plan = json.loads(json.dumps(_plan(), allow_nan=False))
    assert (plan["parameters"], plan["stored"], plan["bits"]) == (1210, 1300, 9680)
    assert plan["rough_cost"]["steps"] == 1.2e6
    assert plan["measurement"]["seed"] == 3


@pytest.mark.parametrize("changes", [{}, {"tf32": True, "n_max": 100, "tolerance": 0.1, "gradient_tolerance": 1e-9}])
def test_a_plan_is_a_configuration_of_the_same_measurement(changes: dict[str, Any]) -> None:
    plan = _plan(**changes)
    parsed = tomllib.loads(texts.plan_text(plan))
    again = Measurement(
        Task(**parsed["task"]), Procedure(**parsed["procedure"]), Search(**parsed["search"]), **parsed["measurement"]
    )
    assert again.to_dict() == plan["measurement"]


def test_a_plan_says_parameters_and_cost() -> None:
    text = " ".join(texts.plan_text(_plan()).replace("#", "").split())
    assert "parameters 1,210 trained, 1,300 stored, 9,680 bits" in text
    assert "rough cost 60 probes, 1.2e+06 steps, 1.5e+08 sample steps, 3e+12 flops, should every training" in text
    assert "shape 1x8x8" in text


def test_a_plan_says_how_its_model_was_found() -> None:
    matched = {"asked": 2000, "parameters": 2047, "ratio": 1.0235, "recipe": "width", "family": "mlp:depth=2"}
    plan = texts.plan_record(
        Measurement(), {"rows": 9}, {"trained": 2047, "stored": 2047, "bits": 65504}, "abc", {"steps": 1.0}, matched
    )
    text = " ".join(texts.plan_text(plan).replace("#", "").split())
    assert plan["matched"] == matched
    assert "matched 2,047 of 2,000 parameters asked for (ratio 1.024), by recipe width from mlp:depth=2" in text


def test_reading_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must exist, got .*nix.json\"; write one with emc measure --json PATH"):
        texts.read_result(tmp_path / "nix.json")


def test_reading_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must be readable, got .*\(is a directory\); name a file"):
        texts.read_result(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_reading_what_is_no_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"a result file must be JSON, got"):
        texts.read_result(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "zebra"),
        ("emc", "many"),
        ("parameters", 0),
        ("replicates", 3),
        ("interval", 4),
        ("probes", [{"n": 1}]),
        ("task", {}),
        ("cost", None),
        ("confidence", math.nan),
    ],
)
def test_reading_json_that_is_no_result(make_result: MakeResult, tmp_path: Path, name: str, value: Any) -> None:
    record = make_result().to_dict() | {name: value}
    (tmp_path / "r.json").write_text(json.dumps(record))
    with pytest.raises(
        OutputError, match=r"must hold an EMC result, got .*; name a file written by emc measure --json"
    ):
        texts.read_result(tmp_path / "r.json")


@pytest.mark.parametrize("content", ["{}", "[]", "3", "null", '"text"'])
def test_reading_json_of_another_shape(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(OutputError, match="a result file must hold an EMC result"):
        texts.read_result(tmp_path / "r.json")


def test_every_evidence_can_be_shown(make_result: MakeResult) -> None:
    result = make_result()
    for evidence in Evidence:
        probes = tuple(_with_evidence(probe, evidence) for probe in result.probes)
        text = " ".join(texts.probes_text(make_result(probes=probes)).split())
        assert f"{evidence.key}: {evidence.value}" in text


def _with_evidence(probe: Any, evidence: Evidence) -> Any:
    from dataclasses import replace

    return replace(probe, evidence=evidence if probe.evidence else None)


def test_a_tuning_is_one_row_and_its_candidates_a_table(make_result: MakeResult, tuning: dict[str, Any]) -> None:
    result = make_result(tuning=tuning)
    assert dict(texts.table_rows(result))["tuned"] == (
        "lr 0.003 of 2 candidates from 0.003 to 0.03, on seeds of its own: 9 probes, 5,500 steps, 1.5 s; "
        "the chosen rate is at an end of those tried, a better one may lie beyond (raise widen or rates)"
    )
    assert texts.tuning_table(tuning).splitlines() == [
        "tuned by halving:rates=2 on seed 77",
        "rung  budget                    lr     batch  fitted   diverged  score  right   steps  sample-steps  seconds",
        "1     1,000 steps or 10 epochs  0.003  128    100 120  0         4.696  90.00%  4,000  400,000       1.0",
        "1     1,000 steps or 10 epochs  0.03   128    80 60    1         4.238  80.00%  1,500  150,000       0.5",
    ]


def test_a_result_whose_tuning_is_something_else_is_refused(make_result: MakeResult, tmp_path: Path) -> None:
    record = make_result().to_dict() | {"tuning": {"chosen": {"lr": 1}}}
    (tmp_path / "r.json").write_text(json.dumps(record))
    with pytest.raises(OutputError, match="a result file must hold an EMC result"):
        texts.read_result(tmp_path / "r.json")
