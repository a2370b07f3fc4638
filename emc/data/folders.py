"""Folders of images, one sub-folder a class: decoded once, then read from one array in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emc.data.cache import cache_root, check_memory, existing_folder, one_line
from emc.data.dataset import Raw
from emc.data.decoding import EXTENSIONS, VERSION, decode, fill_all
from emc.data.images import standardise_images
from emc.data.targets import sort_classes
from emc.errors import DataError, OutputError, SpecError
from emc.files import replacing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class _File:
    path: str
    label: int
    size: int
    modified_ns: int


@dataclass(frozen=True)
class ImageFolder:
    """What lies in a folder of class sub-folders.

    Attributes:
        root: the folder.
        files: every image, by class and then by name.
        classes: names of the sub-folders.
        ignored: what is no image: by its extension, a link that leads nowhere, a pipe or device.
    """

    root: Path
    files: tuple[_File, ...]
    classes: tuple[str, ...]
    ignored: int

    @property
    def has_jpeg(self) -> bool:
        """Whether any image was compressed with loss by JPEG."""
        return any(file.path.lower().endswith((".jpg", ".jpeg")) for file in self.files)


def read_image_folder(folder: ImageFolder, name: str, size: int, mode: str = "RGB") -> Raw:
    """All images of a folder, standardised.

    Args:
        folder: what `list_images` found.
        name: the dataset's name in results.
        size: height and width in pixels. Images of that size are taken as they are, others are scaled by their shorter
            side and cut to the centre.
        mode: "RGB" or "L" (one channel of grey).

    Raises:
        SpecError: size out of range.
        DataError: an image that cannot be read.
    """
    import numpy as np

    if not 1 <= size <= 4096:
        raise SpecError(f"size must be between 1 and 4096 pixels, got {size}")
    notes = (f"{folder.ignored} files that are no images were ignored",) if folder.ignored else ()
    pixels = len(folder.files) * size * size * (3 if mode == "RGB" else 1)
    check_memory(5 * pixels, f"{len(folder.files):,} images of {size} x {size} pixels")  # bytes, then float32
    X = standardise_images(_load_or_decode(folder, size, mode))
    y = np.array([file.label for file in folder.files], dtype=np.int64)
    return Raw(name, X, y, folder.classes, notes=notes, standardised=(True,) * X.shape[1])


def list_images(path: str | Path, owner: str, links: bool = True) -> ImageFolder:
    """The images in the sub-folders of a folder; hidden files and folders are passed over.

    Args:
        path: of the folder.
        owner: the dataset as the user asked for it, for messages.
        links: whether links may lead out of the folder.

    Raises:
        DataError: no such folder, no class sub-folders, one that holds no image, or a link that leads out.
    """
    root = existing_folder(path, owner)
    try:
        found = _list_classes(root, owner)
        if not links:
            _check_links(found, owner)
        return found
    except OSError as error:
        raise DataError(f"{owner} must be readable, got {root} ({one_line(error)}); correct its permissions") from error


def _list_classes(root: Path, owner: str) -> ImageFolder:
    classes = sort_classes(entry.name for entry in os.scandir(root) if entry.is_dir() and _visible(entry.name))
    if not classes:
        raise DataError(f"{owner} needs one sub-folder of images a class, got none in {root}; correct path")
    files: list[_File] = []
    ignored = 0
    for label, name in enumerate(classes):
        visible = [entry for entry in os.scandir(root / name) if not entry.is_dir() and _visible(entry.name)]
        images = [entry for entry in visible if Path(entry.name).suffix.lower() in EXTENSIONS and entry.is_file()]
        if not images:
            raise DataError(
                f'{owner} needs images in every class folder, got none directly in "{root / name}"; point path at the '
                "folder whose sub-folders are the classes, or remove that one"
            )
        ignored += len(visible) - len(images)
        files.extend(_describe(entry, name, label) for entry in sorted(images, key=lambda entry: entry.name))
    return ImageFolder(root, tuple(files), classes, ignored)


def _check_links(folder: ImageFolder, owner: str) -> None:
    """Refuse links that lead out: what a folder from elsewhere points at is nothing its maker had."""
    root = os.path.realpath(folder.root)
    places = (os.path.join(root, file.path) for file in folder.files)
    out = [place for place in places if not os.path.realpath(place).startswith(os.path.join(root, ""))]
    if out:
        raise DataError(
            f'{owner} reads what lies in its folder, got {len(out)} images by links that lead out of it, "{out[0]}" '
            "first; copy them, or write links=true where you trust it"
        )


def _visible(name: str) -> bool:
    return not name.startswith(".")


def _describe(entry: os.DirEntry[str], folder: str, label: int) -> _File:
    facts = entry.stat()
    return _File(f"{folder}/{entry.name}", label, facts.st_size, facts.st_mtime_ns)


def _load_or_decode(folder: ImageFolder, size: int, mode: str) -> npt.NDArray[np.uint8]:
    """(rows, channels, size, size) uint8, from the cache where it holds them."""
    import numpy as np

    channels = 3 if mode == "RGB" else 1
    path = _cache_path(folder, size, mode)
    try:
        cached: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
        if cached.shape == (len(folder.files), channels, size, size) and cached.dtype == np.uint8:
            return cached
    except (OSError, ValueError, EOFError):
        pass  # not there, or damaged: decode again
    images = _decode_all(folder, size, mode).reshape(len(folder.files), size, size, channels)
    images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    _keep(images, path)
    return images


def _keep(images: npt.NDArray[np.uint8], path: Path) -> None:
    """Write the cache; a full or read-only one costs time at the next run, no result."""
    import numpy as np

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, images, allow_pickle=False)
    except (OSError, OutputError) as error:
        logging.getLogger(__name__).warning("decoded images are not kept in %s: %s", path, one_line(error))


def _cache_path(folder: ImageFolder, size: int, mode: str) -> Path:
    listing = [[file.path, file.size, file.modified_ns] for file in folder.files]
    text = json.dumps([VERSION, str(folder.root.resolve()), size, mode, listing])
    return cache_root() / "images" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"


def _decode_all(folder: ImageFolder, size: int, mode: str) -> npt.NDArray[np.uint8]:
    """(rows, size, size[, 3]) uint8."""
    import numpy as np

    shape = (len(folder.files), size, size) + ((3,) if mode == "RGB" else ())
    images = np.empty(shape, np.uint8)

    large = threading.Lock()

    def fill(index: int) -> None:
        path = folder.root / folder.files[index].path
        images[index] = decode(path, lambda: str(path), size, mode, large)

    fill_all(len(folder.files), sum(file.size for file in folder.files), fill)
    return images
