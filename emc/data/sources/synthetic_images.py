"""Images drawn from class-conditional generators, as many as are asked for."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from emc.data import DATA
from emc.data.dataset import Raw
from emc.data.rows import Rows, chosen, part_content
from emc.data.targets import MAX_CLASSES
from emc.errors import SpecError
from emc.seeds import derive

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from emc.data.rows import Inputs, Ints

    Floats = npt.NDArray[np.float32]

#: Raise it when the same options come to mean other images.
_VERSION = 1

#: Gratings an image is made of, and uniform numbers that each of them takes.
_GRATINGS, _DRAWN = 2, 8

#: In levels: a grating's strength at most, the range of the background's tint, and the noise's largest. The weakest
#: grating has the share `_LEAST` of the strongest. Chosen so that a small CNN learns what a linear model cannot.
_STRENGTH, _TINT, _NOISE, _LEAST = 96.0, 102.0, 77.0, 0.35

#: Bytes of images made at once: measured fastest from 1 to 4 MiB.
_AT_ONCE = 1 << 20

#: The byte that becomes 0, and the bytes that become 1.
_MIDDLE, _UNIT = 127.5, 64.0


@DATA.register("synthetic_images")
def synthetic_images(
    *, classes: int = 10, size: int = 32, count: int = 60_000, channels: int = 3, seed: int = 0
) -> Raw:
    """Synthetic: up to 2e9 images of `size` x `size` pixels, each made from its number alone when it is needed.

    A class is two gratings, each of its own direction, wave length and colour. An image shows them at random places,
    phases and strengths, both a little turned and stretched, on a tinted background, under noise. So classes have
    almost equal means, which a linear model finds little in, and unequal patterns. Levels are whole bytes, from which
    127.5 is taken before they are divided by 64. Image i is of class i modulo `classes`. A smaller count is the
    beginning of a larger one.

    Raises:
        SpecError: an option out of range.
    """
    import numpy as np

    most = {"classes": MAX_CLASSES, "size": 1024, "count": 2 * 10**9, "channels": 16, "seed": 2**63 - 1}
    least = {"classes": 2, "size": 4, "count": classes, "channels": 1, "seed": 0}
    given = {"classes": classes, "size": size, "count": count, "channels": channels, "seed": seed}
    for name, value in given.items():
        if not least[name] <= value <= most[name]:
            raise SpecError(f"data synthetic_images takes {name} from {least[name]} to {most[name]}, got {value}")
    rows = GeneratedRows(classes=classes, size=size, channels=channels, seed=seed, index=None, count=count)
    y = np.arange(count, dtype=np.int64)
    y %= classes
    return Raw(f"synthetic images {size}x{size}", rows, y, tuple(map(str, range(classes))))


class GeneratedRows(Rows):
    """Images made when they are read; see `synthetic_images`.

    Args:
        classes, size, channels, seed: of the generators.
        index: (rows,) numbers of the images; None for 0 .. count - 1.
        count: of the images.
        content: what they are known by; None for the options and `count`.
    """

    def __init__(
        self,
        *,
        classes: int,
        size: int,
        channels: int,
        seed: int,
        index: Ints | None,
        count: int,
        content: str | None = None,
    ) -> None:
        self._options: dict[str, Any] = {"classes": classes, "size": size, "channels": channels, "seed": seed}
        known = repr(("synthetic_images", _VERSION, classes, size, channels, seed, count))
        self._content = hashlib.sha256(known.encode()).hexdigest()[:32] if content is None else content
        self._index, self._count = index, count
        self.shape = channels, size, size
        self._key = derive("synthetic images", seed)
        self._gratings = _class_gratings(classes, channels, size, seed)

    def __len__(self) -> int:
        return self._count

    def read(self, index: Ints) -> Inputs:
        """See `Rows.read`."""
        import numpy as np

        numbers = index if self._index is None else self._index[index]
        X = np.empty((len(numbers), *self.shape), np.float32)
        size = max(1, _AT_ONCE // (4 * math.prod(self.shape)))
        for start in range(0, len(numbers), size):
            X[start : start + size] = self.levels(numbers[start : start + size])
        X -= np.float32(_MIDDLE)
        X /= np.float32(_UNIT)
        return X

    def levels(self, numbers: Ints) -> Floats:
        """Images by their numbers: (k, channels, size, size), whole numbers from 0 to 255."""
        import numpy as np

        size = self.shape[-1]
        uniform, images = self._draw(numbers)
        label = numbers % self._options["classes"]
        for grating in range(_GRATINGS):
            drawn = uniform[:, _DRAWN * grating : _DRAWN * (grating + 1)]
            (row, row_shifted), (column, column_shifted) = _waves(self._gratings["wave"][label, grating], drawn, size)
            pattern = row[:, :, None] * column[:, None, :]
            pattern -= row_shifted[:, :, None] * column_shifted[:, None, :]
            colour = self._gratings["colour"][label, grating] * (_LEAST + (1 - _LEAST) * drawn[:, 3:4])
            images += colour[:, :, None, None] * pattern[:, None]
        return np.clip(np.floor(images, out=images), 0, 255, out=images)

    def _draw(self, numbers: Ints) -> tuple[Floats, Floats]:
        """What is drawn of each image, by its own counter.

        Returns:
            (k, gratings * _DRAWN) uniform numbers in 0 .. 1, and noise on tinted backgrounds (k, *shape), in levels.
        """
        import numpy as np

        pixels = math.prod(self.shape)
        words = _GRATINGS * _DRAWN + self.shape[0]
        raw = np.empty((len(numbers), words + -(-pixels // 8)), "<u8")
        bits = np.random.Philox(key=self._key)
        state: Any = bits.state
        for place, number in enumerate(numbers.tolist()):
            state["state"]["counter"][:] = 0, number, 0, 0  # the first word counts on within the image
            bits.state = state
            raw[place] = bits.random_raw(raw.shape[1])
        uniform = (raw[:, :words] >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
        noise = raw[:, words:].view(np.uint8)[:, :pixels].astype(np.float32)
        noise *= np.float32(_NOISE / 127.5)
        images = noise.reshape(len(numbers), *self.shape)
        tint = _TINT * (uniform[:, _GRATINGS * _DRAWN :] - np.float32(0.5))
        images += (tint + np.float32(128 - _NOISE))[:, :, None, None]
        return uniform, images

    def take(self, index: Ints) -> GeneratedRows:
        """See `Rows.take`."""
        own = index if self._index is None else self._index[index]
        content = part_content(self._content, index)
        return GeneratedRows(**self._options, index=own, count=len(own), content=content)

    def divide(
        self,
        stay: Ints,
        test: Ints,
        standardised: tuple[bool, ...],  # noqa: ARG002
    ) -> tuple[GeneratedRows, GeneratedRows]:
        """See `Rows.divide`; nothing is standardised by what was drawn."""
        return self.take(stay), self.take(test)

    def sample(self) -> Inputs:
        """See `Rows.sample`."""
        return self.read(chosen(len(self), self._content))

    def content_hash(self, y: Ints, num_classes: int) -> str:  # noqa: ARG002
        """What the options say; labels follow from them."""
        return self._content


def _class_gratings(classes: int, channels: int, size: int, seed: int) -> dict[str, Floats]:
    """Of each class and grating, direction and radians a pixel (classes, gratings, 2), colour (.., channels)."""
    import numpy as np

    rng = np.random.Generator(np.random.Philox(derive("synthetic classes", seed)))
    shape = classes, _GRATINGS
    direction = np.pi * rng.random(shape)
    shortest, longest = 4.0, max(6.0, size / 3)
    wave = 2 * np.pi / (shortest * (longest / shortest) ** rng.random(shape))
    colour = rng.standard_normal((*shape, channels))
    colour /= np.linalg.norm(colour, axis=-1, keepdims=True)
    return {
        "wave": np.stack([direction, wave], axis=-1).astype(np.float32),
        "colour": (_STRENGTH * colour).astype(np.float32),
    }


def _waves(wave: Floats, drawn: Floats, size: int) -> list[tuple[Floats, Floats]]:
    """A windowed wave as a sum of products of rows and columns: cos(a + b) = cos a cos b - sin a sin b.

    Args:
        wave: (k, 2) direction and radians a pixel.
        drawn: (k, _DRAWN) uniform numbers.
        size: of the image.

    Returns:
        Of rows and of columns, the cosine and the sine: each (k, size).
    """
    import numpy as np

    direction = wave[:, :1] + np.float32(0.3) * (drawn[:, 0:1] - np.float32(0.5))
    speed = wave[:, 1:] * (np.float32(0.85) + np.float32(0.3) * drawn[:, 1:2])
    phase = np.float32(2 * np.pi) * drawn[:, 2:3]
    at = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    width = np.float32(size) * (np.float32(0.2) + np.float32(0.15) * drawn[:, 4:5])
    factors = []
    for place, step, start in ((5, np.sin(direction), phase), (6, np.cos(direction), np.float32(0))):
        centre = np.float32(0.6 * size) * (drawn[:, place : place + 1] - np.float32(0.5))
        window = np.exp(np.float32(-0.5) * ((at - centre) / width) ** 2)
        angle = speed * step * at + start
        factors.append((window * np.cos(angle), window * np.sin(angle)))
    return factors
