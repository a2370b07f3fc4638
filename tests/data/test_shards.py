"""Shards are read in place, each image once, and damage is told by name."""

from __future__ import annotations

import io
import logging
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shard_files import images, png, samples, write_tar

from emc.data import load, shards
from emc.data.shards import expand
from emc.errors import DataError, SpecError


def pixels(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded))).transpose(2, 0, 1)


def test_images_and_classes_of_all_shards(tmp_path: Path) -> None:
    encoded, labels = images(30), [number % 3 for number in range(30)]
    for shard in range(3):
        part = slice(10 * shard, 10 * shard + 10)
        write_tar(tmp_path / "set" / f"{shard:03}.tar", samples(encoded[part], labels[part], 10 * shard))
    pool = load(f"webdataset:path={tmp_path}/set/{{000..002}}.tar,identity=listing")
    assert (pool.facts.name, pool.facts.rows, pool.facts.shape) == ("set (webdataset)", 30, (3, 8, 8))
    assert pool.facts.classes == ("0", "1", "2")
    assert pool.y.tolist() == labels
    raw = np.stack([pixels(image) for image in encoded]).astype(np.float64)
    mean, std = (getattr(raw, name)((0, 2, 3), keepdims=True) for name in ("mean", "std"))
    np.testing.assert_allclose(pool.X.numpy(), (raw - mean) / std, atol=1e-6)
    assert any("repeats were not looked for" in note for note in pool.facts.notes)


def test_only_what_is_needed_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "a.tar", samples(images(50), [number % 2 for number in range(50)]))
    monkeypatch.setattr("emc.data.rows.SAMPLED", 5)
    monkeypatch.setattr("emc.data.encoded.SAMPLED", 5)
    seen: list[int] = []
    read = shards.Shards.read
    monkeypatch.setattr(shards.Shards, "read", lambda self, row: seen.append(row) or read(self, row))
    pool = load(f"webdataset:path={path},size=8")
    assert len(set(seen)) == 5  # the statistics' sample
    wanted = np.array([3, 7, 3])
    X = pool.rows.read(wanted)
    assert np.array_equal(X[0], X[2])
    assert len(set(seen)) <= 7
    before = len(seen)
    pool.rows.read(wanted)
    load(f"webdataset:path={path},size=8").rows.read(wanted)
    assert len(seen) == before  # from the cache, in another process too
    assert any("fixed sample of 5" in note for note in pool.facts.notes)


def test_content_is_the_same_pool_by_other_names_and_shards(tmp_path: Path) -> None:
    encoded, labels = images(20), [number % 2 for number in range(20)]
    write_tar(tmp_path / "one" / "a.tar", samples(encoded, labels))
    order = np.random.default_rng(3).permutation(20)
    for shard, part in enumerate(np.array_split(order, 3)):
        own = samples([encoded[i] for i in part], [labels[i] for i in part], 100)
        write_tar(tmp_path / "three" / f"{shard}.tar", own)
    one = load(f"webdataset:path={tmp_path}/one/a.tar")
    three = load(f"webdataset:path={tmp_path}/three/{{0..2}}.tar")
    assert one.facts.content_hash == three.facts.content_hash
    assert np.array_equal(one.X, three.X)
    assert np.array_equal(one.y, three.y)
    listed = load(f"webdataset:path={tmp_path}/one/a.tar,identity=listing")
    assert listed.facts.content_hash != one.facts.content_hash


def test_repeats_are_told_by_encoded_bytes(tmp_path: Path) -> None:
    encoded = images(6)
    members = samples([*encoded, encoded[0], encoded[1]], [0, 1, 0, 1, 0, 1, 0, 0])  # one of the repeats disagrees
    path = write_tar(tmp_path / "a.tar", members)
    pool = load(f"webdataset:path={path}")
    assert (pool.facts.rows, pool.facts.repeats, pool.facts.conflicts) == (6, 2, 1)
    kept = load(f"webdataset:path={path}", "keep")
    assert kept.facts.rows == 8
    assert sorted(np.unique(kept.group, return_counts=True)[1]) == [1, 1, 1, 1, 2, 2]


def test_a_shard_that_changed_is_indexed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = f"webdataset:path={write_tar(tmp_path / 'a.tar', samples(images(4), [0, 1, 0, 1]))}"
    before = load(spec)
    with monkeypatch.context() as patch:
        patch.setattr(shards, "_index", None)
        assert load(spec).facts.content_hash == before.facts.content_hash
    write_tar(tmp_path / "a.tar", samples(images(6, seed=1), [0, 1, 0, 1, 0, 1]))
    after = load(spec)
    assert after.facts.rows == 6
    assert after.facts.content_hash != before.facts.content_hash


@pytest.mark.parametrize("damage", [b"", b"PK garbage"])
def test_a_damaged_index_is_made_again(tmp_path: Path, damage: bytes) -> None:
    spec = f"webdataset:path={write_tar(tmp_path / 'a.tar', samples(images(4), [0, 1, 0, 1]))}"
    before = load(spec)
    (index,) = (tmp_path / "cache" / "emc" / "indexes").iterdir()
    index.write_bytes(damage)
    assert load(spec).facts.content_hash == before.facts.content_hash


def test_a_shard_that_changes_while_it_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emc.data.rows.SAMPLED", 2)
    path = write_tar(tmp_path / "a.tar", samples(images(8), [0, 1] * 4))
    pool = load(f"webdataset:path={path},size=8")
    state = path.stat()
    content = bytearray(path.read_bytes())
    for at in range(0, len(content), 512):
        if content[at + 1 : at + 4] == b"PNG":
            content[at + 80] ^= 255
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"shards must stay as they are .*a\.tar than was indexed; run the same"):
        pool.X  # noqa: B018
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(DataError, match=r'got other bytes of ".*a\.tar: 000\d\.png"; run the same command again'):
        pool.X  # noqa: B018


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    encoded = images(4)
    path = write_tar(tmp_path / "a.tar", samples([*encoded[:3], encoded[3][:60]], [0, 1, 0, 1]))
    with pytest.raises(DataError, match=r'every image must be readable, got ".*a\.tar: 0003\.png" \(.*; remove'):
        load(f"webdataset:path={path}")


def test_images_of_other_sizes_need_a_size(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", samples([*images(3), *images(1, size=9)], [0, 1, 0, 1]))
    with pytest.raises(DataError, match=r'got 9 x 9 pixels of ".*0003\.png" where the first has 8 x 8; write size='):
        load(f"webdataset:path={path}")
    assert load(f"webdataset:path={path},size=8").facts.shape == (3, 8, 8)


def test_classes_by_name_and_the_format_of_webdatasets_writer(tmp_path: Path) -> None:
    """Names of folders, two dots, other members, upper case, headers of the extended format."""
    encoded, members = images(4), []
    for number, image in enumerate(encoded):
        key = f"./train/{'x' * 120}{number}"
        members += [(f"{key}.JSON", b"{}"), (f"{key}.PNG", image), (f"{key}.seg.png", b""), (f"{key}.cls", b" cat\n")]
    members[-1] = (members[-1][0], b"dog")
    write_tar(tmp_path / "a.tar", members, tarfile.PAX_FORMAT)
    pool = load(f"webdataset:path={tmp_path}/a.tar,identity=listing")
    assert pool.facts.classes == ("cat", "dog")
    assert pool.y.tolist() == [0, 0, 0, 1]


def test_shards_of_webdatasets_own_writer(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    encoded = images(6)
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for number, image in enumerate(encoded):
            writer.write({"__key__": f"sample{number}", "png": image, "cls": number % 2})
    pool = load(f"webdataset:path={tmp_path}/a.tar,identity=listing")
    assert pool.y.tolist() == [0, 1, 0, 1, 0, 1]


def _member(kind: bytes, name: str = "0001.png", **facts: object) -> bytes:
    member = tarfile.TarInfo(name)
    member.type = kind
    for key, value in facts.items():
        setattr(member, key, value)
    return member.tobuf(tarfile.GNU_FORMAT)


SOUND = b""


def _sound(tmp_path: Path) -> bytes:
    return write_tar(tmp_path / "sound.tar", samples(images(4), [0, 1, 0, 1])).read_bytes()


HOSTILE = {
    "link": (lambda s: _member(tarfile.SYMTYPE, linkname="/etc/passwd") + s, "plain files, got 0001.png .* a link"),
    "hard link": (lambda s: _member(tarfile.LNKTYPE, linkname="../../x") + s, "plain files, got 0001.png"),
    "device": (lambda s: _member(tarfile.CHRTYPE) + s, "plain files, got 0001.png"),
    "pipe": (lambda s: _member(tarfile.FIFOTYPE) + s, "plain files, got 0001.png"),
    "sparse": (lambda s: _member(tarfile.GNUTYPE_SPARSE) + s, "plain files|plain tar file"),
    "huge image": (lambda s: _member(tarfile.REGTYPE, size=1 << 40) + s, "1 to 67,108,864 bytes, got 1,099,511,62"),
    "huge class": (lambda s: _member(tarfile.REGTYPE, "1.cls", size=5000) + s, "1 to 256 bytes, got 5,000 for 1.cls"),
    "huge header": (lambda s: _member(b"x", size=1 << 40) + s, r"plain tar file, .*\(a header of 1,099,511,627,776"),
    "huge long name": (lambda s: _member(b"L", size=1 << 40) + s, r"plain tar file, .*\(a header of 1,099,511,627,776"),
    "broken header": (lambda s: s[:2048] + b"\x07" * 512 + s[2560:], "whole tar file, got .*breaks at byte 2,048"),
    "cut short": (lambda s: s[:1200], "tar file, got"),
    "no end": (lambda s: s[: 8 * 1024], "whole tar file, got .*breaks at byte 8,192"),
    "empty": (lambda _: b"", "plain tar file, got .*empty file"),
    "zip": (lambda _: b"PK\x03\x04" + bytes(2000), "plain tar file, got"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_shards_are_one_sentence(tmp_path: Path, kind: str) -> None:
    make, message = HOSTILE[kind]
    (tmp_path / "a.tar").write_bytes(make(_sound(tmp_path)))
    with pytest.raises(DataError, match=message):
        load(f"webdataset:path={tmp_path}/a.tar,size=8")


MEMBERS = {
    "no class": ([("1.png", b"x")], r'"1" in .* without class \(\.cls\)'),
    "no image": ([("1.cls", b"0")], r'"1" in .* without image'),
    "two images": ([("1.png", b"x"), ("1.jpg", b"x"), ("1.cls", b"0")], 'got two of "1"'),
    "a class of bytes": ([("1.png", b"x"), ("1.cls", b"\xff\x00")], r"class as a number or text, got b'\\xff"),
    "an empty image": ([("1.png", b""), ("1.cls", b"0")], "got 0 for 1.png"),
    "nothing": ([("readme.txt", b"x")], "must hold images with classes, got none"),
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_shards_without_samples_are_one_sentence(tmp_path: Path, kind: str) -> None:
    members, message = MEMBERS[kind]
    write_tar(tmp_path / "a.tar", members)
    with pytest.raises(DataError, match=message):
        load(f"webdataset:path={tmp_path}/a.tar,size=8")


def test_a_path_that_leads_out_touches_nothing(tmp_path: Path) -> None:
    members = [("../../evil.png", images(1)[0]), ("../../evil.cls", b"0"), *samples(images(2, seed=1), [0, 1])]
    pool = load(f"webdataset:path={write_tar(tmp_path / 'in' / 'in' / 'a.tar', members)}")
    assert pool.facts.rows == 3
    assert not (tmp_path / "evil.png").exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{0..99999999999}.tar", "at most 100,000 shards"),
        ("{0..1.tar", "balanced braces"),
        ("{000..002}.tar", r"needs a file, got .*000\.tar, which does not exist"),
    ],
)
def test_patterns_that_name_no_shards(path: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        expand(path, "data webdataset")


def test_options_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"takes identity=content or listing, got name"):
        load(f"webdataset:path={tmp_path},identity=name")
    with pytest.raises(SpecError, match=r"size must be between 1 and 4096 pixels, or 0"):
        load(f"webdataset:path={tmp_path},size=5000")


def test_a_cache_that_cannot_be_written_costs_no_result(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_tar(tmp_path / "a.tar", samples(images(4), [0, 1, 0, 1]))
    (tmp_path / "cache").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert load(f"webdataset:path={path}").X.shape == (4, 3, 8, 8)
    assert "decoded images are not kept" in caplog.text
    assert "an index is not kept" in caplog.text


def test_grey_images_become_colour(tmp_path: Path) -> None:
    held = io.BytesIO()
    Image.new("L", (8, 8), 7).save(held, "png")
    path = write_tar(tmp_path / "a.tar", samples([held.getvalue(), png(np.zeros((8, 8, 3), np.uint8))], [0, 1]))
    assert load(f"webdataset:path={path}").facts.shape == (3, 8, 8)
