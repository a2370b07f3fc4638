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

#: Bounds of multipliers that a recipe makes: below the one nothing gets smaller, above the other no machine holds it.
LEAST, MOST = 1e-3, 1e3


@dataclass(frozen=True)
class Axis:
    """One option of a family as a dimension of its size: a whole number, a multiplier, a ratio, or blocks a stage.

    Attributes:
        option: its name.
        role: what recipes call it: "width", "depth", "mlp" or "stages".
        least, most: bounds of a whole number, and of the blocks of all stages; a multiplier has only `most`.
        step: number of which the value is a multiple, or the option that holds it, as the heads that share a width.
        times: option that the value multiplies to give the dimension, where the option is a ratio to it; its axis comes
            first.
        layouts: blocks a stage that were published, ascending; between them each stage is interpolated. Without any,
            all stages grow alike.
    """

    option: str
    role: str
    least: int = 1
    most: float = math.inf
    step: str | int | None = None
    times: str | None = None
    layouts: tuple[tuple[int, ...], ...] = ()


def member(spec: PluginSpec, axes: Sequence[Axis], exponents: Mapping[str, float], scale: float) -> PluginSpec:
    """The family's member whose dimensions are those of `spec` times scale ** exponent, rounded to what it can be.

    Where they are rounded as at scale 1, it is `spec` itself, whether a recipe would make it or not. Of blocks that
    follow published layouts only their sum counts: a `spec` that is none of them is left for the layouts at once.

    Args:
        spec: resolved, the member of scale 1.
        axes: of its family.
        exponents: by role; what has none stays.
        scale: above 0.

    >>> axes = (Axis("width", "width"), Axis("depth", "depth"))
    >>> str(member(PluginSpec("net", (("width", 16), ("depth", 2))), axes, {"width": 2, "depth": 1}, 1.5))
    'net:width=36,depth=3'
    """
    grown = _grown(spec, axes, exponents, scale)
    return spec if grown == _grown(spec, axes, exponents, 1.0) else grown


def _grown(spec: PluginSpec, axes: Sequence[Axis], exponents: Mapping[str, float], scale: float) -> PluginSpec:
    base, options = dict(spec.options), dict(spec.options)
    scaled = [axis for axis in axes if axis.role in exponents]
    grows = {axis.option: exponents[axis.role] for axis in scaled}
    for axis in scaled:
        if axis.times is not None and grows[axis.option] == grows.get(axis.times, 0.0):
            continue  # a ratio of what grows alike stays
        factor, value = scale ** grows[axis.option], base[axis.option]
        if isinstance(value, tuple):
            options[axis.option] = _blocks(tuple(map(int, value)), factor, axis)
        elif axis.times is not None:
            units = max(round(_number(value) * _number(base[axis.times]) * factor), 1)
            options[axis.option] = _digits(units / _number(options[axis.times]))
        elif isinstance(value, float):
            options[axis.option] = _digits(min(max(value * factor, LEAST), axis.most, MOST))
        else:
            step = _number(base[axis.step]) if isinstance(axis.step, str) else axis.step or 1
            options[axis.option] = _whole(_number(value) * factor, axis, int(step))
    return PluginSpec(spec.name, tuple(options.items()))


def _whole(wanted: float, axis: Axis, step: int) -> int:
    count = max(math.floor(wanted / step + 0.5), math.ceil(axis.least / step))
    return int(min(count * step, axis.most))


def _blocks(base: tuple[int, ...], factor: float, axis: Axis) -> tuple[str, ...]:
    """Blocks a stage: as many in all as the base's times the factor, about, laid out as published."""
    total = min(sum(base) * factor, axis.most)
    layouts = [layout[: len(base)] for layout in axis.layouts] or [base]
    above = next((i for i, layout in enumerate(layouts) if sum(layout) >= total), len(layouts))
    if above in (0, len(layouts)):
        nearest = layouts[min(above, len(layouts) - 1)]
        wanted = [each * total / sum(nearest) for each in nearest]
    else:
        low, high = layouts[above - 1], layouts[above]
        share = (total - sum(low)) / (sum(high) - sum(low))
        wanted = [one + share * (other - one) for one, other in zip(low, high, strict=True)]
    least = math.ceil(axis.least / len(base))
    return tuple(str(max(math.floor(each + 0.5), least)) for each in wanted)


def _digits(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"an option that scales is a number, got {value!r}")
    return value
