"""Shampoo."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from emc.optimizers import OPTIMIZERS
from emc.optimizers.plan import OptimizerPlan, check_decay, check_options

if TYPE_CHECKING:
    from torch import Tensor, nn, optim


@OPTIMIZERS.register("shampoo")
def shampoo(*, lr: float = 0.2, every: int = 1, eps: float = 1e-3, weight_decay: float = 0.0) -> OptimizerPlan:
    """Shampoo, Gupta et al. 2018: a preconditioner a dimension, its root taken every so many steps; L2 decay.

    Before the first root nothing moves. With roots that are some steps old, a direction that no gradient had by then is
    scaled by eps^(-1/2) in a matrix, so that a small eps makes it diverge.
    """
    check_options("shampoo", above_zero={"lr": lr, "every": every, "eps": eps})
    check_decay("shampoo", weight_decay)
    build = partial(_build, lr=lr, every=every, eps=eps, weight_decay=weight_decay)
    return OptimizerPlan(lr, build, weight_decay=weight_decay)


def _build(
    parameters: Iterable[nn.Parameter], lr: float, every: int, eps: float, weight_decay: float
) -> optim.Optimizer:
    import torch
    from pytorch_optimizer import Shampoo

    class DivergingShampoo(Shampoo):
        """Ends in parameters that are not finite where its numbers no longer are, as other optimizers do."""

        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            try:
                return super().step(closure)
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # no root of a matrix that is not finite
                held: list[Tensor] = [p for group in self.param_groups for p in group["params"]]
                if all(bool(t.isfinite().all()) for p in held for t in self.state[p].values()):
                    raise
                for parameter in held:
                    parameter.fill_(torch.nan)
                return None

    return DivergingShampoo(
        parameters, lr=lr, weight_decay=weight_decay, preconditioning_compute_steps=every, matrix_eps=eps
    )
