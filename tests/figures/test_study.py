from __future__ import annotations

from dataclasses import replace

import pytest
from studied import CPU, made, spread, study_of, taken_of

from figures.study import cells, take

STUDY = study_of("activations")


@pytest.mark.parametrize(
    "foreign",
    [{"model": "own.py:net"}, {"model": "mlp", "data": "own.py:rows"}, {"model": "mlp", "optimizer": "no_such"}],
)
def test_a_recorded_cell_that_no_study_can_name_is_skipped(foreign):
    first = next(iter(cells(STUDY, CPU)))
    held = taken_of("activations", lambda place, cell: made(cell, spread(100)) if not place else None).recorded
    other = replace(made(first, spread(50)), fingerprint="foreign")
    journal = replace(held, results=(other, *held.results), cells={**held.cells, "foreign": foreign})
    taken = take(STUDY, CPU, journal)
    assert [(dict(cell), result.emc) for cell, result in taken.results] == [(dict(first), 100)]
