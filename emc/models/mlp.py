"""The multi-layer perceptron."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.errors import SpecError
from emc.models import MODELS
from emc.models.axes import DEEPEST, Axis
from emc.models.images import check_share

if TYPE_CHECKING:
    from torch import nn


AXES = (Axis("width", "width"), Axis("depth", "depth", most=DEEPEST))


@MODELS.register("mlp", activation=True, axes=AXES, added=("dropout",))
def mlp(
    input_shape: tuple[int, ...],
    num_classes: int,
    activation: Callable[[], nn.Module],
    *,
    width: int = 16,
    depth: int = 1,
    dropout: float = 0.0,
) -> nn.Module:
    """`depth` hidden layers of `width` units; depth 1 has (d + 1) width + (width + 1) K parameters.

    Dropout follows each activation.
    """
    from torch import nn

    if width < 1 or depth < 1:
        raise SpecError(
            f"mlp needs width and depth of at least 1, got width={width}, depth={depth}; use linear for none"
        )
    check_share("mlp", dropout=dropout)
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(input_shape)
    for _ in range(depth):
        layers += [nn.Linear(size, width), activation()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        size = width
    return nn.Sequential(*layers, nn.Linear(size, num_classes))
