"""The plain convolutional network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.errors import SpecError
from emc.models import MODELS
from emc.models.axes import DEEPEST, Axis
from emc.models.images import check_share

if TYPE_CHECKING:
    from torch import nn


AXES = (Axis("width", "width"), Axis("depth", "depth", most=DEEPEST))


@MODELS.register("cnn", activation=True, axes=AXES, added=("dropout", "hidden"))
def cnn(
    input_shape: tuple[int, ...],
    num_classes: int,
    activation: Callable[[], nn.Module],
    *,
    width: int = 8,
    depth: int = 2,
    dropout: float = 0.0,
    hidden: int = 64,
) -> nn.Module:
    """`depth` 3x3 convolutions of `width` kernels, pooled to 2x2, one layer of `hidden` units, output.

    Each convolution is padded and followed by the activation and, while the map is larger than 4x4, a 2x2 max-pool; an
    adaptive average pool ends at 2x2. Dropout follows each activation.
    """
    from torch import nn

    if len(input_shape) != 3:
        raise SpecError(f"cnn needs images (channels, height, width), got inputs of shape {input_shape}; use mlp")
    if width < 1 or depth < 1 or hidden < 1:
        given = f"width={width}, depth={depth}, hidden={hidden}"
        raise SpecError(f"cnn needs width, depth and hidden of at least 1, got {given}")
    check_share("cnn", dropout=dropout)
    channels, height, breadth = input_shape
    drops = (lambda: [nn.Dropout(dropout)]) if dropout > 0 else list[nn.Module]
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(channels, width, 3, padding=1), activation(), *drops()]
        channels = width
        if min(height, breadth) > 4:
            layers.append(nn.MaxPool2d(2))
            height, breadth = height // 2, breadth // 2
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, hidden), activation(), *drops()]
    return nn.Sequential(*layers, nn.Linear(hidden, num_classes))
