"""What the families of image models share: their checks, and normalisations by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Channels a group of GroupNorm has at least, where there are as many.
GROUP = 16

NORMS = ("batch", "group", "none")
STEMS = ("cifar", "imagenet")


def check_images(model: str, input_shape: tuple[int, ...], least: int = 1) -> None:
    """Refuse inputs that are no images of at least `least` pixels a side.

    Raises:
        SpecError: they are not.
    """
    if len(input_shape) != 3:
        raise SpecError(f"{model} needs images (channels, height, width), got inputs of shape {input_shape}; use mlp")
    if min(input_shape[1:]) < least:
        raise SpecError(
            f"{model} needs images of at least {least}x{least} pixels, got inputs of shape {input_shape}; use cnn"
        )


def check_positive(model: str, **options: float) -> None:
    """Refuse numbers below 1 if whole, else at or below 0 or not finite.

    Raises:
        SpecError: one is.
    """
    for name, value in options.items():
        whole = isinstance(value, int)
        if not (value >= 1 if whole else 0 < value < math.inf):
            raise SpecError(f"{model} needs {name} {'of at least 1' if whole else 'above 0 and finite'}, got {value}")


def check_share(model: str, **options: float) -> None:
    """Refuse probabilities outside [0, 1).

    Raises:
        SpecError: one is.
    """
    for name, value in options.items():
        if not 0 <= value < 1:
            raise SpecError(f"{model} needs {name} of at least 0 and below 1, got {value}")


def check_choice(model: str, option: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices.

    Raises:
        SpecError: it is none.
    """
    if value not in choices:
        raise SpecError(
            f'{model} takes {option} as one of {", ".join(choices)}, got "{value}"; {did_you_mean(value, choices)}'
        )


def read_blocks(model: str, blocks: tuple[str, ...]) -> tuple[int, ...]:
    """Blocks a stage, as numbers.

    Raises:
        SpecError: they are no whole numbers of at least 1.
    """
    if not blocks or not all(part.isdecimal() and int(part) >= 1 for part in blocks):
        raise SpecError(
            f'{model} takes blocks as whole numbers of at least 1, one a stage, got "{"|".join(blocks)}"; '
            "write blocks=2|2|2|2"
        )
    return tuple(map(int, blocks))


def norm_layer(name: str) -> Callable[..., nn.Module]:
    """Makes a normalisation of so many channels.

    `batch` is BatchNorm. `group` is GroupNorm, of as many groups as divide the channels into equal ones of 16 or more:
    below 32 channels one group (Wu and He 2018, "Group normalization", table 3). `none` adds a bias to each channel,
    which is what the normalisation's shift was, and does nothing else.
    """
    from torch import nn

    if name == "batch":
        return nn.BatchNorm2d

    def make_group(channels: int, **_placed: object) -> nn.Module:
        groups = max((g for g in range(1, channels // GROUP + 1) if channels % g == 0), default=1)
        return nn.GroupNorm(groups, channels)

    def make_shift(channels: int, **_placed: object) -> nn.Module:
        return _make_shift(channels)

    return make_group if name == "group" else make_shift


def _make_shift(channels: int) -> nn.Module:
    import torch
    from torch import nn

    class Shift(nn.Module):
        """(n, c, h, w) plus a bias a channel."""

        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(channels))

        def forward(self, X: Tensor) -> Tensor:
            return X + self.bias[:, None, None]

        def extra_repr(self) -> str:
            return str(channels)

    return Shift()
