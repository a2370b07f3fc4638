"""A model trained in a random subspace of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from emc.errors import SpecError
from emc.reparams.modules.projections import Projection
from emc.reparams.modules.wrapped import Wrapped, freeze, split_like, trained_names


class Subspace(Wrapped):
    """theta = theta_0 + P z, where only z: (dim,) is trained; it starts at 0.

    theta_0 are the trainable parameters of the model as it was handed over, now frozen; its frozen parameters and its
    buffers are no part of theta.

    Args:
        inner: the model.
        dim: coordinates.
        make_projection: (parameters, dim) -> P.
        normalise: columns of length 1; else of length sqrt(parameters), as those of a standard Gaussian matrix have.

    Raises:
        SpecError: dim is above the number of trainable parameters.
    """

    def __init__(
        self, inner: nn.Module, dim: int, make_projection: Callable[[int, int], Projection], normalise: bool
    ) -> None:
        super().__init__(inner)
        self._names = trained_names(inner)
        size = sum(tensor.numel() for tensor in self._origin())
        if dim > size:
            raise SpecError(
                f"subspace takes dim of at most the model's {size:,} trainable parameters, got dim={dim:,}; lower it"
            )
        freeze(inner, self._names)
        self._scale = 1.0 if normalise else math.sqrt(size)
        self.projection = make_projection(size, dim)
        self.z = nn.Parameter(torch.zeros(dim))

    def _origin(self) -> list[Tensor]:
        parameters = dict(self.inner.named_parameters())
        return [parameters[name] for name in self._names]

    def tensors(self) -> dict[str, Tensor]:
        """theta_0 + P z, by name."""
        origin = self._origin()
        moves = split_like(self._scale * self.projection(self.z), origin)
        return {name: start + move for name, start, move in zip(self._names, origin, moves, strict=True)}

    def extra_repr(self) -> str:
        """What tells it from others."""
        return f"scale={self._scale:g}"
