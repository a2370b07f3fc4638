"""Rows come out as they were made, whoever is killed, whatever else fills the file, however full the disk is."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emc.data import pixel_cache
from emc.data.pixel_cache import PixelCache

ROWS, WIDTH = 500, 64


def make(index: np.ndarray) -> np.ndarray:
    """Row i holds i + 1 in all its bytes, so that none equals what was never written."""
    return np.repeat((index % 250 + 1).astype(np.uint8)[:, None], WIDTH, axis=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "images" / "some.pixels"


@pytest.fixture
def counted() -> tuple[list[int], Callable[[np.ndarray], np.ndarray]]:
    seen: list[int] = []
    return seen, lambda index: (seen.extend(index.tolist()), make(index))[1]


def test_each_row_is_made_once(path: Path, counted: tuple[list[int], Callable[[np.ndarray], np.ndarray]]) -> None:
    seen, own = counted
    cache = PixelCache(path, ROWS, WIDTH)
    rng = np.random.default_rng(0)
    wanted: set[int] = set()
    for size in (0, 1, 7, 100, 400):
        index = rng.integers(0, ROWS, size)
        wanted |= set(index.tolist())
        assert np.array_equal(cache.read(index, own), make(index))
    assert sorted(seen) == sorted(wanted)
    copy = pickle.loads(pickle.dumps(cache))
    again = np.arange(ROWS)[sorted(wanted)]
    assert np.array_equal(copy.read(again, own), make(again))
    assert len(seen) == len(wanted)
    assert path.stat().st_blocks * 512 <= path.stat().st_size + 8192


def test_a_file_of_another_size_is_begun_anew(path: Path) -> None:
    index = np.arange(ROWS)
    PixelCache(path, ROWS, WIDTH).read(index, make)
    os.truncate(path, 4096 + ROWS)  # all marks are there, the rows are not
    assert np.array_equal(PixelCache(path, ROWS, WIDTH).read(index, make), make(index))


def test_a_mark_follows_its_row(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many writes a killed process has done, no row is marked that is not there."""

    class KilledError(Exception):
        pass

    done = 0

    def write(file: int, content: bytes, place: int) -> None:
        nonlocal left, done
        if left == 0:
            raise KilledError
        left, done = left - 1, done + 1
        os.pwrite(file, content, place)

    index = np.array([3, 4, 9, 200, 201, 499])
    for writes in range(8):
        path.unlink(missing_ok=True)
        left = writes
        with monkeypatch.context() as patch:
            patch.setattr(pixel_cache, "_write", write)
            patch.setattr(pixel_cache, "_ROWS_AT_ONCE", 2)
            with pytest.raises(KilledError):
                PixelCache(path, ROWS, WIDTH).read(index, make)
        content = np.fromfile(path, np.uint8)
        marked = np.flatnonzero(content[:ROWS])
        rows = content[4096:].reshape(ROWS, WIDTH)
        assert np.array_equal(rows[marked], make(marked))
        assert np.array_equal(PixelCache(path, ROWS, WIDTH).read(index, make), make(index))
    assert done > 8


FILLER = """
import sys, numpy as np
from pathlib import Path
from emc.data import pixel_cache
pixel_cache._ROWS_AT_ONCE = 3
sys.path.insert(0, sys.argv[2])
from test_pixel_cache import ROWS, WIDTH, make
cache = pixel_cache.PixelCache(Path(sys.argv[1]), ROWS, WIDTH)
print("ready", flush=True)
order = np.random.default_rng(int(sys.argv[3])).permutation(ROWS)
for part in np.array_split(order, 100):
    assert np.array_equal(cache.read(part, make), make(part))
"""


def filler(path: Path, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", FILLER, str(path), str(Path(__file__).parent), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_two_processes_fill_it_and_one_is_killed(path: Path) -> None:
    both = [filler(path, seed) for seed in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    while not path.exists():
        time.sleep(0.001)
    both[0].send_signal(signal.SIGKILL)
    assert both[1].wait(60) == 0
    both[0].wait(60)
    for process in both:
        process.stdout.close()  # type: ignore[union-attr]
    content = np.fromfile(path, np.uint8)
    assert content[:ROWS].all()
    assert np.array_equal(content[4096:].reshape(ROWS, WIDTH), make(np.arange(ROWS)))


@pytest.mark.parametrize("room", [0, 1, 5])
def test_a_full_disk_costs_no_row(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, room: int
) -> None:
    write, left = os.pwrite, room

    def full(file: int, content: bytes, place: int) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= 1
        return write(file, content, place)

    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr(pixel_cache, "_ROWS_AT_ONCE", 2)
    cache = PixelCache(path, ROWS, WIDTH)
    index = np.array([5, 2, 2, 9, 400, 77, 5])
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(cache.read(index, make), make(index))
        assert np.array_equal(cache.read(index, make), make(index))
    assert "are not kept in" in caplog.text
    assert "No space left" in caplog.text
    left = -1
    assert np.array_equal(cache.read(index, make), make(index))


def test_where_no_file_can_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "images").write_text("a file where the folder should be")
    index = np.array([5, 2, 2])
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(PixelCache(tmp_path / "images" / "a", ROWS, WIDTH).read(index, make), make(index))
    assert "are not kept in" in caplog.text
