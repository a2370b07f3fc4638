"""Members of a family by size: along a scaling recipe, those nearest to numbers of parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from emc.data import load
from emc.errors import EmcError, SpecError
from emc.models import MODELS
from emc.models.activations import ACTIVATIONS, own_activation
from emc.models.axes import Axis, member
from emc.models.recipes import RECIPES
from emc.registry import Plugin, PluginSpec

if TYPE_CHECKING:
    from torch import nn

#: Sizes asked for at once, at most.
MOST = 10_000

#: The largest size asked for: no machine holds such a model, and counting far larger ones takes for ever.
LARGEST = 1e12

#: Relative distance of two scales that make neighbouring members.
NEIGHBOURS = 1e-9

#: A factor of scale beyond which nothing changes any more.
FAR = 1e12


@dataclass(frozen=True)
class Member:
    """The member of a family that is nearest to a size.

    Attributes:
        asked: trainable parameters asked for.
        model: with all its options.
        parameters: it has.
    """

    asked: int
    model: str
    parameters: int

    @property
    def ratio(self) -> float:
        """Parameters it has by those asked for."""
        return self.parameters / self.asked


@dataclass(frozen=True)
class Scaled:
    """Members of a family along a recipe.

    Attributes:
        family: the member that the recipe starts from.
        recipe: with its options.
        exponents: by role of the dimensions.
        shape, classes: of the inputs and the outputs.
        members: one for each size asked for.
    """

    family: str
    recipe: str
    exponents: Mapping[str, float]
    shape: tuple[int, ...]
    classes: int
    members: tuple[Member, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        members = [asdict(each) | {"ratio": each.ratio} for each in self.members]
        return {**asdict(self), "shape": list(self.shape), "members": members}

    def to_json(self) -> str:
        """The members as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def __str__(self) -> str:
        return "\n".join(f"{each.model}  {each.parameters:,} of {each.asked:,}" for each in self.members)


def scale(
    family: str,
    *,
    parameters: str | float | Sequence[float],
    recipe: str | None = None,
    data: str | None = None,
    shape: str | Sequence[int] | None = None,
    classes: int | None = None,
) -> Scaled:
    """The members of a family nearest to numbers of parameters, along a scaling recipe.

    Members are counted on PyTorch's meta device, so none is allocated, and found by bisection. Of two equally near ones
    the smaller is taken.

    Args:
        family: a model by name; its options are those of the recipe's member of scale 1.
        parameters: trainable parameters: one number, several, or text such as "1e4:1e6:9", nine in equal ratios, both
            ends included.
        recipe: by name (emc list recipes); default: the one that scales the family's first dimension alone, its width.
        data: dataset by name whose inputs and classes it is for; default: digits.
        shape: of one input instead, as (3, 32, 32) or "3x32x32"; needs `classes`.
        classes: K; default: the dataset's own.

    Raises:
        EmcError: an unknown name, a size below 1, a family that does not scale, or inputs that it cannot take.

    >>> [each.model for each in scale("mlp", parameters="1e3:1e5:3").members]
    ['mlp:width=13,depth=1', 'mlp:width=133,depth=1', 'mlp:width=1333,depth=1']
    """
    asked = read_sizes(parameters)
    path = Path.of(MODELS.resolve(family), recipe)
    inputs, K = _task(data, shape, classes)
    found = tuple(path.nearest(size, inputs, K) for size in asked)
    return Scaled(str(path.spec), str(path.recipe), path.exponents, inputs, K, found)


def read_sizes(text: str | float | Sequence[float]) -> list[int]:
    """Numbers of parameters from what a user gives for them.

    Raises:
        SpecError: it is none, or too many.

    >>> read_sizes("100:10000:3")
    [100, 1000, 10000]
    """
    try:
        if isinstance(text, str):
            first, *rest = text.split(":")
            ends = [float(first)] if not rest else [float(first), float(rest[0])]
            count = 1 if not rest else int(rest[1])
            if len(rest) not in (0, 2) or not 1 <= count <= MOST or (rest and count < 2):
                raise ValueError
            sizes = [ends[0] * (ends[-1] / ends[0]) ** (i / max(count - 1, 1)) for i in range(count)]
        else:
            sizes = [float(each) for each in ([text] if isinstance(text, int | float) else text)]
        if not sizes or len(sizes) > MOST or not all(1 <= each <= LARGEST for each in sizes):
            raise ValueError
    except (ValueError, TypeError, ArithmeticError, IndexError):
        raise SpecError(
            f'parameters are numbers from 1 to {LARGEST:g}, or first:last:count of at most {MOST:,}, got "{text}"; '
            "write 1e4 or 1e4:1e6:9"
        ) from None
    return [round(each) for each in sizes]


def _task(data: str | None, shape: str | Sequence[int] | None, classes: int | None) -> tuple[tuple[int, ...], int]:
    """Shape of one input, and the number of classes."""
    if classes is not None and classes < 2:
        raise SpecError(f"classes must be at least 2, got {classes}")
    if shape is None:
        facts = load("digits" if data is None else data).facts
        return facts.shape, len(facts.classes) if classes is None else classes
    if data is not None:
        raise SpecError(f"a dataset has its own shape, got data {data} and shape {shape}; leave one of them out")
    if classes is None:
        raise SpecError(f'a shape needs a number of classes, got shape "{shape}" alone; add classes')
    try:
        found = tuple(int(side) for side in (shape.split("x") if isinstance(shape, str) else shape))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise SpecError(f'a shape is whole numbers of at least 1, got "{shape}"; write 3x32x32')
    return found, classes


@dataclass(frozen=True)
class Path:
    """A family's members along a recipe, by scale.

    Attributes:
        spec: the resolved member of scale 1.
        axes: of the family.
        recipe: resolved.
        exponents: by role.
        activation: of its members; None where the family takes none.
    """

    spec: PluginSpec
    axes: tuple[Axis, ...]
    recipe: PluginSpec
    exponents: Mapping[str, float]
    activation: PluginSpec | None

    @classmethod
    def of(cls, spec: PluginSpec, recipe: PluginSpec | str | None, activation: PluginSpec | None = None) -> Path:
        """The path of a resolved member.

        Args:
            spec: where it starts.
            recipe: which way it goes; None takes the role of the family's first axis.
            activation: of its members; None takes the family's own.

        Raises:
            UnknownNameError: no such recipe.
            SpecError: the family does not scale so, or not at all.
        """
        plugin = MODELS.get(spec.name)
        axes: tuple[Axis, ...] = plugin.facts.get("axes", ())
        if not axes:
            raise SpecError(f"a recipe scales options of a family, got {plugin.name}, which has none; name another")
        named = RECIPES.resolve(axes[0].role if recipe is None else recipe)
        exponents = RECIPES.build(named)
        missing = sorted(exponents.keys() - {axis.role for axis in axes})
        if missing:
            known = ", ".join(recipes_of(plugin))
            raise SpecError(
                f"recipe {named.name} scales the {' and '.join(missing)} of a family, got {plugin.name}, which has "
                f"none; its recipes are {known}"
            )
        return cls(spec, axes, named, exponents, activation or own_activation(plugin))

    def at(self, scale: float) -> PluginSpec:
        """The member of a scale: its fastest dimension is so many times that of scale 1."""
        fastest = max(self.exponents.values())
        return member(self.spec, self.axes, {role: each / fastest for role, each in self.exponents.items()}, scale)

    def nearest(self, asked: int, shape: tuple[int, ...], classes: int) -> Member:
        """The member nearest to a number of parameters, by ratio; of equally near ones the smaller.

        Raises:
            SpecError: the family cannot take the inputs, or a member cannot be counted.
        """

        def count(scale: float) -> int:
            return count_parameters(self.at(scale), self.activation, shape, classes)

        low, high = self._bracket(asked, count)
        while high / low > 1 + NEIGHBOURS:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if count(middle) <= asked else (low, middle)
        found = [(count(scale), str(self.at(scale))) for scale in (low, high)]
        parameters, model = min(found, key=lambda each: (abs(math.log(each[0] / asked)), each[0]))
        return Member(asked, model, parameters)

    def _bracket(self, asked: int, count: Callable[[float], int]) -> tuple[float, float]:
        """Scales whose members have at most, and more than, so many parameters; the path's end where there are none."""
        low = high = 1.0
        if count(1.0) <= asked:
            while count(high) <= asked:
                if self.at(high) == self.at(high * FAR):
                    return high, high
                low, high = high, 2 * high
        else:
            while count(low) > asked:
                if self.at(low) == self.at(low / FAR):
                    return low, low
                low, high = low / 2, low
        return low, high


def recipes_of(plugin: Plugin[Any]) -> list[str]:
    """The recipes along which a family can be scaled, by name."""
    roles = {axis.role for axis in plugin.facts.get("axes", ())}
    return [recipe.name for recipe in RECIPES if roles >= RECIPES.build(recipe.name).keys()]


def count_parameters(spec: PluginSpec, activation: PluginSpec | None, shape: tuple[int, ...], classes: int) -> int:
    """Trainable parameters of a model, which is made without its numbers.

    Args:
        spec: of the model.
        activation: where the model takes one.
        shape, classes: of the inputs and the outputs.

    Raises:
        SpecError: the model cannot be made so.
    """
    return _count(MODELS.get(spec.name).factory, str(spec), activation, shape, classes)


class _Unfilled(TorchFunctionMode):
    """Leaves out what fills tensors without numbers, which takes most of the time of making a deep model there."""

    FILLS = frozenset(
        {torch.Tensor.uniform_, torch.Tensor.normal_, torch.Tensor.fill_, torch.Tensor.zero_, torch.Tensor.erfinv_}
        | {torch.Tensor.mul_, torch.Tensor.add_, torch.Tensor.clamp_}
    )

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The tensor itself in place of a fill of one on the meta device."""
        if func in self.FILLS and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


@lru_cache(maxsize=100_000)
def _count(
    factory: Callable[..., nn.Module],  # noqa: ARG001 - what a name stands for, for the cache
    model: str,
    activation: PluginSpec | None,
    shape: tuple[int, ...],
    classes: int,
) -> int:
    handed: list[Any] = [shape, classes]
    if activation is not None:
        handed.append(lambda: ACTIVATIONS.build(activation))
    try:
        with torch.device("meta"), _Unfilled(), torch.random.fork_rng(devices=[]):
            module = MODELS.build(model, *handed)
    except EmcError:
        raise
    except Exception as error:  # whatever a user's own module may raise
        message = str(error).split("\n")[0]
        raise SpecError(
            f"a model that is scaled must be countable on PyTorch's meta device, got {model}: "
            f"{type(error).__name__}: {message}"
        ) from error
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
