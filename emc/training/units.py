"""Dead units: hidden ReLUs that are 0 on every sample, and so have no gradient to come back by."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from emc.training.polish import CHUNK

if TYPE_CHECKING:
    from torch import Tensor

#: Activations with a flat side: a unit that is on it for all samples is not moved. (GELU's is only nearly flat.)
FLAT = (nn.ReLU, nn.ReLU6)


@torch.no_grad()
def dead_share(module: nn.Module, X: Tensor) -> float | None:
    """Share of the units behind ReLUs whose output is 0 on all samples, in eval mode.

    A unit is a channel of feature maps (n, C, H, W), and else an entry of the last dimension. A module that is called
    more than once counts at each call; ReLU as a function, not a module, is not seen.

    Args:
        module: the model; it is not changed.
        X: (n, *shape) inputs.

    Returns:
        Between 0 and 1; None where the model has no such activation.

    >>> X = torch.tensor([[1.0, -1.0, 0.0, -2.0], [1.0, -1.0, 0.0, 2.0]])
    >>> dead_share(nn.Sequential(nn.Identity(), nn.ReLU()), X)
    0.5
    """
    module = copy.deepcopy(module).eval().double()
    alive: list[Tensor] = []
    seen: list[Tensor] = []

    def note(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        units = output.movedim(1 if output.dim() == 4 else -1, 0).flatten(1)
        seen.append((units != 0).any(1))

    for part in module.modules():
        if isinstance(part, FLAT):
            part.register_forward_hook(note)
    for rows in torch.split(X.double(), CHUNK):
        seen.clear()
        module(rows)
        alive = [a | b for a, b in zip(alive, seen, strict=True)] if alive else list(seen)
    return 1 - float(torch.cat(alive).double().mean()) if alive else None
