"""The softmax-linear model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emc.models import MODELS

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("linear", linear=True)
def linear(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """One affine map from the flattened inputs to the logits: (d + 1) K parameters."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), num_classes))
