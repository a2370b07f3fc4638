"""MNIST, Fashion-MNIST and CIFAR: torchvision's files, a folder of images, or a download by torchvision.

CIFAR's files are pickles. They are read by torchvision, which unpickles nothing before its checksums are right.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emc.data import DATA
from emc.data.cache import DATA_VARIABLE, data_root, install, one_line, staging
from emc.data.dataset import Raw
from emc.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Seconds without an answer after which a download is given up.
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class _Source:
    """One dataset of torchvision.

    Attributes:
        name: what a user types, and the name of the image folder.
        title: what a reader sees.
        reader: torchvision's class.
        parts: files or folders that make up the dataset, relative to the data root.
        archives: files they are unpacked from.
        size: height and width of an image.
        mode: Pillow's name of the colours.
        num_classes: number of classes.
    """

    name: str
    title: str
    reader: Any
    parts: tuple[Path, ...]
    archives: tuple[Path, ...]
    size: int
    mode: str
    num_classes: int = 10


@DATA.register("mnist")
def mnist() -> Raw:
    """MNIST, 60,000 grey images of 28x28 pixels, 10 digits (torchvision)."""
    return _read(_mnist_like("mnist", "MNIST", "MNIST"))


@DATA.register("fashion_mnist")
def fashion_mnist() -> Raw:
    """Fashion-MNIST, 60,000 grey images of 28x28 pixels, 10 kinds of clothes (torchvision)."""
    return _read(_mnist_like("fashion_mnist", "Fashion-MNIST", "FashionMNIST"))


@DATA.register("cifar10")
def cifar10() -> Raw:
    """CIFAR-10, 50,000 colour images of 32x32 pixels, 10 classes (torchvision, or an image folder)."""
    return _read(_cifar_like("cifar10", "CIFAR-10", "CIFAR10", 10))


@DATA.register("cifar100")
def cifar100() -> Raw:
    """CIFAR-100, 50,000 colour images of 32x32 pixels, 100 classes (torchvision, or an image folder)."""
    return _read(_cifar_like("cifar100", "CIFAR-100", "CIFAR100", 100))


def _mnist_like(name: str, title: str, reader_name: str) -> _Source:
    from torchvision import datasets

    original: Any = getattr(datasets, reader_name)
    # A copy in the format of torchvision 0.8 would be unpickled (with weights_only); only the raw files are read here.
    reader: Any = type(reader_name, (original,), {"_check_legacy_exist": lambda _: False})
    archives = tuple(Path(reader_name, "raw", file) for file, _ in reader.resources)
    return _Source(name, title, reader, tuple(path.with_suffix("") for path in archives), archives, 28, "L")


def _cifar_like(name: str, title: str, reader_name: str, num_classes: int) -> _Source:
    from torchvision import datasets

    reader = getattr(datasets, reader_name)
    parts, archives = (Path(reader.base_folder),), (Path(reader.filename),)
    return _Source(name, title, reader, parts, archives, 32, "RGB", num_classes)


def _read(source: _Source) -> Raw:
    """The training images of a dataset, from the first of: torchvision's files, an image folder, the network."""
    home = data_root()
    folder = home / source.name / "train"
    if not _is_complete(source, home):
        if folder.is_dir():
            return _read_folder(source, folder)
        _download(source, home)
    return _read_torchvision(source, home)


def _is_complete(source: _Source, home: Path) -> bool:
    return all((home / part).exists() for part in source.parts)


def _read_folder(source: _Source, folder: Path) -> Raw:
    from emc.data.folders import list_images, read_image_folder

    found = list_images(folder, f"data {source.name}")
    if len(found.classes) != source.num_classes:
        raise DataError(
            f"{source.title} has {source.num_classes} classes, got {len(found.classes)} folders in {folder}; correct "
            f"the copy, or read it as folder:path={folder}"
        )
    kind = "JPEG" if found.has_jpeg else "image folder"
    return read_image_folder(found, f"{source.title} ({kind})", source.size, source.mode)


def _read_torchvision(source: _Source, home: Path) -> Raw:
    import numpy as np

    from emc.data.images import standardise_images

    try:
        stored = source.reader(home, train=True, download=False)
        images = _channels_first(np.asarray(stored.data))
        labels = np.asarray(stored.targets, dtype=np.int64)
        classes = tuple(str(name) for name in stored.classes)
    except Exception as error:  # torchvision raises whatever its parsers stumble on
        places = ", ".join(str(home / part) for part in source.parts)
        raise DataError(
            f"data {source.name} needs files that are complete and have the checksums torchvision knows, got {places} "
            f"({one_line(error)}); remove them to download them again, or point {DATA_VARIABLE} at another copy"
        ) from error
    return Raw(source.title, standardise_images(images), labels, classes)


def _channels_first(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(rows, H, W) or (rows, H, W, C) as (rows, C, H, W)."""
    return images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)


def _download(source: _Source, home: Path) -> None:
    """Unpack the dataset into the data root, from archives that are there already or from the network."""
    with staging(home) as stage:
        for archive in source.archives:
            if (home / archive).is_file():
                (stage / archive).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(home / archive, stage / archive)
        try:
            with _timeout(_TIMEOUT_S):
                source.reader(stage, train=True, download=True)
            install(stage, home, source.parts)
        except Exception as error:  # the network, a full disk, a wrong checksum, a damaged archive
            raise DataError(
                f"data {source.name} needs {home / source.parts[0]}, an image folder {home / source.name / 'train'} or "
                f"a download, got none of them ({one_line(error)}); point {DATA_VARIABLE} (or --data-root) at a copy"
            ) from error


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Torchvision sets no limit of its own, so without one a silent network would hold a run for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
