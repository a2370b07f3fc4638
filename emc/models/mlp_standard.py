"""The standard MLP with LayerNorm of "Scaling MLPs"."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.errors import SpecError
from emc.models import MODELS
from emc.models.axes import DEEPEST, Axis
from emc.models.images import check_positive, check_share

if TYPE_CHECKING:
    from torch import nn

AXES = (Axis("width", "width"), Axis("depth", "depth", least=2, most=DEEPEST))


@MODELS.register("mlp_standard", activation="gelu", axes=AXES)
def mlp_standard(
    input_shape: tuple[int, ...],
    num_classes: int,
    activation: Callable[[], nn.Module],
    *,
    width: int = 16,
    depth: int = 2,
    dropout: float = 0.0,
) -> nn.Module:
    """MLP with LayerNorm: a layer in, `depth` - 1 times LayerNorm, activation and layer, one out; no skips.

    `depth` counts the layers of `width` units. Nothing lies between the last of them and the output, as in the paper's
    repository. Dropout follows the activations.

    Raises:
        SpecError: an option out of range; a depth of 1 would be linear.

    References:
        Bachmann et al. 2023, "Scaling MLPs: A tale of inductive bias", section 3; its repository's `StandardMLP`.
    """
    check_positive("mlp_standard", width=width)
    check_share("mlp_standard", dropout=dropout)
    if depth < 2:
        raise SpecError(f"mlp_standard needs depth of at least 2, got {depth}; with 1 it would be linear")
    from torch import nn

    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(math.prod(input_shape), width)]
    for _ in range(depth - 1):
        layers += [nn.LayerNorm(width), activation()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(width, width))
    return nn.Sequential(*layers, nn.Linear(width, num_classes))
