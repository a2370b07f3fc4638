from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import emc
from emc.api import prepare
from emc.errors import SpecError, TrainingError
from emc.journal import read
from emc.resolve import Stock
from emc.results import Evidence, ProbeFailure, ProbeResult, RunningProbe, Status, Verdict
from emc.specs import Execution, Measurement, Probe
from emc.sweep_progress import CellState
from emc.sweeping import prepare_cells, sweep
from emc.sweeps import read_sweep

#: A training of a moment.
TINY = {"labels": "random", "min_steps": 60, "max_epochs": 1, "check_steps": 20, "n_max": 40, "replicates": 2}
TINY |= {"model": "mlp:width=3", "optimizer": "adam:lr=0.02"}


def records(journal: Path, kind: str) -> list[dict[str, Any]]:
    return list(read(journal, kind))


def test_each_cell_gives_what_measure_gives(tmp_path: Path) -> None:
    base = {name: value for name, value in TINY.items() if name != "model"}
    content = {"base": base, "grid": {"model.width": [2, 3], "seed": [0, 1]}}
    result = sweep(content, journal=tmp_path / "j.jsonl")
    assert list(result.results) == [1, 2, 3, 4]
    assert not result.failures
    for cell in result.cells:
        alone = emc.measure(**base, model=f"mlp:width={cell.settings['model.width']}", seed=cell.settings["seed"])
        found = result.results[cell.number]
        assert (found.emc, found.replicates, found.fingerprint) == (alone.emc, alone.replicates, alone.fingerprint)
        assert [probe.key for probe in found.probes] == [probe.key for probe in alone.probes]
    assert result.cost["probes"] == sum(len(each.probes) for each in result.results.values()) + result.unused.get(
        "probes", 0
    )


def test_each_measurement_is_journaled_with_its_cell(tmp_path: Path) -> None:
    journal = tmp_path / "j.jsonl"
    result = sweep({"base": TINY, "grid": {"seed": [0, 1]}}, journal=journal)
    found = {record["fingerprint"]: record for record in records(journal, "measurement")}
    assert {each.fingerprint for each in result.results.values()} == set(found)
    for number, each in result.results.items():
        record = found[each.fingerprint]
        assert record["cell"] == {**TINY, "seed": number - 1}
        assert record["probes"] == [probe.key for probe in each.probes]
        assert record["emc"] == each.emc
    assert {record["base"] for record in records(journal, "base")} == {
        record["base"] for record in records(journal, "probe")
    }


def test_a_measurement_alone_is_journaled_too(tmp_path: Path) -> None:
    journal = tmp_path / "j.jsonl"
    result = emc.measure(**TINY, seed=5, journal=journal)
    (record,) = records(journal, "measurement")
    assert (record["fingerprint"], record["emc"]) == (result.fingerprint, result.emc)
    assert record["cell"] == {**TINY, "seed": 5}


def test_the_same_call_trains_nothing_again(tmp_path: Path) -> None:
    content = {"base": TINY, "grid": {"seed": [0, 1]}}
    first = sweep(content, journal=tmp_path / "j.jsonl")
    again = sweep(content, journal=tmp_path / "j.jsonl")
    assert again.cost["probes"] == 0
    assert {n: r.emc for n, r in again.results.items()} == {n: r.emc for n, r in first.results.items()}


def test_cells_of_one_measurement_are_one_and_share_probes() -> None:
    base = {name: value for name, value in TINY.items() if name != "model"}
    content = {"base": base, "grid": {"model": ["mlp:width=3", "mlp:width=3.0"]}}
    result = sweep(content)
    assert result.same == {2: 1}
    assert result.results[2] is result.results[1]
    assert result.counts()[CellState.FAILED] == 0
    assert "the same as cell 1" in result.table()[1][1][-1]


def test_a_size_to_match_is_an_axis() -> None:
    """Two families at two sizes; two sizes nearest to one member are one measurement."""
    grid = {"model": ["mlp", "cnn"], "match_parameters": [1000, 1001, 4000]}
    bench = prepare_cells(list(read_sweep({"base": {"labels": "random"}, "grid": grid})), Execution())
    found = {n: (str(each.measurement.procedure.model), each.parameters) for n, each in bench.prepared.items()}
    assert found == {
        1: ("mlp:width=13,depth=1", 985),
        3: ("mlp:width=53,depth=1", 3985),
        4: ("cnn:width=1,depth=2", 990),
        6: ("cnn:width=9,depth=2", 3846),
    }
    assert bench.same == {2: 1, 5: 4}


def test_probes_of_several_cells_are_trained_once() -> None:
    base = {name: value for name, value in TINY.items() if name != "replicates"}
    result = sweep({"base": base, "grid": {"replicates": [1, 2]}}, speculation=1)
    small, large = result.results[1], result.results[2]
    assert {probe.key for probe in small.probes} < {probe.key for probe in large.probes}
    assert result.cost["probes"] == len(large.probes)


def test_a_cell_that_cannot_be_prepared_fails_alone() -> None:
    result = sweep({"base": TINY, "grid": {"n_start": [8, 4000], "seed": [0]}})
    assert list(result.results) == [1]
    assert "n_max must be at least n_start" in str(result.failures[2])
    assert result.state(2) is CellState.FAILED
    assert "n_max must be" in result.table()[1][1][-1]


def test_where_no_cell_can_be_prepared_the_sweep_is_refused() -> None:
    with pytest.raises(emc.errors.UnknownNameError, match=r'no option "widht".*no cell can be measured'):
        sweep({"grid": {"model.widht": [2, 3]}})


class Rule:
    """An executor that fits up to 10 samples, and comes to no verdict for probes of one base."""

    name = "rule"

    def __init__(self, broken: str) -> None:
        self._broken, self._waiting = broken, {}  # type: ignore[var-annotated]

    def add(self, probe: Probe, *, ahead: bool = False) -> None:  # noqa: ARG002
        self._waiting[probe.key] = probe

    def drop(self, probe: Probe) -> None:
        self._waiting.pop(probe.key, None)

    def running(self) -> list[RunningProbe]:
        return [RunningProbe(p.n, p.replicate, p.attempt, 0, 1, 10, base=p.base) for p in self._waiting.values()]

    def room(self) -> int:
        return 0

    def wants(self) -> int:
        return 4 - len(self._waiting)

    def advance(self) -> list[ProbeResult | ProbeFailure]:
        probes, self._waiting = list(self._waiting.values()), {}
        return [self._outcome(probe) for probe in probes]

    def _outcome(self, probe: Probe) -> ProbeResult | ProbeFailure:
        if probe.base == self._broken:
            return ProbeFailure(probe, TrainingError("a training must run without errors, got no more"))
        verdict = Verdict.FITTED if probe.n <= 10 else Verdict.NOT_FITTED
        evidence = None if probe.n <= 10 else Evidence.MINIMUM
        return ProbeResult(probe.key, probe.n, probe.replicate, probe.attempt, verdict, evidence, probe.n, steps=7)

    def save(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained: the second setup's probes come to no verdict."""
    monkeypatch.setattr("emc.session.make_executor", lambda setups, *_: Rule(list(setups)[1]))


@pytest.mark.usefixtures("rule")
def test_a_training_that_comes_to_nothing_fails_its_cell_and_says_so_in_the_journal(tmp_path: Path) -> None:
    journal = tmp_path / "j.jsonl"
    result = sweep({"base": TINY, "grid": {"seed": [0, 1, 2]}}, journal=journal)
    assert {number: found.emc for number, found in result.results.items()} == {1: 10, 3: 10}
    assert isinstance(result.failures[2], TrainingError)
    (record,) = records(journal, "failed")
    assert "no more" in record["error"]
    assert record["cell"]["seed"] == 1
    frame = emc.load(journal)
    assert sorted(zip(frame["seed"], frame["state"], strict=True)) == [(0, "done"), (1, "failed"), (2, "done")]


@pytest.mark.usefixtures("rule")
def test_an_interruption_keeps_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    @contextmanager
    def soon() -> Iterator[Callable[[], bool]]:
        yield lambda: calls.append(1) or len(calls) > 3  # type: ignore[func-returns-value]

    monkeypatch.setattr("emc.session.stoppable", soon)
    result = sweep({"base": TINY, "grid": {"seed": [0, 2, 3, 4, 5, 6]}}, journal=tmp_path / "j.jsonl")
    assert result.interrupted
    assert result.unfinished
    assert {result.state(number) for number in result.unfinished} <= {CellState.RUNNING, CellState.WAITING}
    assert all(found.status is Status.INTERRUPTED for found in result.unfinished.values())
    cells = {cell["cell"]: cell for cell in result.to_dict()["cells"]}
    running = [row for row in result.table()[1] if row[2] == "bracket"]
    assert running
    for number, *_, emc_text, interval, says in running:
        known = cells[int(number)]["brackets"]
        assert (emc_text, interval) == ("", "")
        assert says == "interrupted: brackets " + " | ".join(f"{b['lower']}..{b['upper'] or ''}" for b in known)
        fitted = [probe for probe in result.unfinished[int(number)].probes if probe.verdict is Verdict.FITTED]
        assert max(b["lower"] for b in known) == max((probe.n for probe in fitted), default=0)
        assert "emc" not in cells[int(number)]


def test_a_tuned_cell_is_tuned_first_and_remembers_what_was_asked(tmp_path: Path) -> None:
    base = {name: value for name, value in TINY.items() if name not in ("replicates", "optimizer")}
    base |= {"replicates": 1, "tune": "halving:rates=2,replicates=1,widen=0,rungs=1"}
    content = {"base": base, "grid": {"seed": [0]}}
    journal = tmp_path / "j.jsonl"
    result = sweep(content, journal=journal)
    assert result.results[1].tuning is not None
    (record,) = records(journal, "measurement")
    measurement = read_sweep(content)[0].measurement()
    assert record["untuned"] == prepare(measurement).fingerprint


def test_tf32_is_for_all_cells_or_none() -> None:
    content = {"base": TINY, "grid": {"tf32": [True, False]}}
    with pytest.raises(SpecError, match="TF32 or all without, got both"):
        sweep(content)
    assert list(sweep(content, cells=[2]).results) == [2]


def test_some_cells_only_by_number() -> None:
    content = {"base": TINY, "grid": {"seed": [0, 1, 2]}}
    assert list(sweep(content, cells=[3, 1]).results) == [1, 3]
    for wrong in ([0], [4], []):
        with pytest.raises(SpecError, match=r"cells are numbered|at least one cell"):
            sweep(content, cells=wrong)


def test_execution_comes_from_the_file_and_the_call_beats_it(tmp_path: Path) -> None:
    content = {"base": TINY, "grid": {"seed": [0]}, "execution": {"journal": str(tmp_path / "a"), "stack": 3}}
    sweep(content, journal=tmp_path / "b")
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "b").exists()
    with pytest.raises(emc.errors.UnknownNameError, match='did you mean "device"'):
        sweep(content, devise="cpu")


def test_cells_share_datasets_and_inputs() -> None:
    base = {name: value for name, value in TINY.items() if name != "labels"}
    cells = list(read_sweep({"base": base, "grid": {"seed": [0, 1], "labels": ["random", "semantic"]}}))
    bench = prepare_cells(cells, Execution())
    pools = [prepared.setup.pool for prepared in bench.prepared.values()]
    assert len({id(pool) for pool in pools}) == 4
    assert len({id(pool.dataset) for pool in pools}) == 1
    assert len({pool.X.data_ptr() for pool in pools}) == 1
    doubles = list(read_sweep({"base": TINY | {"precision": "float64"}, "grid": {"seed": [0, 1]}}))
    precise = prepare_cells(doubles, Execution())
    assert len({prepared.setup.pool.X.data_ptr() for prepared in precise.prepared.values()}) == 1


def test_a_dataset_that_is_missing_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def missing(task: Any, _own: Any) -> Any:
        asked.append(task)
        raise emc.errors.DataError("it is not there")

    monkeypatch.setattr("emc.resolve.load_data", missing)
    stock = Stock()
    for seed in range(3):
        with pytest.raises(emc.errors.DataError, match="not there"):
            prepare(Measurement(seed=seed), stock=stock)
    assert len(asked) == 1


def test_the_record_is_json_and_the_totals_are_said() -> None:
    result = sweep({"name": "x", "base": TINY, "grid": {"seed": [0], "n_start": [4, 9000]}})
    record = json.loads(result.to_json())
    assert [cell["cell"] for cell in record["cells"]] == [1, 2]
    assert record["cells"][0]["emc"] == result.results[1].emc
    assert record["cells"][1]["state"] == "failed"
    assert "error" in record["cells"][1]
    assert "1 failed" in str(result)
