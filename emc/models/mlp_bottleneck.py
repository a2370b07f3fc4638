"""The inverted-bottleneck MLP of "Scaling MLPs"."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.models import MODELS
from emc.models.axes import DEEPEST, Axis
from emc.models.images import check_positive, check_share

if TYPE_CHECKING:
    from torch import Tensor, nn

AXES = (Axis("width", "width"), Axis("depth", "depth", most=DEEPEST))


@MODELS.register("mlp_bottleneck", activation="gelu", spelled=r"B_(?P<depth>\d+)-Wi_(?P<width>\d+)", axes=AXES)
def mlp_bottleneck(
    input_shape: tuple[int, ...],
    num_classes: int,
    activation: Callable[[], nn.Module],
    *,
    width: int = 16,
    depth: int = 1,
    expansion: int = 4,
    dropout: float = 0.0,
) -> nn.Module:
    """Residual MLP: a layer in, `depth` blocks x + W2 act(W1 LayerNorm(x)) of `width` and expansion * width, one out.

    `B_6-Wi_1024` is another name of `mlp_bottleneck:width=1024,depth=6`. Dropout follows the activations. With
    e = expansion, a block has 2 e w^2 + (e + 3) w parameters.

    Raises:
        SpecError: an option out of range.

    References:
        Bachmann et al. 2023, "Scaling MLPs: A tale of inductive bias", section 3; its repository's `BottleneckMLP`.
    """
    check_positive("mlp_bottleneck", width=width, depth=depth, expansion=expansion)
    check_share("mlp_bottleneck", dropout=dropout)
    from torch import nn

    class Block(nn.Module):
        """(n, width) -> (n, width)."""

        def __init__(self) -> None:
            super().__init__()
            wide = expansion * width
            layers = [nn.LayerNorm(width), nn.Linear(width, wide), activation(), nn.Linear(wide, width)]
            if dropout > 0:
                layers.insert(3, nn.Dropout(dropout))
            self.layers = nn.Sequential(*layers)

        def forward(self, X: Tensor) -> Tensor:
            out: Tensor = X + self.layers(X)
            return out

    first, last = nn.Linear(math.prod(input_shape), width), nn.Linear(width, num_classes)
    return nn.Sequential(nn.Flatten(), first, *(Block() for _ in range(depth)), last)
