"""Small images in shards and folders."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
    """Encoded (height, width, 3) pixels."""
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "png")
    return held.getvalue()


def images(count: int, size: int = 8, seed: int = 0) -> list[bytes]:
    """Encoded noise."""
    rng = np.random.default_rng(seed)
    return [png(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(count)]


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], format: int = tarfile.USTAR_FORMAT) -> Path:
    """A tar of named contents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def samples(encoded: Sequence[bytes], labels: Sequence[object], first: int = 0) -> list[tuple[str, bytes]]:
    """Members of a shard: an image and its class each."""
    found = []
    for number, (image, label) in enumerate(zip(encoded, labels, strict=True), first):
        found += [(f"{number:04}.png", image), (f"{number:04}.cls", str(label).encode())]
    return found
