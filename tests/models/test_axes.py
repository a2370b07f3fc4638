"""Members of a family by scale."""

from __future__ import annotations

from typing import Any

import pytest

from emc.models.axes import Axis, member
from emc.registry import PluginSpec

WIDTH, DEPTH = Axis("dim", "width", step="heads"), Axis("depth", "depth", most=9)
AXES = (WIDTH, DEPTH, Axis("ratio", "mlp", times="dim"))
SPEC = PluginSpec("net", (("dim", 12), ("heads", 4), ("depth", 2), ("ratio", 4.0)))
ALL = {"width": 1.0, "depth": 1.0, "mlp": 1.0}

#: Published layouts of ResNet-RS, the first three.
LAYOUTS = ((3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3))


def options(exponents: dict[str, float], scale: float) -> dict[str, Any]:
    return dict(member(SPEC, AXES, exponents, scale).options)


@pytest.mark.parametrize(
    ("exponents", "scale", "expected"),
    [
        (ALL, 1.0, {}),
        ({"width": 1.0}, 2.0, {"dim": 24}),
        ({"width": 1.0}, 1.1, {}),  # 13.2 is nearer to 12 than to 16
        ({"width": 1.0}, 1e-6, {"dim": 4}),  # one feature a head is the least
        ({"depth": 1.0}, 2.25, {"depth": 5}),
        ({"depth": 1.0}, 1e6, {"depth": 9}),
        ({"depth": 1.0}, 1e-6, {"depth": 1}),
        (ALL, 2.0, {"dim": 24, "depth": 4}),
        ({"width": 1.0, "mlp": 2.0}, 2.0, {"dim": 24, "ratio": 8.0}),  # 48 units by 4 are 192, by 24 features
        ({"mlp": 1.0}, 0.5, {"ratio": 2.0}),
    ],
)
def test_dimensions_grow_as_powers_and_are_rounded_to_what_can_be(
    exponents: dict[str, float], scale: float, expected: dict[str, Any]
) -> None:
    assert options(exponents, scale) == dict(SPEC.options) | expected


def blocks(scale: float, base: tuple[str, ...] = ("3", "4", "6", "3"), axis: Axis | None = None) -> tuple[str, ...]:
    axis = Axis("blocks", "stages", layouts=LAYOUTS) if axis is None else axis
    found = member(PluginSpec("net", (("blocks", base),)), (axis,), {axis.role: 1.0}, scale).get("blocks")
    assert isinstance(found, tuple)
    return found


def test_stages_follow_published_layouts_and_are_interpolated_between_them() -> None:
    assert blocks(1.0) == ("3", "4", "6", "3")
    assert blocks(33 / 16) == ("3", "4", "23", "3")
    assert blocks(50 / 16) == ("3", "8", "36", "3")
    assert blocks((33 + 17 / 2) / 16) == ("3", "6", "30", "3")
    assert blocks(100 / 16) == ("6", "16", "72", "6")
    assert blocks(0.5) == ("2", "2", "3", "2")
    assert blocks(1e-3) == ("1", "1", "1", "1")
    assert blocks(30 / 13, base=("3", "4", "6")) == ("3", "4", "23")


@pytest.mark.parametrize(
    ("axis", "value", "scale"),
    [
        (Axis("size", "x", layouts=LAYOUTS), ("2", "2", "2", "2"), 1.0),
        (Axis("size", "x", layouts=LAYOUTS), ("2", "2", "2", "2"), 1.01),
        (Axis("size", "x", most=9), 20, 1.0),
        (Axis("size", "x", most=9), 20, 3.0),
        (Axis("size", "x"), 1.2345678, 1.0),
        (Axis("size", "x"), 1e-5, 1.0),
    ],
)
def test_a_member_of_the_size_of_the_base_is_the_base(axis: Axis, value: Any, scale: float) -> None:
    spec = PluginSpec("net", (("size", value),))
    assert member(spec, (axis,), {"x": 1.0}, scale) is spec


def test_stages_without_layouts_grow_alike() -> None:
    plain = Axis("blocks", "depth", most=40)
    assert blocks(2.0, ("2", "3"), plain) == ("4", "6")
    assert blocks(1e9, ("2", "2"), plain) == ("20", "20")
    assert blocks(1e-9, ("2",), Axis("blocks", "depth", least=2)) == ("2",)


def test_a_step_may_be_a_number() -> None:
    even = Axis("width", "width", least=2, step=2)
    spec = PluginSpec("net", (("width", 8),))
    widths = [member(spec, (even,), {"width": 1.0}, scale).get("width") for scale in (1e-3, 0.8, 1.2, 2.0)]
    assert widths == [2, 6, 10, 16]


def test_multipliers_keep_their_digits() -> None:
    spec = PluginSpec("net", (("width", 1.0),))
    assert str(member(spec, (Axis("width", "width"),), {"width": 1.0}, 1.23456789)) == "net:width=1.2346"
