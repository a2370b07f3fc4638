"""Sharpness-aware minimisation over another optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from emc.errors import SpecError
from emc.optimizers import OPTIMIZERS
from emc.optimizers.plan import OptimizerPlan, check_options
from emc.registry import PluginSpec

if TYPE_CHECKING:
    from torch import nn, optim


@OPTIMIZERS.register("sam", nests=("base",), shares=("lr",))
def sam(*, rho: float = 0.05, base: tuple[str, ...] = ("adam",), lr: float | None = None) -> OptimizerPlan:
    """SAM, Foret et al. 2021, over a base such as base=adamw|weight_decay=0.1; two passes a step; lr is the base's.

    The base steps along the gradient at the parameters moved by rho uphill. In that pass dropout draws anew.
    """
    check_options("sam", above_zero={"rho": rho})
    spec = PluginSpec.of_parts(base)
    if any(key == "lr" for key, _ in spec.options):
        rest = "|".join(part for part in base if part.partition("=")[0].strip() != "lr")
        raise SpecError(
            f"optimizer sam takes the learning rate of its base as lr, got base={'|'.join(base)}; "
            f"write sam:lr={spec.get('lr')},base={rest}"
        )
    if lr is not None:
        check_options("sam", above_zero={"lr": lr})
        spec = replace(spec, options=(*spec.options, ("lr", lr)))
    plan = OPTIMIZERS.build(spec)
    if plan.closure or plan.solve is not None or plan.passes > 1:
        raise SpecError(f"optimizer sam needs a base that takes one gradient a step, got {spec.name}; use adam or sgd")
    return replace(plan, build=partial(_build, rho=rho, base=plan), passes=2, rule=None, update=None)


def _build(parameters: Iterable[nn.Parameter], rho: float, base: OptimizerPlan) -> optim.Optimizer:
    from pytorch_optimizer import SAM

    def make(groups: list[dict[str, Any]]) -> optim.Optimizer:
        optimizer = base.build([parameter for group in groups for parameter in group["params"]])
        for group in optimizer.param_groups:
            group |= {"rho": rho, "adaptive": False}
        return optimizer

    found: optim.Optimizer = SAM(list(parameters), make, rho=rho)  # type: ignore[arg-type]  # whatever makes one
    return found
