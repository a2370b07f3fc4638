"""Probes of one key go together, as many as are fair."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emc.executors.bundles import stack_key, take_bundle
from emc.specs import Probe
from emc.training.setup import Setup
from emc.training.waiting import Waiting

MakeSetup = Callable[..., Setup]


def waiting_for(*sizes: int) -> Waiting:
    waiting = Waiting()
    for n in sizes:
        waiting.add(Probe("base", n, 0))
    return waiting


@pytest.mark.parametrize(
    ("tasks", "most", "expected"),
    [
        (1, 10, [[1, 3, 5], [2, 4]]),
        (1, 2, [[1, 3], [2, 4], [5]]),
        (3, 10, [[1, 3], [2, 4], [5]]),
        (9, 10, [[1], [2], [3], [4], [5]]),
    ],
)
def test_bundles(tasks: int, most: int, expected: list[list[int]]) -> None:
    waiting, found = waiting_for(1, 2, 3, 4, 5), []
    while waiting:
        found.append([probe.n for probe in take_bundle(waiting, tasks, most, lambda probe: probe.n % 2)])
        tasks = max(1, tasks - 1)
    assert found == expected


def test_probes_of_one_stack_have_one_key(make_setup: MakeSetup) -> None:
    one, same, other = make_setup(seed=1), make_setup(seed=2), make_setup(model="mlp:width=3")
    assert stack_key(one, 500) == stack_key(same, 600)
    assert stack_key(one, 500) != stack_key(one, 20)
    assert stack_key(one, 500) != stack_key(other, 500)
