"""Torchvision's real readers on small files in the real formats, their checksums set to those of the small files."""

from __future__ import annotations

import functools
import gzip
import hashlib
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from emc.data import DATA, load
from emc.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 28, 28), dtype=np.uint8)
DIGITS = np.arange(12, dtype=np.uint8) % 10
IDX = {"images-idx3": GREY, "labels-idx1": DIGITS}
COLOUR = RNG.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
OFFLINE = "http://127.0.0.1:9/"  # the discard port: nothing listens


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """MNIST's format: a magic number with type 8 (uint8) and the number of dimensions, the dimensions, the bytes."""
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for reader in (datasets.MNIST, datasets.FashionMNIST):
        monkeypatch.setattr(reader, "mirrors", [OFFLINE])
    for name in ("CIFAR10", "CIFAR100"):
        monkeypatch.setattr(getattr(datasets, name), "url", OFFLINE + "archive.tar.gz")


def write_mnist(root: Path, monkeypatch: pytest.MonkeyPatch, name: str = "MNIST", *, archived: bool = True) -> Path:
    """Four files in <root>/<name>/raw, and their checksums in torchvision's list."""
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    contents = {
        "train-images-idx3": GREY,
        "train-labels-idx1": DIGITS,
        "t10k-images-idx3": GREY,
        "t10k-labels-idx1": DIGITS,
    }
    resources = []
    for stem, array in contents.items():
        packed = gzip.compress(idx(array))
        resources.append((f"{stem}-ubyte.gz", md5(packed)))
        (raw / f"{stem}-ubyte.gz").write_bytes(packed) if archived else (raw / f"{stem}-ubyte").write_bytes(idx(array))
    monkeypatch.setattr(getattr(datasets, name), "resources", resources)
    return raw


def batch(rows: slice, **labels: list[int]) -> bytes:
    return pickle.dumps({"data": COLOUR[rows].reshape(-1, 3072), **labels}, protocol=2)


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five training batches, a test batch and the names, as in cifar-10-batches-py, and their checksums."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    labels = [row % 10 for row in range(20)]
    files = {f"data_batch_{k + 1}": batch(slice(4 * k, 4 * k + 4), labels=labels[4 * k : 4 * k + 4]) for k in range(5)}
    files["test_batch"] = batch(slice(0, 4), labels=labels[:4])
    files["batches.meta"] = pickle.dumps({"label_names": NAMES}, protocol=2)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    sums = {name: md5(content) for name, content in files.items()}
    reader = datasets.CIFAR10
    monkeypatch.setattr(reader, "train_list", [[f"data_batch_{k}", sums[f"data_batch_{k}"]] for k in range(1, 6)])
    monkeypatch.setattr(reader, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": sums["batches.meta"]})
    return folder


def write_cifar100(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir()
    fine = [5 * row for row in range(20)]
    files = {
        "train": batch(slice(0, 20), fine_labels=fine, coarse_labels=[0] * 20),
        "test": batch(slice(0, 20), fine_labels=fine, coarse_labels=[0] * 20),
        "meta": pickle.dumps({"fine_label_names": [f"kind {k:02}" for k in range(100)]}, protocol=2),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    reader = datasets.CIFAR100
    monkeypatch.setattr(reader, "train_list", [["train", md5(files["train"])]])
    monkeypatch.setattr(reader, "test_list", [["test", md5(files["test"])]])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": md5(files["meta"])})


def standardised(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    axes = (0, 2, 3)
    return (images - images.mean(axes, keepdims=True)) / images.std(axes, keepdims=True)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("archived", [True, False], ids=["gz", "unpacked"])
@pytest.mark.parametrize(
    ("name", "folder", "title"), [("mnist", "MNIST", "MNIST"), ("fashion_mnist", "FashionMNIST", "Fashion-MNIST")]
)
def test_mnist_files(
    data_home: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str, title: str, archived: bool
) -> None:
    raw_folder = write_mnist(data_home, monkeypatch, folder, archived=archived)
    raw = DATA.build(name)
    assert raw.name == title
    assert raw.X.shape == (12, 1, 28, 28)
    np.testing.assert_allclose(raw.X, standardised(GREY[:, None]), atol=1e-5)
    assert raw.y.tolist() == DIGITS.tolist()
    assert len(raw.classes) == 10
    assert visible(data_home) == [folder]  # no staging folder is left
    assert (raw_folder / "train-images-idx3-ubyte").read_bytes() == idx(GREY)
    np.testing.assert_array_equal(DATA.build(name).X, raw.X)


def test_cifar10_files(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar10(data_home, monkeypatch)
    pool = load("cifar10")
    assert (pool.facts.name, pool.facts.rows, pool.facts.classes) == ("CIFAR-10", 20, tuple(NAMES))
    np.testing.assert_allclose(pool.X.numpy(), standardised(COLOUR), atol=1e-5)
    assert pool.y.tolist() == [row % 10 for row in range(20)]


def test_cifar100_files_have_fine_labels(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar100(data_home, monkeypatch)
    pool = load("cifar100")
    assert (pool.facts.name, len(pool.facts.classes)) == ("CIFAR-100", 100)
    assert pool.y.tolist() == [5 * row for row in range(20)]


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_wrong_checksum_is_refused_and_nothing_unpickled(
    data_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_cifar10(data_home, monkeypatch)
    (folder / file).write_bytes(pickle.dumps(_Bomb()))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(
        DataError, match=r"data cifar10 needs files that .* have the checksums .*; remove them"
    ) as caught:
        load("cifar10")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_legacy_processed_copy_is_not_unpickled(
    data_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_mnist(data_home, monkeypatch)
    processed = data_home / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(pickle.dumps(_Bomb()))
    assert DATA.build("mnist").X.shape == (12, 1, 28, 28)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"\0\0\10\3torn"])
def test_a_torn_mnist_file_is_refused(data_home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    raw = write_mnist(data_home, monkeypatch, archived=False)
    (raw / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=r"data mnist needs files that are complete .*train-images-idx3-ubyte"):
        load("mnist")


def test_an_mnist_archive_with_a_wrong_checksum_is_refused(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = write_mnist(data_home, monkeypatch)
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(DIGITS[::-1])))
    with pytest.raises(DataError, match=r"data mnist needs .* or a download, got none of them"):
        load("mnist")
    assert not (raw / "train-images-idx3-ubyte").exists()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte"),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
    ],
)
def test_offline_says_what_was_looked_for_and_leaves_nothing(data_home: Path, name: str, place: str) -> None:
    pattern = (
        rf"data {name} needs {data_home}/{place}.*, an image folder .*/{name}/train or a download, got none of them"
    )
    with pytest.raises(DataError, match=pattern + r" \(.*refused.*\); point EMC_DATA") as caught:
        load(name)
    assert "\n" not in str(caught.value)
    assert visible(data_home) == []


def paint_folder(root: Path, extension: str, classes: list[str]) -> None:
    for index, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        Image.fromarray(COLOUR[index].transpose(1, 2, 0)).save(root / name / f"0.{extension}")


@pytest.mark.parametrize(("extension", "title"), [("png", "CIFAR-10 (image folder)"), ("jpg", "CIFAR-10 (JPEG)")])
def test_cifar10_as_an_image_folder_says_so(data_home: Path, extension: str, title: str) -> None:
    paint_folder(data_home / "cifar10" / "train", extension, NAMES)
    pool = load("cifar10")
    assert (pool.facts.name, pool.facts.classes) == (title, tuple(NAMES))
    if extension == "png":
        np.testing.assert_allclose(pool.X.numpy(), standardised(COLOUR[:10]), atol=1e-5)


def test_an_image_folder_needs_no_torchvision(data_home: Path) -> None:
    paint_folder(data_home / "cifar10" / "train", "png", NAMES)
    code = "import sys; from emc.data import DATA; DATA.build('cifar10'); assert 'torchvision' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_image_folder_with_other_classes_is_refused(data_home: Path) -> None:
    paint_folder(data_home / "cifar10" / "train", "png", NAMES[:3])
    with pytest.raises(
        DataError, match=r"CIFAR-10 has 10 classes, got 3 folders in .*; correct the copy, or read it as"
    ):
        load("cifar10")


def test_mnist_as_an_image_folder_is_grey(data_home: Path) -> None:
    paint_folder(data_home / "mnist" / "train", "png", [str(digit) for digit in range(10)])
    assert DATA.build("mnist").X.shape == (10, 1, 28, 28)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address of a server of it."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_download_of_cifar10(data_home: Path, mirror: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, address = mirror
    write_cifar10(folder, monkeypatch)
    archive = folder / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(datasets.CIFAR10, "url", address + archive.name)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive.read_bytes()))

    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])  # a torn download ...
    with pytest.raises(DataError, match="or a download, got none of them"):
        load("cifar10")
    assert visible(data_home) == []  # ... is not kept ...
    archive.write_bytes(whole)
    assert load("cifar10").facts.rows == 20  # ... and does not stand in the way of the next run
    assert visible(data_home) == ["cifar-10-batches-py"]


def test_an_archive_at_hand_is_unpacked_without_a_network(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_cifar10(data_home / "elsewhere", monkeypatch)
    archive = data_home / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-py")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive.read_bytes()))
    assert load("cifar10").facts.rows == 20


def test_download_of_mnist(data_home: Path, mirror: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, address = mirror
    write_mnist(folder, monkeypatch)
    monkeypatch.setattr(datasets.MNIST, "mirrors", [OFFLINE, address + "MNIST/raw/"])
    assert load("mnist").facts.rows == 12
    assert visible(data_home) == ["MNIST"]
    assert len(visible(data_home / "MNIST" / "raw")) == 4
