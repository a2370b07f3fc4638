"""Limited-memory BFGS."""

from __future__ import annotations

from functools import partial

from emc.optimizers import OPTIMIZERS
from emc.optimizers.plan import OptimizerPlan, check_options

#: L-BFGS iterations that one call of `torch.optim.LBFGS.step` does; each call begins with one evaluation more.
ITERATIONS_PER_CALL = 20


@OPTIMIZERS.register("lbfgs", line_search=True)
def lbfgs(*, lr: float = 1.0, history: int = 20) -> OptimizerPlan:
    """Full-batch L-BFGS, strong-Wolfe search (Liu and Nocedal 1989): fast on small nets; a step is an iteration."""
    from torch import optim

    check_options("lbfgs", above_zero={"lr": lr, "history": history})
    build = partial(
        optim.LBFGS,
        lr=lr,
        max_iter=ITERATIONS_PER_CALL,
        history_size=history,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )
    return OptimizerPlan(lr, build, full_batch=True, closure=True)
