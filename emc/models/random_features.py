"""Random Fourier features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from emc.errors import SpecError
from emc.models import MODELS
from emc.models.axes import Axis

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("random_features", axes=(Axis("dim", "width"),))
def random_features(
    input_shape: tuple[int, ...], num_classes: int, *, dim: int = 100, bandwidth: float = 1.0
) -> nn.Module:
    """`dim` frozen features sqrt(2 / dim) cos(w.x + b) and a trainable output without bias: dim K parameters.

    w is drawn from N(0, I / bandwidth^2) and b uniformly from [0, 2 pi), so that products of features approach the
    Gaussian kernel exp(-|x - x'|^2 / (2 bandwidth^2)). In general position least squares interpolates exactly `dim`
    samples.

    Raises:
        SpecError: an option out of range.

    References:
        Rahimi and Recht 2007, "Random features for large-scale kernel machines", section 3.
    """
    import torch
    from torch import nn

    if dim < 1:
        raise SpecError(f"random_features needs dim of at least 1, got {dim}")
    if not 0 < bandwidth < math.inf:
        raise SpecError(f"random_features needs a bandwidth above 0 and finite, got {bandwidth}")

    class Cosines(nn.Module):
        """(n, d) -> (n, dim)."""

        frequencies: torch.Tensor
        phases: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("frequencies", torch.randn(math.prod(input_shape), dim) / bandwidth)
            self.register_buffer("phases", 2 * math.pi * torch.rand(dim))

        def forward(self, X: torch.Tensor) -> torch.Tensor:
            return math.sqrt(2 / dim) * torch.cos(X @ self.frequencies + self.phases)

    return nn.Sequential(nn.Flatten(), Cosines(), nn.Linear(dim, num_classes, bias=False))
