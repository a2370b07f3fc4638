"""Layers in a row, as compiled loops take them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

Array = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

#: What the kernels take of a chain.
Form = tuple[Ints, Ints, Ints, Ints, Ints, Array]

#: Activations and their slopes that a chain works on at once. With convolutions they are to stay in a core's cache (of
#: the CNN of width 8, 1, 2, 4, 8 and 16 samples at once took 19, 16, 16, 16 and 16 ms a step); products of dense layers
#: want all samples at once, as long as memory holds them.
NEAR, MANY = 1 << 17, 1 << 25


class Layer(IntEnum):
    """What a layer does, by number."""

    LINEAR = 0
    CONVOLUTION = 1
    MAX_POOL = 2
    MEAN_POOL = 3


#: Pairs of an input and an output channel up to which compiled convolutions are the faster ones: a step of the CNN of
#: width 8 took 0.58 to 0.86 of PyTorch's time, of width 16 1.6 to 2.2 times as long, of width 64 1.2 to 6 times.
FEW = 64

#: Layers with parameters, which alone an activation may follow.
TRAINED = (Layer.LINEAR, Layer.CONVOLUTION)


class Activation(IntEnum):
    """What follows a layer, by number; ReLU is LEAKY with slope 0."""

    IDENTITY = 0
    LEAKY = 1
    GELU = 2
    GELU_TANH = 3
    SILU = 4
    ELU = 5
    TANH = 6
    SIGMOID = 7


@dataclass(frozen=True, eq=False)
class Chain:
    """A net of layers in a row, without its parameters.

    Attributes:
        kinds: (L,) each layer's `Layer`.
        shapes: (L + 1, 3) channels, height and width from the inputs to the logits; (features, 1, 1) behind Linear.
        biased: (L,) whether each layer has a bias.
        codes: (L,) the `Activation` that follows each.
        options: (L,) that one's slope or alpha; 0 where it has none.
    """

    kinds: Ints
    shapes: Ints
    biased: Ints
    codes: Ints
    options: Array

    @property
    def form(self) -> Form:
        """What the kernels take: kinds, shapes, units of each layer, biased, codes, options."""
        return self.kinds, self.shapes, self.shapes.prod(axis=1), self.biased, self.codes, self.options

    @property
    def pays(self) -> bool:
        """Whether compiled loops are the fastest way on a CPU; PyTorch's own convolutions are where there are many."""
        channels = self.shapes[:, 0]
        pairs = (channels[:-1] * channels[1:])[self.kinds == Layer.CONVOLUTION]
        return bool((pairs <= FEW).all())

    def samples_at_once(self, batch_size: int) -> int:
        """Samples of a batch that go through the layers together."""
        bound = NEAR if (self.kinds == Layer.CONVOLUTION).any() else MANY
        return max(1, min(batch_size, bound // int(2 * self.shapes.prod(axis=1).sum())))


def chain_of(module: nn.Module, input_shape: tuple[int, ...]) -> Chain | None:
    """The form of a module whose layers the kernels know; None for any other.

    They know Linear, 3x3 Conv2d of stride and padding 1, 2x2 MaxPool2d and AdaptiveAvgPool2d, each followed by at most
    one activation, with a Flatten between images and Linear.
    """
    if type(module) is not nn.Sequential or is_altered(module):
        return None
    reader = _Reader(input_shape)
    for child in module._modules.values():  # named_children would leave out the second place of a shared module
        if child is None or not reader.read(child):
            return None
    return reader.chain()


def is_altered(module: nn.Module) -> bool:
    """Whether something is frozen, shared, hooked or replaced, so that its layers do not tell what a module does."""
    parameters = list(module.parameters())
    if len(parameters) != sum(1 for _ in module.named_parameters(remove_duplicate=False)):
        return True
    if any(not p.requires_grad or p._backward_hooks or p._post_accumulate_grad_hooks for p in parameters):
        return True
    return any("forward" in vars(part) or _hooks(part) for part in module.modules())


def _hooks(module: nn.Module) -> bool:
    """Whether anything but the module's own code runs when it is called or differentiated."""
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


class _Reader:
    """Reads a chain module by module."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        image = len(input_shape) == 3
        self._shapes: list[tuple[int, int, int]] = [(math.prod(input_shape), 1, 1)]
        if image:
            self._shapes = [(input_shape[0], input_shape[1], input_shape[2])]
        self._flat = len(input_shape) == 1
        self._layers: list[tuple[Layer, bool]] = []
        self._activations: list[tuple[Activation, float] | None] = []
        self._trained: set[nn.Module] = set()

    def read(self, module: nn.Module) -> bool:
        """Whether the next module fits a chain."""
        if _flattens(module):
            self._flat = True
            return True
        activation = _activation(module)
        if activation is not None:
            if not self._layers or self._activations[-1] is not None or self._layers[-1][0] not in TRAINED:
                return False
            self._activations[-1] = activation
            return True
        found = _linear(module, self._shapes[-1]) if self._flat else _on_images(module, self._shapes[-1])
        if found is None or module in self._trained:
            return False
        if found[0] in TRAINED:
            self._trained.add(module)
        self._layers.append((found[0], getattr(module, "bias", None) is not None))
        self._activations.append(None)
        self._shapes.append(found[1])
        return True

    def chain(self) -> Chain | None:
        """What was read, if it ends in logits."""
        if not self._layers or not self._flat:
            return None
        activations = [found or (Activation.IDENTITY, 0.0) for found in self._activations]
        return Chain(
            np.array([kind for kind, _ in self._layers], dtype=np.int64),
            np.array(self._shapes, dtype=np.int64),
            np.array([biased for _, biased in self._layers], dtype=np.int64),
            np.array([code for code, _ in activations], dtype=np.int64),
            np.array([option for _, option in activations], dtype=np.float64),
        )


def _flattens(module: nn.Module) -> bool:
    return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)


def _is_plain(module: nn.Module) -> bool:
    """Whether nothing, such as weight norm, stands between the layer and its weight and bias."""
    return {name for name, _ in module.named_parameters()} <= {"weight", "bias"}


def _linear(module: nn.Module, shape: tuple[int, int, int]) -> tuple[Layer, tuple[int, int, int]] | None:
    """The layer and the shape it leads to."""
    if type(module) is not nn.Linear or not _is_plain(module) or module.in_features != math.prod(shape):
        return None
    return Layer.LINEAR, (module.out_features, 1, 1)


def _on_images(module: nn.Module, shape: tuple[int, int, int]) -> tuple[Layer, tuple[int, int, int]] | None:
    channels, height, width = shape
    if type(module) is nn.Conv2d:
        form = (module.kernel_size, module.stride, module.padding, module.dilation, module.groups, module.padding_mode)
        if form != ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros") or not _is_plain(module):
            return None
        return (Layer.CONVOLUTION, (module.out_channels, height, width)) if module.in_channels == channels else None
    if type(module) is nn.MaxPool2d:
        window = (module.kernel_size, module.stride, module.padding, module.dilation)
        plain = window == (2, 2, 0, 1) and not (module.ceil_mode or module.return_indices) and min(height, width) >= 2
        return (Layer.MAX_POOL, (channels, height // 2, width // 2)) if plain else None
    if type(module) is nn.AdaptiveAvgPool2d:
        size: Any = module.output_size
        rows, columns = (size, size) if isinstance(size, int) else size
        return None if rows is None or columns is None else (Layer.MEAN_POOL, (channels, rows, columns))
    return None


def _activation(module: nn.Module) -> tuple[Activation, float] | None:
    """An activation's number and its option."""
    if type(module) not in _OPTIONS:
        return None
    code, option = _OPTIONS[type(module)]
    if isinstance(module, nn.GELU) and module.approximate == "tanh":
        code = Activation.GELU_TANH
    return code, 0.0 if option is None else float(getattr(module, option))


#: Activations with the name of their only option.
_OPTIONS: dict[type[nn.Module], tuple[Activation, str | None]] = {
    nn.Identity: (Activation.IDENTITY, None),
    nn.ReLU: (Activation.LEAKY, None),
    nn.LeakyReLU: (Activation.LEAKY, "negative_slope"),
    nn.GELU: (Activation.GELU, None),
    nn.SiLU: (Activation.SILU, None),
    nn.ELU: (Activation.ELU, "alpha"),
    nn.Tanh: (Activation.TANH, None),
    nn.Sigmoid: (Activation.SIGMOID, None),
}
