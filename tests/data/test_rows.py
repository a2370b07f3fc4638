"""Rows in memory and rows that are read when they are asked for are the same rows."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shard_files import images, samples, write_tar

from emc.data import load
from emc.data.regimes import PoolStatistics
from emc.data.rows import SAMPLED, TensorRows, chosen
from emc.data.split import hold_out

LABELS = [number % 3 for number in range(24)]


def spec(tmp_path: Path, kind: str) -> str:
    """The same images in shards, in a folder, in memory; or generated ones."""
    encoded = images(24)
    if kind == "generated":
        return "synthetic_images:classes=3,size=8,count=24"
    if kind == "shards":
        return f"webdataset:path={write_tar(tmp_path / 'a.tar', samples(encoded, LABELS))},size=8"
    for number, image in enumerate(encoded):
        path = tmp_path / "set" / str(LABELS[number]) / f"{23 - number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return f"folder:path={tmp_path / 'set'},size=8,identity={kind}"


def test_a_folder_and_shards_of_the_same_images_are_one_pool(tmp_path: Path) -> None:
    shards, folder = (load(spec(tmp_path, kind)) for kind in ("shards", "content"))
    assert shards.facts.content_hash == folder.facts.content_hash
    assert np.array_equal(shards.X, folder.X)
    assert np.array_equal(shards.y, folder.y)
    whole = load(spec(tmp_path, "pixels"))
    mine = {(X.tobytes(), int(y)) for X, y in zip(shards.X.numpy(), shards.y, strict=True)}
    assert mine == {(X.tobytes(), int(y)) for X, y in zip(whole.X.numpy(), whole.y, strict=True)}
    assert load(spec(tmp_path, "listing")).facts.content_hash != folder.facts.content_hash


@pytest.mark.parametrize("kind", ["generated", "shards", "content", "listing", "pixels"])
def test_any_rows_in_any_order(tmp_path: Path, kind: str) -> None:
    pool = load(spec(tmp_path, kind))
    index = np.array([20, 3, 3, 0, 23])
    X = pool.X.numpy()
    for rows in (pool.rows, pickle.loads(pickle.dumps(pool.rows))):
        read = rows.read(index)
        assert read.dtype == np.float32
        assert np.array_equal(read, X[index])
        assert np.array_equal(rows.take(index).read(np.array([1, 4])), X[[3, 23]])
        assert rows.read(np.empty(0, np.int64)).shape == (0, *rows.shape)
    assert np.array_equal(pool.rows.sample(), X)
    read[:] = 0
    assert np.array_equal(pool.X.numpy(), X)


@pytest.mark.parametrize("kind", ["generated", "shards", "pixels"])
def test_held_out_rows_are_standardised_by_the_pool(tmp_path: Path, kind: str) -> None:
    whole = load(spec(tmp_path, kind))
    pool = hold_out(whole, 0.25)
    assert pool.test is not None
    assert (len(pool.rows), len(pool.test.rows)) == (18, 6)
    if kind == "generated":  # by fixed numbers, whatever stays
        assert {row.tobytes() for row in pool.X.numpy()} < {row.tobytes() for row in whole.X.numpy()}
        return
    np.testing.assert_allclose(pool.X.double().mean((0, 2, 3)).numpy(), 0, atol=1e-6)
    np.testing.assert_allclose(pool.X.double().std((0, 2, 3), correction=0).numpy(), 1, atol=1e-6)
    assert abs(float(pool.test.X.mean())) > 1e-6
    assert len({row.tobytes() for row in (*pool.X.numpy(), *pool.test.X.numpy())}) == 24


def test_a_pool_is_known_by_the_rows_that_stay(tmp_path: Path) -> None:
    whole = load(spec(tmp_path, "shards"))
    hashes = {whole.facts.content_hash, *(hold_out(whole, share).facts.content_hash for share in (0.1, 0.2, 0.2))}
    assert len(hashes) == 3


def test_statistics_are_of_a_fixed_sample_spread_over_the_pool() -> None:
    assert chosen(SAMPLED, "a").tolist() == list(range(SAMPLED))
    many = chosen(10**7, "a")
    assert len(np.unique(many)) == SAMPLED
    assert (np.diff(many) > 0).all()
    assert np.array_equal(many, chosen(10**7, "a"))
    assert not np.array_equal(many, chosen(10**7, "b"))
    assert abs(many.mean() / 10**7 - 0.5) < 0.03


def test_statistics_of_a_sample_are_near_the_pools() -> None:
    pool = load("synthetic_images:classes=3,size=4,count=9000")
    sampled, exact = PoolStatistics(pool.rows.sample()), PoolStatistics(pool.X.numpy())
    assert len(pool.rows.sample()) == SAMPLED
    np.testing.assert_allclose(sampled.mean, exact.mean, atol=0.03)
    np.testing.assert_allclose(sampled.std, exact.std, atol=0.03)


def test_rows_in_memory_are_sampled_whole() -> None:
    pool = load("gaussian:dim=3,size=5000")
    assert isinstance(pool.rows, TensorRows)
    assert len(pool.rows.sample()) == 5000


def painted(root: Path, seed: int, modified_ns: int | None = None) -> Path:
    """A folder of uncompressed images, whose names and sizes are the same whatever their pixels."""
    rng = np.random.default_rng(seed)
    for number in range(6):
        path = root / str(number % 2) / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
        if modified_ns is not None:
            os.utime(path, ns=(modified_ns, modified_ns))
    return root


def in_memory(folder: Path) -> np.ndarray:
    return load(f"folder:path={folder},size=8").X.numpy()


def test_listings_that_are_equal_share_no_pixels(tmp_path: Path) -> None:
    """Two folders of equal names, sizes and times, and a link that comes to lead to the other."""
    one, two = (painted(tmp_path / name, seed, modified_ns=10**18) for seed, name in enumerate(("one", "two")))
    link = tmp_path / "link"
    for folder in (one, two):
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
        for path in (folder, link):
            assert np.array_equal(load(f"folder:path={path},size=8,identity=listing").X, in_memory(folder))


def test_a_folder_that_is_rewritten_in_place_is_another_listing(tmp_path: Path) -> None:
    spec = f"folder:path={tmp_path / 'set'},size=8,identity=listing"
    painted(tmp_path / "set", 0, modified_ns=10**18)
    before = load(spec)
    assert np.array_equal(before.X, in_memory(tmp_path / "set"))
    assert load(spec).facts.content_hash == before.facts.content_hash
    painted(tmp_path / "set", 1, modified_ns=10**18 + 1)
    after = load(spec)
    assert np.array_equal(after.X, in_memory(tmp_path / "set"))
    assert after.facts.content_hash != before.facts.content_hash


def test_shards_that_differ_in_pixels_alone_share_none(tmp_path: Path) -> None:
    """In two places of equal times; and in one place at another time."""

    def written(path: Path, seed: int, modified_ns: int) -> str:
        rng = np.random.default_rng(seed)
        encoded = [bmp(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(6)]
        members = [(name.replace("png", "bmp"), held) for name, held in samples(encoded, LABELS[:6])]
        os.utime(write_tar(path, members), ns=(modified_ns, modified_ns))
        return f"webdataset:path={path},identity=listing"

    pools = [
        load(written(tmp_path / place / "a.tar", seed, 10**18 + time))
        for seed, (place, time) in enumerate((("one", 0), ("two", 0), ("one", 1)))
    ]
    assert len({pool.X.numpy().tobytes() for pool in pools}) == 3
    assert pools[0].facts.content_hash == pools[1].facts.content_hash  # as documented
    assert pools[0].facts.content_hash != pools[2].facts.content_hash


def bmp(pixels: np.ndarray) -> bytes:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "bmp")
    return held.getvalue()
