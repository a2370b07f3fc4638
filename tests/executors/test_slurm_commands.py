"""What Slurm's commands say, by programs that print it."""

from __future__ import annotations

from pathlib import Path

import pytest

from emc.errors import ClusterError

pytest.importorskip("submitit", reason="needs submitit: pip install 'emc[slurm]'")

from emc.executors.slurm_commands import FINAL, cancel, states


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_states_of_jobs_arrays_and_steps(programs: Path) -> None:
    lines = "JobID|State\n7_0|CANCELLED by 1000\n7_0.batch|FAILED\n7_[1-2%4]|PENDING\n8|SUSPENDED\n8.0|RUNNING\n"
    program(programs / "sacct", f'while read -r line; do echo "$line"; done <<\'END\'\n{lines}END\necho "$*" >&2')
    assert states(["7_0", "7_1", "7_2", "8", "9"]) == {
        "7_0": "CANCELLED",
        "7_1": "PENDING",
        "7_2": "PENDING",
        "8": "SUSPENDED",
    }


def test_only_an_end_is_final() -> None:
    going = {"PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "RESIZING"}
    assert not going & FINAL


def test_a_command_that_fails_or_is_missing(programs: Path) -> None:
    with pytest.raises(ClusterError, match="No such file or directory: 'sacct'"):
        states(["1"])
    assert not cancel("1")
    program(programs / "sacct", "echo first >&2; echo sacct: error: storage is disabled >&2; exit 1")
    program(programs / "scancel", "exit 1")
    with pytest.raises(ClusterError, match=r"^sacct: error: storage is disabled$"):
        states(["1"])
    assert not cancel("1")


def test_one_command_cancels_all_and_none_is_run_for_none(programs: Path) -> None:
    program(programs / "scancel", f'echo "$*" >> {programs / "calls"}')
    assert cancel()
    assert cancel("1_0", "1_1", "2")
    assert (programs / "calls").read_text() == "1_0 1_1 2\n"
