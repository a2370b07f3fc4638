"""A model called with tensors in the place of its parameters, and how its size is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

#: Parameters and buffers of a module by name, copied.
Kept = dict[str, Tensor]

#: Trains a module for some steps: (module, steps, step) -> what it held after that step, at most `steps`.
Train = Callable[[nn.Module, int, int], Kept]


class Wrapped(nn.Module):
    """A model whose parameters are computed from others at each call.

    The model is a part of this one, so that its own parts, such as normalisations, are found; of its parameters those
    that are not trained as they are have `requires_grad=False`.

    Args:
        inner: the model.

    Attributes:
        straight_through: its gradient is not that of its loss, which has steps, but that of a smooth stand-in. Any
            module may state this of itself: then no stationary point is claimed of it.
        steps_before: optimizer steps that it is trained for before a probe's own training begins (`prepare`).
    """

    straight_through: ClassVar[bool] = False
    steps_before: int = 0

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def tensors(self) -> dict[str, Tensor]:
        """What takes the place of the model's parameters, by their names."""
        raise NotImplementedError

    def forward(self, *inputs: Any) -> Any:
        """What the model makes of its inputs, with these tensors as its parameters."""
        return functional_call(self.inner, self.tensors(), inputs)

    def prepare(self, train: Train) -> None:
        """Change the fresh model in place before a probe's own training begins; by default nothing is to be done."""

    def num_zeros(self) -> int:
        """Of the model's parameters, those that are zero whatever is trained."""
        return 0

    def bits(self, width: int) -> int:
        """Bits that store what was trained, everything that is drawn from the seed being free.

        Args:
            width: bits of a number in training.
        """
        return width * num_trained(self)


@dataclass(frozen=True)
class Sizes:
    """How large a model is, in three ways.

    Attributes:
        trained: numbers that the optimizer changes.
        stored: numbers of the network that is evaluated, frozen ones and running statistics included, without those
            that are zero whatever is trained.
        bits: that store what was trained, everything that is drawn from the seed being free; None where the model
            rests on frozen numbers that are not drawn from it.
    """

    trained: int
    stored: int
    bits: int | None


def sizes_of(module: nn.Module, width: int, drawn: bool = True) -> Sizes:
    """The sizes of a model.

    Args:
        module: the model, reparameterised or not.
        width: bits of a number in training.
        drawn: whether its fresh parameters are drawn from the seed.

    >>> sizes_of(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)), 32)
    Sizes(trained=12, stored=16, bits=384)
    """
    network, zeros = module, 0
    bits: int | None = width * num_trained(module)
    if isinstance(module, Wrapped):
        network, zeros, bits = module.inner, module.num_zeros(), module.bits(width)
    if not drawn and not all(parameter.requires_grad for parameter in network.parameters()):
        bits = None
    running = sum(buffer.numel() for buffer in network.buffers() if buffer.is_floating_point())
    stored = sum(parameter.numel() for parameter in network.parameters()) + running - zeros
    return Sizes(num_trained(module), stored, bits)


def steps_before(module: nn.Module) -> int:
    """Optimizer steps that a model is trained for before a probe's own training begins."""
    return module.steps_before if isinstance(module, Wrapped) else 0


def num_trained(module: nn.Module) -> int:
    """Numbers that the optimizer changes."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def trained_names(module: nn.Module) -> tuple[str, ...]:
    """The names of a module's trainable parameters; where one is shared, its first."""
    return tuple(name for name, parameter in module.named_parameters() if parameter.requires_grad)


def freeze(module: nn.Module, names: tuple[str, ...]) -> None:
    """Keep parameters from being trained."""
    parameters = dict(module.named_parameters())
    for name in names:
        parameters[name].requires_grad_(False)


def split_like(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    """Parts of a row in the shapes of some tensors, one after the other."""
    parts = torch.split(flat, [tensor.numel() for tensor in like])
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]
