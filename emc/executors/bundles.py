"""Probes that one task of a cluster trains together."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from emc.specs import Probe
from emc.training.setup import Setup
from emc.training.stack import padded_size
from emc.training.waiting import Waiting


def stack_key(setup: Setup, n: int) -> Hashable:
    """Equal for probes that can be members of one stack."""
    return setup.model_key, setup.plan.rule, setup.pool.dtype, setup.procedure.tf32, padded_size(setup, n)


def take_bundle(waiting: Waiting, tasks: int, most: int, key: Callable[[Probe], Hashable]) -> list[Probe]:
    """The next probe with others of its key, so many that as many bundles as there are free tasks are about equal.

    Args:
        waiting: the probes, at least one; those that are returned wait no longer.
        tasks: that are free, at least one.
        most: probes a bundle.
        key: a bundle's probes have it in common.
    """
    size = min(most, -(-len(waiting) // tasks))
    first = waiting.peek()
    wanted = key(first)
    bundle = [first]
    for probe in waiting if size > 1 else ():
        if len(bundle) == size:
            break
        if probe != first and key(probe) == wanted:
            bundle.append(probe)
    for probe in bundle:
        waiting.remove(probe)
    return bundle
