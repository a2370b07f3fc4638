"""Muon."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from emc.errors import SpecError
from emc.optimizers import OPTIMIZERS
from emc.optimizers.plan import OptimizerPlan, check_decay, check_options

if TYPE_CHECKING:
    from torch import nn, optim


@OPTIMIZERS.register("muon")
def muon(
    *,
    lr: float = 1e-2,
    momentum: float = 0.95,
    ends: bool = False,
    beta1: float = 0.9,
    beta2: float = 0.95,
    weight_decay: float = 0.0,
) -> OptimizerPlan:
    """Muon, Jordan et al. 2024, for hidden matrices (ends: for the first and last too), AdamW for the rest.

    Steps are scaled by 0.2 sqrt(max(rows, columns)), so that one learning rate suits both (Liu et al. 2025, "Muon is
    scalable for LLM training", section 2.2). The kernels of a convolution are one matrix with a row an output channel.
    Orthogonalisation is by five Newton-Schulz iterations in bfloat16, whatever the precision of training.
    """
    check_options("muon", above_zero={"lr": lr}, below_one={"momentum": momentum, "beta1": beta1, "beta2": beta2})
    check_decay("muon", weight_decay)
    build = partial(_build, lr=lr, momentum=momentum, ends=ends, betas=(beta1, beta2), weight_decay=weight_decay)
    return OptimizerPlan(lr, build, weight_decay=weight_decay)


def _build(
    parameters: Iterable[nn.Parameter],
    lr: float,
    momentum: float,
    ends: bool,
    betas: tuple[float, float],
    weight_decay: float,
) -> optim.Optimizer:
    from pytorch_optimizer import Muon

    parameters = list(parameters)
    by_muon = _matrices(parameters, ends)
    chosen = {id(parameter) for parameter in by_muon}
    rest = [parameter for parameter in parameters if id(parameter) not in chosen]
    shared = {"lr": lr, "weight_decay": weight_decay}
    groups = [{"params": by_muon, "use_muon": True, "momentum": momentum, "use_adjusted_lr": True, **shared}]
    if rest:
        groups.append({"params": rest, "use_muon": False, "betas": betas, **shared})
    found: optim.Optimizer = Muon(groups)
    return found


def _matrices(parameters: list[nn.Parameter], ends: bool) -> list[nn.Parameter]:
    """Those that are orthogonalised, in the order of the model's parameters; a single row or column is a vector.

    Raises:
        SpecError: there are none.
    """
    matrices = [p for p in parameters if p.dim() >= 2 and len(p) > 1 and p.numel() > len(p)]
    found = matrices if ends else matrices[1:-1]
    if not found:
        needed, remedy = (
            ("a matrix among the trainable parameters", "use adamw")
            if ends
            else ("a matrix between the first and the last layer", "use a deeper model, or muon:ends=true for all")
        )
        raise SpecError(f"optimizer muon needs {needed}, got {len(matrices)} in all; {remedy}")
    return found
