"""Pools of millions of images: time to the first probe, memory, and rows a second, each in a process of its own.

Shards and image folders are written first, from `synthetic_images`, as posterised PNG of 16x16 pixels.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from common import Report, json_option, prepared, quick_option, synchronise, train, use_one_thread
from PIL import Image

from emc.data import DATA
from emc.specs import Probe

#: Pixels a side, classes, and images a shard.
SIDE, CLASSES, A_SHARD = 16, 10, 10_000

#: Rows read at random, samples of the first probe, rows a batch.
READ, PROBE, BATCH = 20_000, 1000, 128


@dataclass(frozen=True)
class Case:
    """A dataset to measure.

    Attributes:
        title: in the table.
        data: its spec.
        indexed: whether there is an index to keep, so that it is measured again with it.
    """

    title: str
    data: str
    indexed: bool = True


def png_images(count: int) -> Iterator[tuple[bytes, int]]:
    """Encoded images and their classes."""
    rows: Any = DATA.build(f"synthetic_images:classes={CLASSES},size={SIDE},count={count}").X
    for start in range(0, count, 1000):
        numbers = np.arange(start, min(start + 1000, count))
        levels = (rows.levels(numbers) // 32 * 32).astype(np.uint8).transpose(0, 2, 3, 1)
        for number, image in zip(numbers.tolist(), levels, strict=True):
            held = io.BytesIO()
            Image.fromarray(image).save(held, "png", compress_level=1)
            yield held.getvalue(), number % CLASSES


def write_shards(folder: Path, count: int) -> str:
    """Write shards; their path as the dataset takes it."""
    folder.mkdir()
    shards = -(-count // A_SHARD)
    images = png_images(count)
    for shard in range(shards):
        with tarfile.open(folder / f"{shard:04}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for number in range(shard * A_SHARD, min((shard + 1) * A_SHARD, count)):
                image, label = next(images)
                for suffix, content in (("png", image), ("cls", str(label).encode())):
                    member = tarfile.TarInfo(f"{number:08}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
                tar.members = []
    return f"{folder}/{{0000..{shards - 1:04}}}.tar"


def write_folder(folder: Path, count: int) -> str:
    """Write a folder of images; its path."""
    for label in range(CLASSES):
        (folder / str(label)).mkdir(parents=True)
    for number, (image, label) in enumerate(png_images(count)):
        (folder / str(label) / f"{number:08}.png").write_bytes(image)
    return str(folder)


def measure(data: str) -> dict[str, Any]:
    """What it takes to train on a pool; called in a fresh process."""
    use_one_thread()
    began = memory()["now"]
    started = time.perf_counter()
    few = {"min_steps": 20, "max_epochs": 1, "check_steps": 10, "certify": "none"}
    ready = prepared("single", data=data, model="cnn:width=4,depth=1", labels="random", n_max=10 * PROBE, **few)
    loaded = time.perf_counter()
    train(ready, [Probe("first", PROBE, 0)])
    probed = time.perf_counter()
    after = memory()
    return {
        "load_s": loaded - started,
        "probe_s": probed - loaded,
        "memory": (after["now"] - began) / 2**20,
        "mapped": after["file"] / 2**20,
        "peak": after["peak"] / 2**20,
        **rates(ready.setup.pool),
    }


def rates(pool: Any) -> dict[str, float]:
    """Rows a second: made, read again, and gathered on the device by batches."""
    rows = pool.dataset.rows
    index = np.random.default_rng(1).choice(len(rows), min(READ, len(rows)), replace=False)
    parts = np.array_split(index, max(1, len(index) // 1000))
    made, again = (_rate(lambda: [rows.read(part) for part in parts], len(index)) for _ in range(2))
    inputs, positions = pool.samples(0).inputs(min(len(index), len(rows)))
    batches = positions[torch.randperm(len(positions))].split(BATCH)
    return {"made": made, "again": again, "gathered": _rate(lambda: _gather(inputs, batches), len(positions))}


def _gather(inputs: Any, batches: Any) -> None:
    for batch in batches:
        inputs.index_select(0, batch)
    synchronise()


def _rate(work: Any, rows: int) -> float:
    started = time.perf_counter()
    work()
    return rows / (time.perf_counter() - started)


def memory() -> dict[str, float]:
    """Bytes of this process: `now` without mapped files, `file` of those, and the highest of both."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: 1024.0 * int(lines[key].split()[0]) for name, key in KINDS.items()}


#: Where Linux tells of memory.
KINDS = {"now": "RssAnon", "file": "RssFile", "peak": "VmHWM"}


def row(title: str, data: str, first: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(measure, data).result()
    return {
        "pool": title,
        **first,
        "load (s)": found["load_s"],
        "first probe (s)": found["probe_s"],
        "memory (MiB)": found["memory"],
        "mapped files (MiB)": found["mapped"],
        "peak (MiB)": found["peak"],
        "made (rows/s)": found["made"],
        "read again (rows/s)": found["again"],
        "gathered (rows/s)": found["gathered"],
    }


@contextmanager
def place(folder: Path | None) -> Iterator[Path]:
    """A folder for images and caches, removed at the end."""
    made = Path(tempfile.mkdtemp(prefix="emc-data-scale-", dir=folder))
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(made / "cache")
    try:
        yield made
    finally:
        shutil.rmtree(made)
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


def timed(work: Any) -> tuple[Any, float]:
    """What it returns, and the seconds it took."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started


@click.command()
@click.option("--shards", default=1_000_000, help="images in shards")
@click.option("--files", default=200_000, help="images in an image folder")
@click.option("--generated", default="1000000,20000000", help="counts of generated images")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="where to write [default: TMPDIR]")
@quick_option
@json_option
def main(shards: int, files: int, generated: str, folder: Path | None, quick: bool, json_path: Path | None) -> None:
    """Measure pools of many images."""
    if quick:
        shards, files, generated = 5_000, 2_000, "5000"
    report = Report("data_scale", json_path, quick)
    rows = []
    for count in map(int, generated.split(",")):
        data = f"synthetic_images:classes={CLASSES},size=32,count={count}"
        rows.append(row(f"synthetic_images, {count:,} of 32x32", data, {"written (s)": None}))
        report.table("Pools", rows)
    with place(folder) as made:
        path, seconds = timed(lambda: write_shards(made / "shards", shards))
        for identity in ("listing", "content"):
            data = f"webdataset:path={path},identity={identity}"
            for when in ("first", "indexed"):
                title = f"webdataset, {shards:,} of {SIDE}x{SIDE}, identity={identity}, {when}"
                rows.append(row(title, data, {"written (s)": seconds}))
                report.table("Pools", rows)
        path, seconds = timed(lambda: write_folder(made / "folder", files))
        for identity in ("content", "pixels"):
            for when in ("first", "again"):
                data = f"folder:path={path},size={SIDE},identity={identity}"
                title = f"folder, {files:,} of {SIDE}x{SIDE}, identity={identity}, {when}"
                rows.append(row(title, data, {"written (s)": seconds}))
                report.table("Pools", rows)


if __name__ == "__main__":
    main()
