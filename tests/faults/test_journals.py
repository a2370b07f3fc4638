"""Damaged journals, full disks and folders that may not be written, through whole command lines."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from children import Ledger, Nursery

#: Some forty probes that each end after one step.
WORDS = ["measure", "--quiet", "--data", "wine", "--model", "linear", "--n-max", "4", "--min-steps", "1"]
WORDS += ["--max-epochs", "1", "--replicates", "20", "--trainer", "single", "--workers", "1", "--journal", "j.jsonl"]
#: What is no result of a measurement but of its run.
TIMES = ("seconds", "cost", "unused", "versions")


def measured(nursery: Nursery, folder: Path, *more: str) -> dict[str, Any]:
    """The result of the measurement on a folder's journal, without times."""
    code, output = nursery.run(folder, *WORDS, "--json", "r.json", *more)
    assert code == 0, output
    return strip(json.loads((folder / "r.json").read_text()))


def strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: strip(inner) for key, inner in value.items() if key not in TIMES}
    return [strip(inner) for inner in value] if isinstance(value, list) else value


def verdicts(journal: Path) -> dict[str, Any]:
    """Verdicts in the lines that can be read."""
    found = {}
    for line in journal.read_bytes().split(b"\n")[:-1]:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "verdict" in record and "key" in record:
            found[record["key"]] = strip(record)
    return found


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], bytes]:
    """The result, and the journal that it left."""
    folder = tmp_path_factory.mktemp("undisturbed")
    result = measured(nursery, folder)
    return result, (folder / "j.jsonl").read_bytes()


def make_folder(tmp_path: Path, number: int, content: bytes) -> Path:
    folder = tmp_path / str(number)
    folder.mkdir()
    (folder / "j.jsonl").write_bytes(content)
    return folder


def torn(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def split_character(rng: random.Random, content: bytes) -> bytes:
    return torn(rng, content) + "é".encode()[:1]


def interleaved(rng: random.Random, content: bytes) -> bytes:
    """Two lines written into one another, as by two writers without a lock."""
    lines = content.split(b"\n")[:-1]
    place = rng.randrange(1, len(lines))
    at = rng.randrange(1, len(lines[place - 1]))
    first, second = lines[place - 1], lines[place]
    lines[place - 1 : place + 1] = [first[:at] + second, first[at:]]
    return b"\n".join(lines) + b"\n"


def overwritten(rng: random.Random, content: bytes) -> bytes:
    """A block of other bytes in the midst: lost by the disk, or NULs as after a crash of some file systems."""
    at, length = rng.randrange(len(content)), rng.randrange(1, 2000)
    return content[:at] + rng.choice([bytes(length), rng.randbytes(length)]) + content[at + length :]


def empty(rng: random.Random, content: bytes) -> bytes:  # noqa: ARG001
    return b""


def repeated(rng: random.Random, content: bytes) -> bytes:
    return content + torn(rng, content)


DAMAGES = [torn, split_character, interleaved, overwritten, empty, repeated]


@pytest.mark.faults(quick=1, full=20)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_journal(
    nursery: Nursery,
    undisturbed: tuple[dict[str, Any], bytes],
    tmp_path: Path,
    damage: Callable[[random.Random, bytes], bytes],
    trials: int,
    ledger: Ledger,
) -> None:
    result, content = undisturbed
    rng, lost = random.Random(trials), 0
    for trial in range(trials):
        folder = make_folder(tmp_path, trial, damage(rng, content))
        readable = verdicts(folder / "j.jsonl")
        assert measured(nursery, folder) == result
        after = verdicts(folder / "j.jsonl")
        lost += sum(after.get(key) != verdict for key, verdict in readable.items())
    ledger(trials, lost)
    assert lost == 0


def sentence_of(output: str) -> str:
    """The one sentence of a failure."""
    assert output.startswith("error: "), output
    assert output.count("\n") == 1, output
    return output


@pytest.mark.faults(quick=1, full=1)
def test_journal_of_a_newer_schema(
    nursery: Nursery, undisturbed: tuple[dict[str, Any], bytes], tmp_path: Path, ledger: Ledger
) -> None:
    newer = undisturbed[1] + b'{"schema":99,"kind":"probe"}\n'
    folder = make_folder(tmp_path, 0, newer)
    code, output = nursery.run(folder, *WORDS)
    assert code == 2
    assert "got 99" in sentence_of(output)
    assert (folder / "j.jsonl").read_bytes() == newer
    ledger(1, 0)


@pytest.mark.faults(quick=2, full=20)
def test_full_disk_by_a_limit_of_file_size(
    nursery: Nursery, undisturbed: tuple[dict[str, Any], bytes], tmp_path: Path, trials: int, ledger: Ledger
) -> None:
    result, content = undisturbed
    rng = random.Random(trials)
    for trial in range(trials):
        folder = tmp_path / str(trial)
        folder.mkdir()
        limit = rng.randrange(400, len(content) - 1)
        code, output = nursery.run(folder, *WORDS, limit=limit)
        assert code == 2
        assert "file too large" in sentence_of(output).lower()
        kept = (folder / "j.jsonl").read_bytes()
        assert kept == b"" or kept.endswith(b"\n")
        assert measured(nursery, folder) == result
        assert (folder / "j.jsonl").read_bytes().startswith(kept)
    ledger(trials, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", disk], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("may not mount")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.faults(quick=1, full=10)
def test_full_disk(
    nursery: Nursery, undisturbed: tuple[dict[str, Any], bytes], small_disk: Path, trials: int, ledger: Ledger
) -> None:
    result, _ = undisturbed
    ballast = small_disk / "ballast"
    for trial in range(trials):
        folder = small_disk / str(trial)
        folder.mkdir()
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        ballast.write_bytes(bytes(free - 4096 * (2 + trial % 2)))
        code, output = nursery.run(folder, *WORDS)
        assert code == 2
        assert "no space left on device" in sentence_of(output).lower()
        kept = (folder / "j.jsonl").read_bytes()
        assert kept == b"" or kept.endswith(b"\n")
        ballast.unlink()
        assert measured(nursery, folder) == result
        assert (folder / "j.jsonl").read_bytes().startswith(kept)
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    ledger(trials, 0)


@pytest.mark.faults(quick=1, full=1)
def test_folder_that_may_only_be_read(nursery: Nursery, small_disk: Path, ledger: Ledger) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    code, output = nursery.run(small_disk, *WORDS)
    assert code == 2
    assert "read-only file system" in sentence_of(output).lower()
    ledger(1, 0)
