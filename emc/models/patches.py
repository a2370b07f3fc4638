"""What the families that cut images into patches ask of their inputs."""

from __future__ import annotations

import math

from emc.errors import SpecError
from emc.models.images import check_images, check_positive


def check_patches(family: str, input_shape: tuple[int, ...], patch: int) -> tuple[int, int, int]:
    """Channels, height and width of images that patches of `patch` x `patch` pixels tile.

    Raises:
        SpecError: the inputs are no images, or the patches leave some pixels over.
    """
    check_images(family, input_shape)
    channels, height, width = input_shape
    side = math.gcd(height, width)
    if patch < 1 or side % patch:
        fitting = ", ".join(str(size) for size in range(1, side + 1) if side % size == 0)
        raise SpecError(
            f"{family} needs a patch that divides {height}x{width} images, got patch={patch}; take one of {fitting}"
        )
    return channels, height, width


def check_ratio(family: str, name: str, ratio: float, dim: int) -> float:
    """An MLP's ratio to the width, as timm rounds it to the nearest whole number of units; it cuts off what is over.

    Raises:
        SpecError: it is not above 0 and finite.
    """
    check_positive(family, **{name: ratio})
    return (max(round(ratio * dim), 1) + 0.5) / dim
