"""Dense Hessians of small problems, entry by entry."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from emc.training.losses import CROSS_ENTROPY, Loss, loss_of


def dense_hessian(module: nn.Module, X: Tensor, y: Tensor, asked: Loss = CROSS_ENTROPY) -> Tensor:
    """(parameters, parameters) Hessian of the mean loss in float64, entry by entry."""
    module = copy.deepcopy(module).double().eval()
    named = {name: p for name, p in module.named_parameters() if p.requires_grad}
    sizes = [p.numel() for p in named.values()]

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split(sizes)
        values = {name: part.view(p.shape) for (name, p), part in zip(named.items(), parts, strict=True)}
        return loss_of(asked, functional_call(module, values, (X.double(),)), y)

    return torch.as_tensor(hessian(loss, torch.cat([p.detach().flatten() for p in named.values()])))


def problem(activation: type[nn.Module], seed: int, width: int = 8) -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(6, width), activation(), nn.Linear(width, 3))
    return module, torch.randn(40, 6), torch.randint(3, (40,))
