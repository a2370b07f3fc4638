from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

from emc.cli.live import MAX_ROWS, LiveView, PlainLines, count_text, watching
from emc.results import Progress, RunningProbe, Status, brackets_text


def _render(view: LiveView, progress: Progress, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(view.render(progress))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_texts(progress: list[Progress]) -> None:
    assert count_text(progress[2]) == "8 s: 9 probes, 9,000 steps (1,200/s)"
    assert brackets_text(progress[2].brackets) == "32..64 | 30..31 bracketed"
    assert count_text(Progress((), (), 0, 0, 0.0)) == "0 s: 0 probes, 0 steps"


def test_of_many_searches_only_their_number_is_told() -> None:
    """A curve of 200 draws has 200 searches."""
    brackets = [(30, 31, Status.BRACKETED), (16, None, None), (64, None, Status.CENSORED_ABOVE)]
    assert brackets_text(50 * brackets) == "50 bracketed, 50 censored_above, 50 not ended"
    assert brackets_text(50 * brackets[:1]) == "50 bracketed"


def test_plain_lines_come_with_news_and_not_too_often(
    progress: list[Progress], capsys: pytest.CaptureFixture[str]
) -> None:
    observer = PlainLines()
    for step in progress:
        observer(step)
        observer(step)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "1 s: 3 probes, 1,500 steps (1,500/s); EMC 32.. | 16..",
        "8 s: 9 probes, 9,000 steps (1,200/s); EMC 32..64 | 30..31 bracketed",
        "13 s: 14 probes, 12,000 steps (923/s); EMC 60..63 bracketed | 30..31 bracketed",
    ]


def test_plain_lines_are_silent_without_news(capsys: pytest.CaptureFixture[str]) -> None:
    observer = PlainLines()
    for seconds in range(100):
        observer(Progress(((16, None, None),), (), 0, seconds, float(seconds)))
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_live_view_shows_probes_with_their_rates(progress: list[Progress]) -> None:
    view = LiveView()
    first, second, third, last = (_render(view, step) for step in progress)
    assert "1 s: 3 probes, 1,500 steps (1,500/s); 0 of 2 searches done" in first
    assert "EMC 32.. | 16.." in first
    assert first.splitlines()[-3].split() == ["64", "0", "0", "60", "93.75%", "1,000", "5%"]
    assert second.splitlines()[-2].split() == ["64", "0", "0", "63", "98.44%", "3,000", "15%", "2,000"]
    assert "1 of 2 searches done" in third
    assert "steps/s" not in last
    assert "60..63 bracketed | 30..31 bracketed" in last


def test_the_live_view_stays_small() -> None:
    running = tuple(RunningProbe(64, replicate, 0, 60, 10, 100) for replicate in range(40))
    text = _render(LiveView(), Progress(((32, None, None),) * 40, running, 3, 10, 1.0))
    assert f"... and {40 - MAX_ROWS} more" in text
    assert len(text.splitlines()) < MAX_ROWS + 12


def test_quiet_observes_nothing() -> None:
    with watching(quiet=True) as observer:
        assert observer is None


def test_without_a_terminal_there_are_lines() -> None:
    with watching(quiet=False) as observer:
        assert isinstance(observer, PlainLines)


_ON_A_TERMINAL = """
import sys
from emc.cli.live import watching
from emc.results import Progress, RunningProbe, Status, brackets_text
running = (RunningProbe(64, 0, 0, 60, 1000, 20_000),)
with watching(quiet=False) as observer:
    observer(Progress(((32, None, None),), running, 3, 1500, 1.0))
    observer(Progress(((60, 63, Status.BRACKETED),), (), 14, 12_000, 8.0))
print("THE TABLE", file=sys.stderr)
"""


def _terminal_output(environment: dict[str, str]) -> str:
    """What a program prints on a pseudo-terminal as its stderr."""
    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", _ON_A_TERMINAL]
    with subprocess.Popen(words, stderr=theirs, env=os.environ | environment) as process:
        os.close(theirs)
        chunks = []
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux's answer once the other side is closed
                break
            if not chunk:
                break
            chunks.append(chunk)
        os.close(ours)
    assert process.returncode == 0
    return b"".join(chunks).decode()


def test_on_a_terminal_the_view_disappears_before_the_table() -> None:
    shown = _terminal_output({"TERM": "xterm", "COLUMNS": "100"})
    assert "searches done" in shown
    erased, _, table = shown.rpartition("\x1b[2K")
    assert "60..63 bracketed" in erased
    assert "bracketed" not in table
    assert "THE TABLE" in table


def test_a_dumb_terminal_gets_lines() -> None:
    shown = _terminal_output({"TERM": "dumb"})
    assert "\x1b" not in shown
    assert "8 s: 14 probes" in shown
    assert Status.BRACKETED.key in shown
