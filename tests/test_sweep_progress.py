from __future__ import annotations

import pytest

from emc.sweep_progress import CellState, SweepProgress
from emc.sweeping import sweep

#: A training of a moment.
TINY = {"labels": "random", "min_steps": 60, "max_epochs": 1, "check_steps": 20, "n_max": 40, "replicates": 2}
TINY |= {"model": "mlp:width=3", "optimizer": "adam:lr=0.02"}


def test_progress_counts_cells_and_shows_those_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emc.sweep_progress.REPORT_EVERY_S", 0.0)
    monkeypatch.setattr("emc.sweep_progress.REPORT_SHARE", 1e9)
    seen: list[SweepProgress] = []
    result = sweep({"base": TINY, "grid": {"seed": [0, 1], "n_start": [4, 9000]}}, observer=seen.append)
    assert all(sum(progress.counts.values()) == 4 for progress in seen)
    assert seen[0].what.startswith("preparing, 1 of 4")
    assert seen[-1].counts == result.counts()
    assert seen[-1].counts[CellState.FAILED] == 2
    running = [cell for progress in seen for cell in progress.shown if cell.state is CellState.RUNNING]
    assert {cell.cell.number for cell in running} <= {1, 3}
    assert all(len(cell.brackets) == 2 for cell in running)
