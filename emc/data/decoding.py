"""One image: from its encoded bytes to pixels."""

from __future__ import annotations

import io
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from emc.data.cache import one_line
from emc.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

#: Names of files that are images end so.
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})

#: Raise it when the same files come to be decoded to other pixels.
VERSION = 1

#: Pixels a side that images may be trained at.
LARGEST_SIDE = 4096

#: Images of more pixels are decoded one at a time, however many threads there are.
_LARGE_PIXELS = 2**24

#: Mean file size from which threads pay: decoding small files is mostly Python, which threads cannot share.
_THREADED_BYTES = 16_384


def fill_all(number: int, total_bytes: int, fill: Callable[[int], None]) -> None:
    """Call `fill`, which decodes an image, for 0 .. number - 1; by threads where that pays.

    Meanwhile images of far too many pixels are errors: a warning would still decode them.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if total_bytes < number * _THREADED_BYTES:
            for index in range(number):
                fill(index)
            return
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for _ in threads.map(fill, range(number)):
                pass


def decode(
    source: Path | bytes, name: Callable[[], str], size: int, mode: str, large: threading.Lock
) -> npt.NDArray[np.uint8]:
    """(size, size[, 3]) uint8; an image of another size is scaled by its shorter side and cut to the centre.

    Args:
        source: a file, or what it holds.
        name: of the image, for messages.
        size: height and width in pixels.
        mode: "RGB" or "L".
        large: held while an image of very many pixels is decoded.

    Raises:
        DataError: it cannot be read.
    """
    import numpy as np
    from PIL import ImageOps

    with _opened(source, name) as image:
        if image.size == (size, size):
            return np.asarray(_convert(image, name, mode))
        image.draft(mode, (size, size))  # lets a JPEG decode at a fraction of its size, never below the asked one
        with large if math.prod(image.size) > _LARGE_PIXELS else nullcontext():
            scaled = ImageOps.fit(_convert(image, name, mode), (size, size), _bicubic())
        return np.asarray(scaled)


def size_of(source: bytes, name: Callable[[], str]) -> tuple[int, int]:
    """Height and width of an image, which is not decoded.

    Raises:
        DataError: it cannot be read, or is larger than anything that is trained on.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # told below
        with _opened(source, name) as image:
            width, height = image.size
    if max(height, width) > LARGEST_SIDE:
        raise DataError(
            f'images must have at most {LARGEST_SIDE} pixels a side, got {height} x {width} of "{name()}"; '
            "write size=... to scale and cut them"
        )
    return height, width


def decode_as_is(source: bytes, name: Callable[[], str], shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(height, width, 3) uint8 of an image that must have the given height and width.

    Raises:
        DataError: it cannot be read, or has another size.
    """
    import numpy as np

    with _opened(source, name) as image:
        width, height = image.size
        if (height, width) != shape:
            raise DataError(
                f'all images must have one size, got {height} x {width} pixels of "{name()}" where the first has '
                f"{shape[0]} x {shape[1]}; write size=... to scale and cut them"
            )
        return np.asarray(_convert(image, name, "RGB"))


@contextmanager
def _opened(source: Path | bytes, name: Callable[[], str]) -> Iterator[Image.Image]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            yield image
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and others
        raise DataError(
            f'every image must be readable, got "{name()}" ({one_line(error)}); remove or replace that file'
        ) from error


def _bicubic() -> Image.Resampling:
    from PIL import Image

    return Image.Resampling.BICUBIC


def _convert(image: Image.Image, name: Callable[[], str], mode: str) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        raise DataError(f'images must have 8 bits a channel, got "{name()}" of mode {image.mode}; convert it to 8 bits')
    if image.mode in ("P", "PA", "LA"):
        image = image.convert("RGBA")  # Pillow's own advice for palettes with transparency
    return image if image.mode == mode else image.convert(mode)
