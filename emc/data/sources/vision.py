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
    """One dataset of torchvision. What it is made of is said here, so that an image folder needs no torchvision.

    Attributes:
        name: what a user types, and the name of the image folder.
        title: what a reader sees.
        reader: name of torchvision's class.
        parts: files or folders that make up the dataset, relative to the data root.
        archives: files they are unpacked from.
        size: height and width of an image.
        mode: Pillow's name of the colours.
        num_classes: number of classes.
    """

    name: str
    title: str
    reader: str
    parts: tuple[Path, ...]
    archives: tuple[Path, ...]
    size: int
    mode: str
    num_classes: int = 10

    def read(self, root: Path, *, download: bool = False) -> Any:
        """Torchvision's dataset below `root`."""
        from torchvision import datasets

        reader: Any = getattr(datasets, self.reader)
        if hasattr(reader, "_check_legacy_exist"):
            # MNIST as torchvision 0.8 kept it would be unpickled (with weights_only); only the raw files are read here.
            reader = type(self.reader, (reader,), {"_check_legacy_exist": lambda _: False})
        return reader(root, train=True, download=download)


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
    return _read(_cifar_like("cifar10", "CIFAR-10", "CIFAR10", "cifar-10-batches-py", "cifar-10-python.tar.gz", 10))


@DATA.register("cifar100")
def cifar100() -> Raw:
    """CIFAR-100, 50,000 colour images of 32x32 pixels, 100 classes (torchvision, or an image folder)."""
    return _read(_cifar_like("cifar100", "CIFAR-100", "CIFAR100", "cifar-100-python", "cifar-100-python.tar.gz", 100))


def _mnist_like(name: str, title: str, reader: str) -> _Source:
    stems = [f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    parts = tuple(Path(reader, "raw", stem) for stem in stems)
    return _Source(name, title, reader, parts, tuple(part.with_suffix(".gz") for part in parts), 28, "L")


def _cifar_like(name: str, title: str, reader: str, folder: str, archive: str, num_classes: int) -> _Source:
    return _Source(name, title, reader, (Path(folder),), (Path(archive),), 32, "RGB", num_classes)


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
        stored = source.read(home)
        images = _channels_first(np.asarray(stored.data))
        labels = np.asarray(stored.targets, dtype=np.int64)
        classes = tuple(str(name) for name in stored.classes)
    except Exception as error:  # torchvision raises whatever its parsers stumble on
        places = ", ".join(str(home / part) for part in source.parts)
        raise DataError(
            f"data {source.name} needs files that are complete and have the checksums torchvision knows, got {places} "
            f"({one_line(error)}); remove them to download them again, or point {DATA_VARIABLE} at another copy"
        ) from error
    return Raw(source.title, standardise_images(images), labels, classes, standardised=(True,) * images.shape[1])


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
                source.read(stage, download=True)
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
