"""What the options of a family are to a scaling recipe; the families' own files say it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emc.registry import PluginSpec, Value

#: Layers at most of a member that a recipe makes.
DEEPEST = 1000

#: Significant digits of options that are no whole numbers.
DIGITS = 5


@dataclass(frozen=True)
class Axis:
    """One option of a family as a dimension of its size.

    Attributes:
        option: its name.
        role: what recipes call it: "width", "depth" or "mlp".
        least, most: bounds of the option's value.
        step: option of which the value is a multiple, such as the heads that share a width.
        times: option that the value multiplies to give the dimension, where the option is a ratio to it.
    """

    option: str
    role: str
    least: float = 1
    most: float = math.inf
    step: str | None = None
    times: str | None = None


def member(spec: PluginSpec, axes: Sequence[Axis], exponents: Mapping[str, float], scale: float) -> PluginSpec:
    """The family's member whose dimensions are those of `spec` times scale ** exponent, rounded to what it can be.

    Args:
        spec: resolved, the member of scale 1.
        axes: of its family.
        exponents: by role; roles without one stay.
        scale: above 0.

    >>> axes = (Axis("width", "width"), Axis("depth", "depth"))
    >>> str(member(PluginSpec("net", (("width", 16), ("depth", 2))), axes, {"width": 2, "depth": 1}, 1.5))
    'net:width=36,depth=3'
    """
    options = dict(spec.options)
    base = dict(spec.options)
    grows = {axis.option: exponents.get(axis.role, 0.0) for axis in axes}
    for axis in axes:
        beside = 0.0 if axis.times is None else grows[axis.times]
        if axis.role in exponents and grows[axis.option] != beside:  # a ratio of what grows alike stays
            wanted = _dimension(base, axis) * scale ** grows[axis.option]
            options[axis.option] = _rounded(wanted, axis, options, base[axis.option])
    return PluginSpec(spec.name, tuple(options.items()))


def _dimension(options: Mapping[str, Value], axis: Axis) -> float:
    value = _number(options[axis.option])
    return value if axis.times is None else value * _number(options[axis.times])


def _rounded(wanted: float, axis: Axis, options: Mapping[str, Value], like: Value) -> Value:
    """An option's value for a dimension, given those of the axes before it."""
    if axis.times is not None:
        whole = max(round(wanted), 1) / _number(options[axis.times])
        return float(f"{whole:.{DIGITS}g}")
    if isinstance(like, float):
        return float(f"{min(max(wanted, axis.least), axis.most):.{DIGITS}g}")
    step = 1 if axis.step is None else int(_number(options[axis.step]))
    count = max(math.floor(wanted / step + 0.5), math.ceil(axis.least / step))
    return int(min(count, axis.most // step) * step) if axis.most < math.inf else count * step


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"an option that scales is a number, got {value!r}")
    return value
