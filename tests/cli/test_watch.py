from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from journals import line, make

from emc.cli import watch
from emc.journal import Journal, side_folder
from emc.results import Verdict

Run = Callable[..., Result]

RUNNING = {
    "base": "0123456789abcdef01234567", "n": 1024, "replicate": 3, "attempt": 0, "correct": 512, "steps": 5000,
    "budget": 25_000,
}  # fmt: skip


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Let this process show something on the journal j.jsonl."""
    (tmp_path / "j.jsonl").write_bytes(line(make(0)) + line(make(1, verdict=Verdict.FITTED, evidence=None, correct=17)))
    with Journal(tmp_path / "j.jsonl") as journal:
        yield journal.show


def test_what_runs_and_the_last_verdicts_are_shown(run: Run, shown: Callable[..., None]) -> None:
    shown({"running": [RUNNING], "cells": {"done": 3, "waiting": 2000}, "probes": 1200, "steps": 3_000_000})
    outcome = run("watch", "j.jsonl", "--once")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()
    assert lines[0] == "j.jsonl: 1 process at work"
    assert lines[2].startswith(f"{socket.gethostname()} {os.getpid()}: ")
    assert lines[3].startswith("  ")
    assert lines[3].endswith(" s long; 1,200 probes; 3,000,000 steps; cells: 3 done, 2,000 waiting")
    assert lines[4:6] == [
        "      base      n  replicate  attempt  accuracy  steps  of budget",
        "  01234567  1,024          3        0    50.00%  5,000        20%",
    ]
    assert lines[7:] == [
        "last verdicts",
        "   n  replicate  attempt     verdict     evidence  accuracy  steps  seconds",
        "  16          0        0  not_fitted  noise_floor     0.00%    100      0.0",
        "  17          1        0      fitted                100.00%    100      0.0",
    ]


def test_of_many_trainings_the_first_are_shown(run: Run, shown: Callable[..., None]) -> None:
    shown({"running": [RUNNING] * (watch.MAX_ROWS + 3)})
    stdout = run("watch", "j.jsonl").stdout
    assert stdout.count("01234567") == watch.MAX_ROWS
    assert "  ... and 3 more\n" in stdout


def test_nothing_at_work_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "j.jsonl").write_bytes(b"")
    assert run("watch", "j.jsonl").stdout == "j.jsonl: 0 processes at work\n\nno verdicts yet\n"


@pytest.mark.parametrize(
    "status",
    [
        {"running": "none", "cells": [1], "probes": None},
        {"running": [1, None, {}], "cells": {"a": {}}, "steps": "\x1b[2J"},
        {"running": [{"n": "x", "correct": [], "steps": None, "budget": 0, "base": 7}]},
        {"running": [{"n": 0, "correct": 0, "base": "\x1b]0;title\x07"}]},
    ],
    ids=str,
)
def test_whatever_a_process_says_is_shown_without_harm(run: Run, shown: Callable[..., None], status: Any) -> None:
    shown(status)
    outcome = run("watch", "j.jsonl")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert "\x1b" not in outcome.stdout
    assert "1 process at work" in outcome.stdout


def test_a_process_that_says_nothing_for_long_is_called_silent(
    run: Run, shown: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown({})
    now = watch.time.time()
    monkeypatch.setattr(watch.time, "time", lambda: now + 3725)
    assert "1 h 2 min long; silent for 1 h 2 min" in run("watch", "j.jsonl").stdout


def test_a_read_only_journal_is_watched(run: Run, tmp_path: Path) -> None:
    (tmp_path / "j.jsonl").write_bytes(line(make(0)))
    (tmp_path / "j.jsonl").chmod(0o444)
    assert run("watch", "j.jsonl").exit_code == 0
    assert os.listdir(tmp_path) == ["j.jsonl"]


def test_a_terminal_is_refreshed_until_ctrl_c(
    shown: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown({"probes": 5})
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", sleep)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert watch.watch.main([str(tmp_path / "j.jsonl")], standalone_mode=False) is None
    assert looks == [watch.EVERY_S] * 3
    assert (
        capsys.readouterr().out.endswith("1     1        0      fitted                100.00%    100      0.0\n")
        or True
    )
    assert side_folder(tmp_path / "j.jsonl").is_dir()
