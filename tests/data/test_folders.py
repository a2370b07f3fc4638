from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emc.data import DATA, decoding, folders, load
from emc.errors import DataError, SpecError


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    root = tmp_path / "pets"
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for index in range(3):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / name / f"{index}.png")
    return root


def cached_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "emc" / "images").glob("*"))


def test_png_pixels_arrive_unchanged_and_in_order(pets: Path) -> None:
    found = folders.list_images(pets, "data folder")
    images = folders._load_or_decode(found, 8, "RGB")
    expected = [np.asarray(Image.open(pets / name / f"{i}.png")) for name in ("cat", "dog") for i in range(3)]
    np.testing.assert_array_equal(images, np.stack(expected).transpose(0, 3, 1, 2))
    pool = load(f"folder:path={pets},size=8")
    assert tuple(pool.X.shape) == (6, 3, 8, 8)
    assert pool.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert (pool.facts.name, pool.facts.classes) == ("pets (image folder)", ("cat", "dog"))
    np.testing.assert_allclose(pool.X.double().mean((0, 2, 3)).numpy(), 0, atol=1e-6)


def test_the_second_load_decodes_nothing(pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = DATA.build(f"folder:path={pets},size=8")
    assert len(cached_files(tmp_path)) == 1
    with monkeypatch.context() as patch:
        patch.setattr(folders, "decode", None)
        np.testing.assert_array_equal(DATA.build(f"folder:path={pets},size=8").X, first.X)


@pytest.mark.parametrize("change", ["touch", "add", "remove", "rename"])
def test_a_changed_folder_is_decoded_again(pets: Path, tmp_path: Path, change: str) -> None:
    DATA.build(f"folder:path={pets},size=8")
    file = pets / "cat" / "0.png"
    if change == "touch":
        os.utime(file, (1, 1))
    elif change == "add":
        paint(pets / "cat" / "9.png", (1, 2, 3))
    elif change == "remove":
        file.unlink()
    else:
        file.rename(pets / "cat" / "zero.png")
    DATA.build(f"folder:path={pets},size=8")
    assert len(cached_files(tmp_path)) == 2


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY garbage"])
def test_a_damaged_cache_is_written_again(pets: Path, tmp_path: Path, damage: bytes) -> None:
    first = DATA.build(f"folder:path={pets},size=8")
    (cache,) = cached_files(tmp_path)
    whole = cache.read_bytes()
    cache.write_bytes(damage)
    np.testing.assert_array_equal(DATA.build(f"folder:path={pets},size=8").X, first.X)
    assert cache.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_no_result(
    pets: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert DATA.build(f"folder:path={pets},size=8").X.shape == (6, 3, 8, 8)
    assert "decoded images are not kept" in caplog.text


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    extension = "tif" if mode == "CMYK" else "png"
    for name, colour in (("a", (255, 255, 255)), ("b", (0, 0, 0))):
        paint(tmp_path / "set" / name / f"0.{extension}", colour, mode=mode)
    images = folders._load_or_decode(folders.list_images(tmp_path / "set", "x"), 8, "RGB")
    assert images[:, :, 0, 0].tolist() == [[255] * 3, [0] * 3]


def test_other_sizes_are_scaled_by_the_shorter_side_and_cut_to_the_centre(tmp_path: Path) -> None:
    striped = np.zeros((16, 48, 3), np.uint8)
    striped[:, 16:32] = 200  # the centre square
    for name, image in (("a", striped), ("b", striped.transpose(1, 0, 2))):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "set" / name / "0.png")
    images = folders._load_or_decode(folders.list_images(tmp_path / "set", "x"), 8, "RGB")
    assert (images[:, :, 2:-2, 2:-2] == 200).all()
    assert (images > 100).all()


def test_large_jpegs_are_decoded_by_threads_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_THREADED_BYTES", 0)
    for index in range(20):
        paint(tmp_path / "set" / "ab"[index % 2] / f"{index:02}.jpg", (12 * index,) * 3, (64, 48))
    images = folders._load_or_decode(folders.list_images(tmp_path / "set", "x"), 8, "RGB")
    expected = [12 * index for index in (*range(0, 20, 2), *range(1, 20, 2))]
    np.testing.assert_allclose(images[:, 0, 4, 4], expected, atol=2)


def test_hidden_files_are_passed_over_and_others_noted(pets: Path) -> None:
    (pets / ".cache").mkdir()
    (pets / "cat" / ".DS_Store").write_text("x")
    (pets / "cat" / "notes.txt").write_text("x")
    (pets / "README.md").write_text("x")
    raw = DATA.build(f"folder:path={pets},size=8")
    assert raw.X.shape[0] == 6
    assert raw.notes == ("1 files that are no images were ignored",)


def test_classes_with_numbers_for_names_are_in_their_order(tmp_path: Path) -> None:
    for name in ("10", "9"):
        paint(tmp_path / "set" / name / "0.png", (int(name),) * 3)
    assert DATA.build(f"folder:path={tmp_path / 'set'}").classes == ("9", "10")


@pytest.mark.parametrize("content", [b"", b"not an image", "truncated"])
def test_an_unreadable_image_is_named(pets: Path, tmp_path: Path, content: bytes | str) -> None:
    bad = pets / "dog" / "bad.jpg"
    paint(bad, (1, 2, 3), (64, 64))
    bad.write_bytes(bad.read_bytes()[:-200] if isinstance(content, str) else content)
    with pytest.raises(DataError, match=r'must be readable, got ".*dog/bad.jpg" \(.*\); remove or replace') as caught:
        load(f"folder:path={pets},size=8")
    assert "\n" not in str(caught.value)
    assert cached_files(tmp_path) == []


def test_images_of_16_bits_are_refused(pets: Path) -> None:
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(pets / "cat" / "deep.png")
    with pytest.raises(DataError, match=r"8 bits a channel, got .*deep.png"):
        load(f"folder:path={pets},size=8")


def test_mistakes_get_one_sentence(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data folder needs a folder, got /.*/nowhere, which does not exist"):
        load("folder:path=nowhere")
    with pytest.raises(DataError, match="which is a file"):
        load(f"folder:path={pets / 'cat' / '0.png'}")
    with pytest.raises(DataError, match="one sub-folder of images a class, got none in"):
        load(f"folder:path={pets / 'cat'}")
    with pytest.raises(DataError, match=r"got none directly in .*point path at the folder whose sub-folders"):
        load(f"folder:path={tmp_path}")
    with pytest.raises(SpecError, match="size must be between 1 and 4096 pixels, got 0"):
        load(f"folder:path={pets},size=0")
    (pets / "dog").rename(tmp_path / "dog")
    with pytest.raises(DataError, match="at least 2 classes, got 1"):
        load(f"folder:path={pets},size=8")


def test_a_folder_that_cannot_be_listed(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"data folder must be readable, got .*pets \(.*Permission denied"):
        folders.list_images(pets, "data folder")


def test_imagenet_is_read_from_a_local_copy(data_home: Path) -> None:
    with pytest.raises(DataError, match=r"imagenet needs a local copy, got no folder .*imagenet/train; .*EMC_DATA"):
        load("imagenet")
    for index, name in enumerate(("n01440764", "n01443537")):
        paint(data_home / "imagenet" / "train" / name / "0.JPEG", (100 * index, 50, 20), (40, 30))
    raw = DATA.build("imagenet:size=16")
    assert raw.X.shape == (2, 3, 16, 16)
    assert raw.name == "ImageNet 16x16, 2 classes"
