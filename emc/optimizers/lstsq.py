"""The least-squares solution at once, for models that are linear in their trainable parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from emc.optimizers import OPTIMIZERS
from emc.optimizers.plan import OptimizerPlan, Solution

if TYPE_CHECKING:
    from torch import Tensor, nn, optim


@OPTIMIZERS.register("lstsq")
def lstsq() -> OptimizerPlan:
    """Least squares solved at once in float64 (gelsd, minimum norm); needs --loss squared and a linear model."""
    return OptimizerPlan(lr=1.0, build=_never_stepped, full_batch=True, solve=solve)


def solve(A: Tensor, T: Tensor) -> Solution:
    """The W of smallest norm among those of least |A W - T|^2, by singular values, on the CPU in float64.

    Args:
        A: (n, D) features.
        T: (n, K) targets.
    """
    import numpy as np
    import torch

    weights, _, rank, singular = np.linalg.lstsq(A.double().cpu().numpy(), T.double().cpu().numpy(), rcond=None)
    counted = singular[: int(rank)]
    largest, smallest = (float(counted[0]), float(counted[-1])) if rank else (0.0, 0.0)
    return Solution(torch.from_numpy(weights).to(A.device), int(rank), largest, smallest)


def _never_stepped(parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    raise RuntimeError(f"lstsq is solved, not stepped ({len(list(parameters))} parameters)")
