"""Linear layers in a row, as compiled loops take them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
from torch import nn

Array = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]


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
class DenseNet:
    """A dense net without its parameters.

    Attributes:
        sizes: (L + 1,) units from the inputs to the logits.
        biased: (L,) whether each layer has a bias.
        codes: (L,) the `Activation` that follows each.
        options: (L,) that one's slope or alpha; 0 where it has none.
    """

    sizes: Ints
    biased: Ints
    codes: Ints
    options: Array


def dense_net(module: nn.Module) -> DenseNet | None:
    """The form of a module that is Linear layers in a row, each with at most one activation; None for any other."""
    if type(module) is not nn.Sequential or any(not p.requires_grad for p in module.parameters()):
        return None
    children = list(module._modules.values())  # named_children would leave out the second place of a shared layer
    if children and _flattens(children[0]):
        children = children[1:]
    layers: list[nn.Linear] = []
    activations: list[tuple[int, float] | None] = []
    for child in children:
        if child is None or child._forward_hooks or child._forward_pre_hooks:
            return None
        if _is_plain_linear(child) and child not in layers:
            layers.append(child)
            activations.append(None)
            continue
        found = _activation(child)
        if found is None or not layers or activations[-1] is not None:
            return None
        activations[-1] = found
    if not layers or any(a.out_features != b.in_features for a, b in pairwise(layers)):
        return None
    codes, options = zip(*(found or (Activation.IDENTITY, 0.0) for found in activations), strict=True)
    return DenseNet(
        np.array([layers[0].in_features, *(layer.out_features for layer in layers)], dtype=np.int64),
        np.array([layer.bias is not None for layer in layers], dtype=np.int64),
        np.array(codes, dtype=np.int64),
        np.array(options, dtype=np.float64),
    )


def _flattens(module: nn.Module | None) -> bool:
    return type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)


def _is_plain_linear(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether nothing, such as weight norm, stands between the layer and its weight and bias."""
    return type(module) is nn.Linear and {name for name, _ in module.named_parameters()} <= {"weight", "bias"}


def _activation(module: nn.Module) -> tuple[int, float] | None:
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
