"""Verdicts and claims in the folder of all runs: whatever stands there, and whoever owns it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from emc.errors import JournalError
from emc.results import ProbeResult, Verdict

pytest.importorskip("submitit", reason="needs submitit: pip install 'emc[slurm]'")

from emc.executors import slurm_earlier
from emc.executors.slurm_earlier import Dead, claim, earlier_verdicts, job_name
from emc.executors.slurm_job import Folder

GOOD = ProbeResult("good", 10, 0, 0, Verdict.FITTED, steps=3)


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is cancelled."""
    calls: list[str] = []
    monkeypatch.setattr(slurm_earlier, "cancel", lambda *words: calls.append(" ".join(words)))
    return calls


def folder_of(root: Path, name: str, *bases: str) -> Folder:
    folder = Folder(root / f"slurm-{name}")
    for path in (folder.verdicts("job"), *map(folder.pack, bases)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    folder.verdicts("job").write_text(json.dumps({"verdict": GOOD.to_dict()}) + "\n")
    return folder


@pytest.mark.parametrize(
    "record",
    [
        5,
        [],
        {},
        {"verdict": 5},
        {"verdict": {"key": "k"}},
        {"verdict": {**GOOD.to_dict(), "key": 5}},
        {"verdict": {**GOOD.to_dict(), "key": "k", "n": "10"}},
        {"verdict": {**GOOD.to_dict(), "key": "k", "verdict": "maybe"}},
        {"verdict": {**GOOD.to_dict(), "key": "k", "unknown": 1}},
    ],
)
def test_what_is_no_verdict_is_passed_over(tmp_path: Path, record: object) -> None:
    path = folder_of(tmp_path, "a").verdicts("job")
    path.write_text(json.dumps(record) + "\n" + path.read_text())
    assert earlier_verdicts(tmp_path) == {"good": GOOD}


def test_only_own_folders_and_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "elsewhere", "a")
    (tmp_path / "slurm-link").symlink_to(folder.path)
    assert earlier_verdicts(tmp_path) == earlier_verdicts(tmp_path / "nowhere") == {}
    own = folder_of(tmp_path, "own").verdicts("job")
    own.unlink()
    own.symlink_to(folder.verdicts("job"))
    own.with_name("folder.jsonl").mkdir()
    assert earlier_verdicts(tmp_path) == {}
    monkeypatch.setattr(os, "getuid", lambda: own.lstat().st_uid + 1)
    assert earlier_verdicts(tmp_path / "elsewhere") == {}


def test_a_file_that_goes_meanwhile_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = folder_of(tmp_path, "a").verdicts("job")
    folder_of(tmp_path, "b")
    opened = Path.open

    def vanish(path: Path, mode: str) -> object:
        if path == gone:
            raise FileNotFoundError(path)
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", vanish)
    assert earlier_verdicts(tmp_path) == {"good": GOOD}


def test_jobs_of_dead_drivers_are_cancelled_by_one_run_only(tmp_path: Path, cancelled: list[str]) -> None:
    live, dead, _unclaimed = (folder_of(tmp_path, name, "own").path for name in ("live", "dead", "unclaimed"))
    held, freed = claim(live), claim(dead)
    assert held is not None
    assert freed is not None
    os.close(freed)
    first, second = Dead(tmp_path), Dead(tmp_path)
    assert cancelled == ["--name emc-dead"]
    assert job_name(dead) == "emc-dead"
    second.close(["own"], remove=True)
    first.close(["own"], remove=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slurm-live", "slurm-unclaimed"]
    os.close(held)


def test_the_folder_of_a_run_that_trained_something_else_stays(tmp_path: Path, cancelled: list[str]) -> None:
    folder = folder_of(tmp_path, "dead", "own", "other").path
    freed = claim(folder)
    assert freed is not None
    os.close(freed)
    for bases, remove in ((["own"], True), (["own", "other"], False)):
        Dead(tmp_path).close(bases, remove=remove)
        assert folder.exists()
    Dead(tmp_path).close(["own", "other", "third"], remove=True)
    assert not folder.exists()
    assert cancelled == ["--name emc-dead"] * 3


def test_nobody_is_taken_for_dead_where_locks_are_not_seen_by_all(
    tmp_path: Path, cancelled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, "a", "own").path

    def refuse(path: Path) -> None:
        raise JournalError(f"got {path}")

    monkeypatch.setattr(slurm_earlier, "check_mount", refuse)
    assert claim(folder) is None
    Dead(tmp_path).close(["own"], remove=True)
    assert cancelled == []
    assert sorted(os.listdir(folder)) == ["setups", "verdicts"]
