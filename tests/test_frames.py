from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import base_record, failure, line, make, measured, record_line

import emc
from emc.cli.results import results
from emc.errors import EmcError, JournalError, SpecError, TrainingError
from emc.frames import MEASUREMENT_COLUMNS, PROBE_COLUMNS
from emc.journal import Journal, check
from emc.results import EmcResult, failed_record, measurement_record
from emc.specs import Measurement

MakeResult = Callable[..., EmcResult]


def fill(path: Path, results: list[EmcResult], *records: dict[str, Any]) -> Path:
    with Journal(path) as journal:
        for number, result in enumerate(results):
            base = f"base{number}"
            facts = {"name": "digits", "rows": 1797, "content_hash": "abc"}
            shared = {"task": result.task, "procedure": result.procedure, "seed": number, "device": "cpu"}
            journal.note({"kind": "base", "base": base, "dataset": facts, **shared})
            journal.append(result.probes, bases={probe.key: base for probe in result.probes})
            journal.note(measurement_record(result, {"seed": number}))
        for record in records:
            journal.note(record)
    return path


def result(make_result: MakeResult, kind: str = "bracketed", **changes: Any) -> EmcResult:
    facts = dict(make_result().dataset) | {"content_hash": "abc"}
    return make_result(kind, **({"dataset": facts} | changes))


def test_a_row_is_a_measurement_with_its_settings(tmp_path: Path, make_result: MakeResult) -> None:
    procedure = Measurement.from_flat({"model": "mlp:width=16,depth=2"}).procedure.to_dict()
    found = result(make_result, procedure=procedure)
    frame = emc.load(fill(tmp_path / "j", [found]))
    (row,) = frame.to_dict("records")
    assert list(frame.columns)[: len(MEASUREMENT_COLUMNS)] == list(MEASUREMENT_COLUMNS)
    assert (row["emc"], row["state"], row["status"]) == (found.emc, "done", "bracketed")
    assert (row["interval_low"], row["interval_high"]) == found.interval
    assert (row["model"], row["model.width"], row["model.depth"]) == ("mlp:width=16,depth=2", 16, 2)
    assert (row["seed"], row["replicates"], row["labels"]) == (0, 6, found.task["labels"])
    assert (row["probes"], row["steps"]) == (found.cost["probes"], found.cost["steps"])
    assert row["evidence"] == "noise_floor:6"


def test_the_latest_record_of_a_measurement_counts(tmp_path: Path, make_result: MakeResult) -> None:
    first = result(make_result)
    later = result(make_result, "censored")
    assert first.fingerprint == later.fingerprint
    frame = emc.load(fill(tmp_path / "j", [first, later]))
    assert list(frame["state"]) == ["censored"]
    error = TrainingError("a training must run\nwithout errors")
    frame = emc.load(fill(tmp_path / "k", [first], failed_record(first.fingerprint, {"seed": 3}, error)))
    assert list(frame["state"]) == ["failed"]
    assert list(frame["error"]) == ["a training must run without errors"]
    assert list(frame["seed"]) == [3]


def test_a_row_is_a_probe_with_the_settings_of_its_base(tmp_path: Path, make_result: MakeResult) -> None:
    found = result(make_result)
    frame = emc.load(fill(tmp_path / "j", [found]), "probes")
    assert list(frame.columns)[: len(PROBE_COLUMNS)] == list(PROBE_COLUMNS)
    by_key = {probe.key: probe for probe in found.probes}
    assert set(frame["key"]) == set(by_key)
    for row in frame.to_dict("records"):
        probe = by_key[row["key"]]
        assert (row["n"], row["verdict"], row["training_loss"]) == (probe.n, probe.verdict.value, probe.loss)
        assert row["accuracy"] == probe.correct / probe.n
        assert (row["base"], row["seed"], row["loss"], row["device"]) == ("base0", 0, "cross_entropy", "cpu")


def test_what_only_some_probes_record_has_columns(tmp_path: Path) -> None:
    flat = {"largest": None, "trace": 2.5, "trace_error": 0.01, "products": 9, "loss": 0.1}
    tested = {"test_correct": 3, "test_rows": 4}
    odd = {"test_correct": "3", "test_rows": 0, "flatness": [1]}
    details: list[dict[str, Any]] = [tested, {"flatness": flat}, {"flatness": flat | {"largest": 1.5}}, odd]
    with Journal(tmp_path / "j") as journal:
        journal.append([make(number, detail=detail) for number, detail in enumerate(details)])
    frame = emc.load(tmp_path / "j", "probes").sort_values("n")
    assert frame["test_accuracy"].fillna(-1).tolist() == [0.75, -1, -1, -1]
    assert frame["flatness_largest"].fillna(-1).tolist() == [-1, -1, 1.5, -1]
    assert frame["flatness_trace"].fillna(-1).tolist() == [-1, 2.5, 2.5, -1]


def test_probes_of_several_chunks_are_one_frame(
    tmp_path: Path, make_result: MakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fill(tmp_path / "j", [result(make_result)])
    whole = emc.load(path, "probes")
    monkeypatch.setattr("emc.frames.CHUNK", 3)
    assert emc.load(path, "probes").equals(whole)


def test_probes_without_a_base_are_there_without_settings(tmp_path: Path, make_result: MakeResult) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.append(result(make_result).probes)
    frame = emc.load(tmp_path / "j", "probes")
    assert len(frame) > 10
    assert list(frame.columns) == list(PROBE_COLUMNS)
    assert emc.load(tmp_path / "j").empty


def test_a_measurement_loads_as_it_ran(tmp_path: Path) -> None:
    settings = {
        "labels": "random",
        "n_max": 20,
        "min_steps": 40,
        "max_epochs": 1,
        "replicates": 1,
        "model": "mlp:width=3",
    }
    found = emc.measure(**settings, journal=tmp_path / "j")
    (row,) = emc.load(tmp_path / "j").to_dict("records")
    probes = emc.load(tmp_path / "j", "probes")
    assert (row["fingerprint"], row["emc"], row["n_max"]) == (found.fingerprint, found.emc, 20)
    assert set(probes["model.width"]) == {3}


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [("measurement", SpecError, 'did you mean "measurements"'), ("probes", JournalError, "must be there")],
)
def test_what_cannot_be_loaded_is_told(tmp_path: Path, what: str, error: type[EmcError], words: str) -> None:
    with pytest.raises(error, match=words):
        emc.load(tmp_path / "none", what)


def test_earlier_records_know_no_sizes_but_what_is_trained(tmp_path: Path, make_result: MakeResult) -> None:
    now = measurement_record(result(make_result, fingerprint="now", stored=1300, bits=9680, bits_per_bit=0.03), {})
    path = tmp_path / "j"
    path.write_bytes(record_line(measured("before")) + record_line(now))
    frame = emc.load(path).set_index("fingerprint")
    assert frame.loc["before", "parameters"] == 50
    assert frame.loc["before", ["stored", "bits", "bits_per_bit"]].isna().all()
    assert list(frame.loc["now", ["stored", "bits", "bits_per_bit"]]) == [1300, 9680, 0.03]


#: What a field may be instead of what it should be.
ODD = st.sampled_from(
    [None, True, 0, -1, 2**63, 10**400, 1e308, "", "x", "mlp:width", "mlp:width=1e999,depth=9", "\ud800", [], [1, "a"]]
) | st.dictionaries(st.sampled_from(["name", "model", "n", "emc", "seed"]), st.integers() | st.text(max_size=3))


@st.composite
def odd_records(draw: st.DrawFn) -> dict[str, Any]:
    """A record some of whose fields, or of the tables in them, are missing or of another type."""
    kinds = [measured("f"), failure("f"), base_record("b"), {"kind": "probe", **make(0).to_dict(), "base": "b"}]
    record: dict[str, Any] = draw(st.sampled_from(kinds))
    for _ in range(draw(st.integers(0, 2))):
        tables = [record, *(value for value in record.values() if isinstance(value, dict))]
        table = draw(st.sampled_from(tables))
        names = st.sampled_from([*(name for name in table if name != "kind"), "n", "error", "model"])
        name = draw(names)
        if draw(st.booleans()):
            table.pop(name, None)
        else:
            table[name] = draw(ODD)
    return record


@settings(max_examples=60)
@given(st.lists(odd_records(), min_size=1, max_size=4), st.sampled_from(["table", "csv", "jsonl", "parquet"]))
def test_whatever_records_hold_a_table_or_a_sentence_comes_of_it(
    tmp_path_factory: pytest.TempPathFactory, odd: list[dict[str, Any]], form: str
) -> None:
    path = tmp_path_factory.mktemp("odd") / "journal.jsonl"
    path.write_bytes(b"".join(map(record_line, odd)) + record_line(base_record("c")) + line(make(1), base="c"))
    damaged = check(path).damaged
    for what, words in (("measurements", []), ("probes", ["--probes"])):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            frame = emc.load(path, what)
        assert len(frame) + damaged <= len(odd) + 2
        assert all("damaged lines skipped" in str(each.message) for each in told)
        assert damaged > 0 or not told
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "journal .* damaged lines")
            out = str(path.with_suffix(".out"))
            ran = CliRunner().invoke(results, [str(path), *words, "--format", form, "-o", out])
        assert ran.exception is None or isinstance(ran.exception, EmcError), ran.exception
