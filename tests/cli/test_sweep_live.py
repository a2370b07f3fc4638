from __future__ import annotations

import io

import pytest
from rich.console import Console

from emc.cli.sweep_live import SweepLines, SweepView, duration_text, throughput_text, watching_sweep
from emc.results import Progress, RunningProbe, Status
from emc.sweeping import CellProgress, CellState, SweepProgress
from emc.sweeps import Cell

ENGINE = Progress(((4, None, None),), (RunningProbe(8, 0, 0, 5, 10, 100, base="b"),), 20, 5000, 10.0)


def progress(cells: int = 2, ended: int = 0, left_s: float | None = None) -> SweepProgress:
    shown = [
        CellProgress(Cell(number, {"seed": number}), CellState.RUNNING, ((4, 8, None), (5, 6, Status.BRACKETED)))
        for number in range(1, cells + 1)
    ]
    counts = dict.fromkeys(CellState, 0) | {CellState.RUNNING: cells, CellState.DONE: ended}
    return SweepProgress("measuring", counts, shown, ENGINE, left_s, ended)


def draw(view: SweepView, shown: SweepProgress) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(view.render(shown))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_view_shows_cells_with_settings_and_brackets() -> None:
    text = draw(SweepView(["seed"], lambda: 40), progress())
    assert "measuring: 2 bracket" in text
    assert "4..8 | 5..6 bracketed" in text
    assert "2.0 probes/s, 500 steps/s" in text


@pytest.mark.parametrize(("height", "rows"), [(10, 4), (7, 1), (2, 1)])
def test_only_as_many_cells_as_fit_are_drawn(height: int, rows: int) -> None:
    assert draw(SweepView(["seed"], lambda: height), progress(30)).count("4..8") == rows


def test_the_time_left_is_told_once_enough_cells_have_ended() -> None:
    assert throughput_text(progress(ended=2, left_s=60.0)).endswith("time left not known yet")
    assert "about 10 min left, by the 3 cells ended so far" in throughput_text(progress(ended=3, left_s=600.0))
    assert throughput_text(SweepProgress("preparing", {})) == ""


def test_lines_are_printed_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    lines = SweepLines()
    for now, ended in ((0.5, 0), (1.5, 0), (2.0, 1), (7.0, 1), (20.0, 1)):
        clock[0] = now
        lines(progress(ended=ended))
    printed = capsys.readouterr().err.splitlines()
    assert [line.split(";")[0] for line in printed] == ["measuring: 2 bracket", "measuring: 2 bracket, 1 done"]


def test_nobody_watches_quietly_and_lines_are_for_files() -> None:
    with watching_sweep(True, []) as observer:
        assert observer is None
    with watching_sweep(False, []) as observer:
        assert isinstance(observer, SweepLines)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (89, "89 s"), (91, "2 min"), (5300, "88 min"), (7200, "2 h 0 min"), (1e6, "11 d 13 h")],
)
def test_durations_are_rounded(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
