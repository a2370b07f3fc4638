from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emc.journal import Journal
from emc.planning import plan_cells, totals
from emc.specs import Execution
from emc.sweeping import sweep
from emc.sweeps import read_sweep

BASE = {"labels": "random", "min_steps": 60, "max_epochs": 1, "check_steps": 20, "n_max": 40, "model": "mlp:width=3"}
BASE |= {"replicates": 2, "optimizer": "adam:lr=0.02"}


def plans(content: dict[str, Any], journal: Path | None = None) -> list[Any]:
    execution = Execution(journal=None if journal is None else str(journal))
    return plan_cells(list(read_sweep(content)), execution)


def test_without_a_journal_all_is_new_and_the_work_is_bounded_by_the_dearest_course() -> None:
    content = {"base": BASE, "grid": {"seed": [0, 1]}}
    found = plans(content)
    result = sweep(content, speculation=1)
    for plan in found:
        used = result.results[plan.cell.number]
        assert (plan.state, plan.probes, plan.bound, plan.left_s) == ("new", 0, True, None)
        assert plan.parameters == used.parameters
        assert plan.left_probes >= len(used.probes)
        assert plan.left_steps >= used.cost["steps"]
    assert totals(found)["seconds"] is None


def test_a_cell_that_is_done_has_nothing_left_and_the_journal_is_not_touched(tmp_path: Path) -> None:
    content, journal = {"base": BASE, "grid": {"seed": [0, 1]}}, tmp_path / "j.jsonl"
    result = sweep(content, journal=journal, cells=[1], speculation=1)
    before = journal.read_bytes()
    done, new = plans(content, journal)
    assert (done.state, done.probes, done.left_probes, done.left_s) == ("done", len(result.results[1].probes), 0, 0.0)
    assert (new.state, new.probes) == ("new", 0)
    assert new.left_s > 0  # by the other cell's rate
    assert journal.read_bytes() == before


def test_a_cell_in_part_is_reckoned_from_its_own_brackets(tmp_path: Path) -> None:
    content, journal = {"base": BASE, "grid": {"seed": [0]}}, tmp_path / "j.jsonl"
    result = sweep(content, speculation=1).results[1]
    first = [probe for probe in result.probes if probe.replicate == 0]
    with Journal(journal) as written:
        written.append(first)
    (plan,) = plans(content, journal)
    assert (plan.state, plan.probes) == ("part", len(first))
    if first[-1].verdict.value == "not_fitted":
        assert 1 <= plan.left_probes <= 2 * len(result.probes)
    assert plan.left_s > 0


def test_a_tuned_cell_is_known_to_be_done_by_its_record(tmp_path: Path) -> None:
    base = BASE | {"replicates": 1, "tune": "halving:rates=2,replicates=1,widen=0,rungs=1"}
    content, journal = {"base": base, "grid": {"seed": [0, 1]}}, tmp_path / "j.jsonl"
    result = sweep(content, journal=journal, cells=[1])
    done, new = plans(content, journal)
    assert (done.state, done.probes, done.left_probes) == ("done", len(result.results[1].probes), 0)
    assert (new.state, "tuned first" in new.note) == ("new", True)


def test_a_journal_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    plans({"base": BASE, "grid": {"seed": [0]}}, tmp_path / "j.jsonl")
    assert not list(tmp_path.iterdir())


def test_failed_and_equal_cells_are_said_to_be() -> None:
    content = {"base": BASE, "grid": {"n_start": [4, 9000]}}
    assert [plan.state for plan in plans(content)] == ["new", "failed"]
    base = {name: value for name, value in BASE.items() if name != "model"}
    equal = plans({"base": base, "grid": {"model": ["mlp:width=3", "mlp:width=3.0"]}})
    assert [(plan.state, plan.note) for plan in equal] == [("new", ""), ("same", "as cell 1")]


@pytest.mark.parametrize("settings", [{"search": "threshold"}, {"criterion": "error<=0.2"}, {"optimizer.lr": "auto"}])
def test_every_kind_of_search_is_reckoned(settings: dict[str, str], tmp_path: Path) -> None:
    left_out = "replicates" if "search" in settings else "optimizer"
    base = {name: value for name, value in BASE.items() if name != left_out} | settings
    (plan,) = plans({"base": base, "grid": {"seed": [0]}}, tmp_path / "none")
    assert plan.left_probes > 0
    assert ("tuned first" in plan.note) == ("optimizer.lr" in settings)
