"""Optimizers by name: a factory takes its options and returns an `OptimizerPlan`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emc.registry import Registry

if TYPE_CHECKING:
    from emc.optimizers.plan import OptimizerPlan

OPTIMIZERS: Registry[OptimizerPlan] = Registry("optimizer", "emc.optimizers", "emc.optimizers")
