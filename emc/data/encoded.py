"""Encoded images that are read and decoded when they are needed, each once, into a cache of pixels."""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from emc.data.cache import cache_root
from emc.data.dataset import Raw
from emc.data.decoding import LARGEST_SIDE, VERSION, decode, decode_as_is, fill_all, size_of
from emc.data.images import level_table
from emc.data.pixel_cache import PixelCache
from emc.data.rows import SAMPLED, Rows, chosen, part_content
from emc.errors import DataError, SpecError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from emc.data.rows import Inputs, Ints

    Bytes = npt.NDArray[np.uint8]

#: Bytes of a BLAKE2b hash of an image's encoded bytes.
DIGEST_BYTES = 16

#: Largest encoded image: nothing near it is an image that anything is trained on.
LARGEST = 1 << 26

#: What an image may be known by.
IDENTITIES = ("content", "listing")

_ROWS_AT_ONCE = 1024


class Encoded(ABC):
    """Where encoded images lie.

    Attributes:
        digests: (rows, DIGEST_BYTES) uint8, of their encoded bytes; None where they were not read yet.
        sizes: (rows,) their bytes.
    """

    digests: Bytes | None
    sizes: npt.NDArray[np.int64]

    @abstractmethod
    def read(self, row: int) -> bytes:
        """An image's encoded bytes.

        Raises:
            DataError: they cannot be read, or are not what they were.
        """

    @abstractmethod
    def name(self, row: int) -> str:
        """An image's name, for messages."""

    @abstractmethod
    def places(self, rows: Ints) -> Ints:
        """Numbers by which to sort rows, so that they are read as they lie."""

    @abstractmethod
    def listing(self) -> bytes:
        """What all images are known by without being read: a hash of names, sizes and times of change."""

    @abstractmethod
    def whereabouts(self) -> bytes:
        """Where the images lie, links resolved: equal listings of two places need not hold equal pixels."""


def digest(content: bytes) -> bytes:
    """What an image's encoded bytes are known by."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, eq=False)
class Images:
    """Pixels of encoded images, decoded once.

    Attributes:
        encoded: where they lie.
        order: (rows,) the encoded image of each row.
        shape: (channels, height, width).
        scaled: whether an image of another size is scaled and cut; else it is an error.
        cache: keeps what was decoded.
    """

    encoded: Encoded
    order: Ints
    shape: tuple[int, int, int]
    scaled: bool
    cache: PixelCache

    def read(self, index: Ints) -> Bytes:
        """(k, channels, height, width) uint8.

        Raises:
            DataError: an image cannot be read.
        """
        return self.cache.read(index, self._decoded).reshape(len(index), *self.shape)

    def _decoded(self, index: Ints) -> Bytes:
        import numpy as np

        rows = self.order[index]
        made = np.empty((len(index), self.shape[0] * self.shape[1] * self.shape[2]), np.uint8)
        large, at = threading.Lock(), self.encoded.places(rows).argsort(kind="stable")

        def fill(number: int) -> None:
            place = int(at[number])
            made[place] = self._decode(int(rows[place]), large).transpose(2, 0, 1).reshape(-1)

        fill_all(len(index), int(self.encoded.sizes[rows].sum()), fill)
        return made

    def _decode(self, row: int, large: threading.Lock) -> Bytes:
        content, digests = self.encoded.read(row), self.encoded.digests
        if digests is not None and digest(content) != digests[row].tobytes():
            raise DataError(
                f'images must stay as they are while they are measured, got other bytes of "{self.encoded.name(row)}"; '
                "run the same command again"
            )
        if self.scaled:
            return decode(content, lambda: self.encoded.name(row), self.shape[1], "RGB", large)
        return decode_as_is(content, lambda: self.encoded.name(row), self.shape[1:])


class ImageRows(Rows):
    """Images as float32, standardised by channel: a look-up of 256 levels, statistics from `Rows.sample`.

    Args:
        images: the pixels.
        index: (rows,) which of them; None for all.
        content: what the rows are known by.
        tables: (channels, 256) float32 level by byte; None fits them to these rows.
    """

    def __init__(self, images: Images, index: Ints | None, content: str, tables: Inputs | None = None) -> None:
        self._images, self._index, self._content = images, index, content
        self.shape = images.shape
        self._tables = self._fitted() if tables is None else tables

    def __len__(self) -> int:
        return len(self._images.order) if self._index is None else len(self._index)

    def _fitted(self) -> Inputs:
        import numpy as np

        counts = np.zeros((self.shape[0], 256), np.int64)
        rows = chosen(len(self), self._content)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            pixels = self._pixels(rows[start : start + _ROWS_AT_ONCE])
            counts += [np.bincount(pixels[:, channel].ravel(), minlength=256) for channel in range(self.shape[0])]
        return np.stack([level_table(channel) for channel in counts])

    def _pixels(self, index: Ints) -> Bytes:
        return self._images.read(index if self._index is None else self._index[index])

    def read(self, index: Ints) -> Inputs:
        """See `Rows.read`."""
        import numpy as np

        X = np.empty((len(index), *self.shape), np.float32)
        for start in range(0, len(index), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            pixels = self._pixels(index[rows])
            for channel, table in enumerate(self._tables):
                X[rows, channel] = table[pixels[:, channel]]
        return X

    def take(self, index: Ints) -> ImageRows:
        """See `Rows.take`."""
        return self._part(index, self._tables)

    def divide(self, stay: Ints, test: Ints, standardised: tuple[bool, ...]) -> tuple[ImageRows, ImageRows]:  # noqa: ARG002
        """See `Rows.divide`; by the rows of `Rows.sample` among those that stay."""
        pool = self._part(stay, None)
        return pool, self._part(test, pool._tables)

    def _part(self, index: Ints, tables: Inputs | None) -> ImageRows:
        own = index if self._index is None else self._index[index]
        return ImageRows(self._images, own, part_content(self._content, index), tables)

    def sample(self) -> Inputs:
        """See `Rows.sample`."""
        return self.read(chosen(len(self), self._content))

    def content_hash(self, y: Ints, num_classes: int) -> str:  # noqa: ARG002
        """What the images were known by when they were listed; labels are part of it."""
        return self._content


def lazy_images(name: str, encoded: Encoded, y: Ints, classes: tuple[str, ...], size: int, identity: str) -> Raw:
    """A dataset of encoded images that are read when they are needed.

    By `content` images are known by their encoded bytes and their classes, whatever they are called and wherever they
    lie; rows are ordered by that, and images of equal bytes are repeats. By `listing` they are known by names, sizes,
    times of change (ns) and classes, in the order found, and no repeats are looked for: a file that is written anew is
    another image, and so is a copy, unless it keeps its time. Decoded pixels are kept for each place apart.

    Args:
        name: the dataset's name in results.
        encoded: the images, with digests if `identity` is "content".
        y: (rows,) their classes.
        classes: names of the classes.
        size: height and width to scale and cut images to; 0 takes them as they are, all of the first one's size.
        identity: one of `IDENTITIES`.

    Raises:
        DataError: an image cannot be read, or has another size.
    """
    import numpy as np

    height, width = (size, size) if size else size_of(encoded.read(0), lambda: encoded.name(0))
    shape = 3, height, width
    order, group = _by_content(encoded, y) if identity == "content" else (np.arange(len(y)), None)
    known = hashlib.sha256(repr(("images", VERSION, shape, size > 0, classes, identity)).encode())
    known.update(encoded.listing() if encoded.digests is None else encoded.digests[order].data)
    known.update(np.ascontiguousarray(y[order]).data)
    content = known.hexdigest()[:32]
    if encoded.digests is None:
        known.update(encoded.whereabouts())
    path = cache_root() / "images" / f"{known.hexdigest()[:32]}.pixels"
    cache = PixelCache(path, len(y), shape[0] * shape[1] * shape[2])
    rows = ImageRows(Images(encoded, order, shape, size > 0, cache), None, content)
    return Raw(name, rows, y[order], classes, notes=_notes(len(y), identity), standardised=(True,) * 3, group=group)


def check_options(owner: str, size: int, identity: str, identities: tuple[str, ...] = IDENTITIES) -> None:
    """Hold the options of a source to what they may be.

    Raises:
        SpecError: one is out of range.
    """
    if not 0 <= size <= LARGEST_SIDE:
        raise SpecError(
            f"size must be between 1 and {LARGEST_SIDE} pixels, or 0 for that of the first image, got {size}"
        )
    if identity not in identities:
        raise SpecError(f"{owner} takes identity={' or '.join(identities)}, got {identity}")


def _by_content(encoded: Encoded, y: Ints) -> tuple[Ints, Ints]:
    """Rows by digest and class, so that files by other names are the same pool; and the first row of equal digest."""
    import numpy as np

    if encoded.digests is None:
        raise RuntimeError("images known by content need digests")
    halves = encoded.digests.view(">u8")
    order = np.lexsort((y, halves[:, 1], halves[:, 0]))
    ordered = halves[order]
    begins = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    return order, np.maximum.accumulate(np.where(begins, np.arange(len(y)), 0))


def _notes(rows: int, identity: str) -> tuple[str, ...]:
    found = ["repeats were told by the images' encoded bytes"]
    if identity == "listing":
        found = ["repeats were not looked for: images are known by names, sizes, times and classes (listing)"]
    if rows > SAMPLED:
        found.append(f"images were standardised by a fixed sample of {SAMPLED:,} of them")
    return tuple(found)
