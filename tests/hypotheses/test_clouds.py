from __future__ import annotations

import pytest
from simulated import cell

from emc.hypotheses.clouds import Cloud, Point


def points(x: list[float], y: list[float], censored: bool = False) -> tuple[Point, ...]:
    return tuple(Point(a, b, (cell([10]),), str(a), censored) for a, b in zip(x, y, strict=True))


def test_a_line_by_hand() -> None:
    found = Cloud("y and x", (points([1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]),), -1).test(0.95)
    assert found.honest is not None
    assert found.honest.effect.value == pytest.approx(-1)
    assert found.honest.support.high == pytest.approx(2 / 720, rel=0.2)
    assert found.smallest_p == 2 / 720
    assert found.honest.against.value == 1
    assert "Spearman's rho -1.00" in found.notes[0]


def test_groups_are_correlated_within() -> None:
    """Both fall, though all points together rise."""
    groups = (points([1, 2, 3, 4], [4, 3, 2, 1]), points([11, 12, 13, 14], [14, 13, 12, 11]))
    found = Cloud("y and x", groups, -1).test(0.95)
    assert found.honest is not None
    assert found.honest.effect.value == pytest.approx(-1)
    assert (len(found.strata), found.replicates) == (2, 8)


def test_a_dataset_measured_at_several_sizes_is_one_dataset() -> None:
    once = (points([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),)
    one, three = (Cloud("y and x", groups, 1).test(0.95) for groups in (once, 3 * once))
    assert one.honest is not None
    assert three.honest is not None
    assert three.honest.support == one.honest.support
    assert three.honest.interval == one.honest.interval
    assert (three.replicates, three.smallest_p, three.blocks) == (5, 2 / 120, "datasets")


def test_too_few_points_or_none_that_vary_are_no_cells() -> None:
    for group in (points([1, 2, 3], [1, 2, 3]), points([1, 1, 1, 1], [1, 2, 3, 4])):
        assert Cloud("y and x", (group,), 1).test(0.95).honest is None


def test_a_lower_bound_leaves_it_open() -> None:
    found = Cloud("y and x", (points([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], True),), 1).test(0.95)
    assert found.honest is not None
    assert found.budget is not None
    assert (found.honest.support.high, found.honest.interval) == (1, (-1, 1))
    assert found.budget.support.high < 0.01
