"""The five-layer CNN of "Deep double descent"."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.models import MODELS
from emc.models.axes import Axis
from emc.models.images import check_images, check_positive

if TYPE_CHECKING:
    from torch import nn

#: Pixels a side that the two inner max-pools leave something of.
LEAST = 4


@MODELS.register("cnn5", activation=True, axes=(Axis("width", "width"),))
def cnn5(
    input_shape: tuple[int, ...], num_classes: int, activation: Callable[[], nn.Module], *, width: int = 64
) -> nn.Module:
    """3x3 convolutions of c, 2c, 4c, 8c kernels with biases, BatchNorm and activation, max-pooled; output.

    The pools after the four are none, 2x2, 2x2 and all that is left, which is 8x8 at 32x32 pixels. With 3 channels and
    10 classes it has 378 c^2 + 152 c + 10 parameters for a width of c, biases and the scales and shifts of BatchNorm
    included. A bias before a BatchNorm changes no output: 15 c of the parameters are idle.

    Raises:
        SpecError: inputs that are no images of at least 4x4 pixels, or a width below 1.

    References:
        Nakkiran, Kaplun, Bansal, Yang, Barak and Sutskever 2019, "Deep double descent: where bigger models and more
        data hurt", appendix B.1.
    """
    from torch import nn

    check_images("cnn5", input_shape, LEAST)
    check_positive("cnn5", width=width)
    layers: list[nn.Module] = []
    channels = input_shape[0]
    for i, pool in enumerate((nn.Identity(), nn.MaxPool2d(2), nn.MaxPool2d(2), nn.AdaptiveMaxPool2d(1))):
        wide = width << i
        layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.BatchNorm2d(wide), activation(), pool]
        channels = wide
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, num_classes))
