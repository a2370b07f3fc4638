"""S models of one architecture as one: their parameters in one (S, P) buffer, their layers as batched products.

A chain of linear layers and elementwise activations has a hand-written forward and backward pass. There, each member's
numbers come from operations on that member's own slices, of shapes that do not depend on S, so a verdict does not
depend on who else is in the stack (tests/training/test_lockstep.py holds this to the bit). Any other module is called
by `torch.func`, whose batched operations are free to sum in another order in another stack: there, one layout gives
one result.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from emc.training.chain import is_altered
from emc.training.losses import Loss, loss_gradient

if TYPE_CHECKING:
    from torch import Tensor

#: Tensors by name, each (S, *shape).
Named = dict[str, "Tensor"]


@dataclass(frozen=True)
class _Slot:
    """Where a trainable parameter lies in a member's row."""

    name: str
    start: int
    stop: int
    shape: torch.Size


class StackedModel:
    """The stacked form of one architecture.

    Args:
        template: a module of that architecture, its parameters unused.
        input_shape: of one sample.
    """

    def __init__(self, template: nn.Module, input_shape: tuple[int, ...]) -> None:
        chain = _chain(template, input_shape)
        self._form: _Form = _Called(template) if chain is None else _Chain(chain)
        self._slots: list[_Slot] = []
        start = 0
        for name, parameter in _trainable(template).items():
            self._slots.append(_Slot(name, start, start + parameter.numel(), parameter.shape))
            start += parameter.numel()
        self.num_parameters = start

    def row(self, module: nn.Module) -> Tensor:
        """A module's trainable parameters as one row: (P,)."""
        return torch.cat([p.detach().reshape(-1) for p in _trainable(module).values()])

    def fixed(self, module: nn.Module) -> Named:
        """Copies of what is not trained, each with a first dimension of 1: frozen parameters and buffers."""
        frozen = {name: p for name, p in module.named_parameters() if not p.requires_grad}
        return {name: t.detach().unsqueeze(0).clone() for name, t in (frozen | dict(module.named_buffers())).items()}

    @torch.no_grad()
    def fill(self, module: nn.Module, row: Tensor) -> nn.Module:
        """Write a row: (P,) into a module of the architecture."""
        for slot, parameter in zip(self._slots, _trainable(module).values(), strict=True):
            parameter.copy_(row[slot.start : slot.stop].view(slot.shape))
        return module

    def views(self, flat: Tensor) -> Named:
        """The trainable parameters, sharing memory with flat: (S, P)."""
        return {s.name: flat[:, s.start : s.stop].view(len(flat), *s.shape) for s in self._slots}

    def leaves(self, flat: Tensor) -> Named:
        """The views, to be differentiated by."""
        return {name: view.detach().requires_grad_() for name, view in self.views(flat).items()}

    @torch.no_grad()
    def logits(self, parameters: Named, fixed: Named, X: Tensor) -> Tensor:
        """Logits (S, b, K) of inputs X: (S, b, *shape), each member on its own batch."""
        return self._form.logits(parameters, fixed, X)

    def gradient(
        self, leaves: Named, fixed: Named, X: Tensor, y: Tensor, weights: Tensor, loss: Loss, out: Named
    ) -> None:
        """The gradient of each member's loss, the weighted sum over its batch.

        Args:
            leaves: of the parameters.
            fixed: what is not trained.
            X: (S, b, *shape).
            y: (S, b) int64.
            weights: (S, b), 1 / b for a mean.
            loss: which one.
            out: where it is written, one tensor for each leaf.
        """
        self._form.gradient(leaves, fixed, X, y, weights, loss, out)


def join(parts: list[Named]) -> Named:
    """Tensors of several members or stacks as those of one stack."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def is_dense(module: nn.Module, input_shape: tuple[int, ...]) -> bool:
    """Whether the module is a chain of linear layers and elementwise activations on flat inputs."""
    return _chain(module, input_shape) is not None


def _trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


class _Form(Protocol):
    """How stacked logits and gradients are computed; the arguments are those of `StackedModel`."""

    def logits(self, parameters: Named, fixed: Named, X: Tensor) -> Tensor: ...

    def gradient(
        self, leaves: Named, fixed: Named, X: Tensor, y: Tensor, weights: Tensor, loss: Loss, out: Named
    ) -> None: ...


class _Called:
    """Any module, by `torch.func`: one call with the members' parameters in place of its own."""

    def __init__(self, template: nn.Module) -> None:
        template = template.train()

        def call(parameters: Named, fixed: Named, X: Tensor) -> Tensor:
            logits: Tensor = functional_call(template, {**parameters, **fixed}, (X,))
            return logits

        self._vmapped = vmap(call)

    def _call(self, parameters: Named, fixed: Named, X: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):  # the one attention that torch.func batches on every device
            logits: Tensor = self._vmapped(parameters, fixed, X)
        return logits

    def logits(self, parameters: Named, fixed: Named, X: Tensor) -> Tensor:
        return self._call(parameters, fixed, X)

    def gradient(
        self, leaves: Named, fixed: Named, X: Tensor, y: Tensor, weights: Tensor, loss: Loss, out: Named
    ) -> None:
        logits = self._call(leaves, fixed, X)
        ahead = loss_gradient(loss, logits.detach().transpose(1, 2), y, weights).transpose(1, 2)
        gradients = torch.autograd.grad(logits, tuple(leaves.values()), ahead)
        for place, gradient in zip(out.values(), gradients, strict=True):
            place.copy_(gradient)


class _Chain:
    """Layers one after the other, whose hidden values are (S, features, b).

    With the batch last, the products' inner loops are long however narrow a layer is: measured on one core, the second
    layer of 64-16-10 at a batch of 128 takes a quarter of the time it takes with the batch first, softmax a third.
    """

    def __init__(self, layers: list[_Linear | _Elementwise]) -> None:
        self._layers = layers
        self._first = next(i for i, layer in enumerate(layers) if isinstance(layer, _Linear))

    def _values(self, parameters: Named, X: Tensor) -> list[Tensor]:
        values = [X.flatten(2).transpose(1, 2)]
        for layer in self._layers:
            values.append(layer.forward(parameters, values[-1]))
        return values

    def logits(self, parameters: Named, fixed: Named, X: Tensor) -> Tensor:  # noqa: ARG002
        return self._values(parameters, X)[-1].transpose(1, 2)

    @torch.no_grad()
    def gradient(
        self,
        leaves: Named,
        fixed: Named,  # noqa: ARG002
        X: Tensor,
        y: Tensor,
        weights: Tensor,
        loss: Loss,
        out: Named,
    ) -> None:
        values = self._values(leaves, X)
        ahead = loss_gradient(loss, values[-1], y, weights)
        for i in range(len(self._layers) - 1, self._first, -1):
            ahead = self._layers[i].backward(leaves, values[i], values[i + 1], ahead, out)
        first = self._layers[self._first]
        if isinstance(first, _Linear):  # nobody asks for the gradient by the inputs
            first.write(values[self._first], ahead, out)


@dataclass(frozen=True)
class _Linear:
    name: str
    bias: bool

    def forward(self, parameters: Named, below: Tensor) -> Tensor:
        weight = parameters[f"{self.name}.weight"]
        if not self.bias:
            return torch.bmm(weight, below)
        return torch.baddbmm(parameters[f"{self.name}.bias"].unsqueeze(2), weight, below)

    def backward(self, parameters: Named, below: Tensor, above: Tensor, ahead: Tensor, out: Named) -> Tensor:  # noqa: ARG002
        self.write(below, ahead, out)
        return torch.bmm(parameters[f"{self.name}.weight"].transpose(1, 2), ahead)

    def write(self, below: Tensor, ahead: Tensor, out: Named) -> None:
        """The gradient by the layer's own parameters; a product into a part of each row would be a loop over S."""
        out[f"{self.name}.weight"].copy_(torch.bmm(ahead, below.transpose(1, 2)))
        if self.bias:
            torch.sum(ahead, 2, out=out[f"{self.name}.bias"])


#: Activations by how their gradient is found: (module, input, output, gradient by the output) -> gradient by the input.
ELEMENTWISE: dict[type[nn.Module], Callable[[Any, Tensor, Tensor, Tensor], Tensor]] = {
    nn.ReLU: lambda _, _x, out, ahead: torch.ops.aten.threshold_backward(ahead, out, 0),
    nn.LeakyReLU: lambda m, x, _out, ahead: torch.ops.aten.leaky_relu_backward(ahead, x, m.negative_slope, False),
    nn.GELU: lambda m, x, _out, ahead: torch.ops.aten.gelu_backward(ahead, x, approximate=m.approximate),
    nn.SiLU: lambda _, x, _out, ahead: torch.ops.aten.silu_backward(ahead, x),
    nn.ELU: lambda m, x, _out, ahead: torch.ops.aten.elu_backward(ahead, m.alpha, 1, 1, False, x),
    nn.Tanh: lambda _, _x, out, ahead: torch.ops.aten.tanh_backward(ahead, out),
    nn.Sigmoid: lambda _, _x, out, ahead: torch.ops.aten.sigmoid_backward(ahead, out),
    nn.Identity: lambda _, _x, _out, ahead: ahead,
}


@dataclass(frozen=True)
class _Elementwise:
    module: nn.Module

    def forward(self, parameters: Named, below: Tensor) -> Tensor:  # noqa: ARG002
        above: Tensor = self.module(below)
        return above

    def backward(self, parameters: Named, below: Tensor, above: Tensor, ahead: Tensor, out: Named) -> Tensor:  # noqa: ARG002
        return ELEMENTWISE[type(self.module)](self.module, below, above, ahead)


def _chain(module: nn.Module, input_shape: tuple[int, ...]) -> list[_Linear | _Elementwise] | None:
    """The layers of a module that is nothing but a chain; None for any other."""
    if type(module) is not nn.Sequential or is_altered(module):
        return None
    layers: list[_Linear | _Elementwise] = []
    flat = len(input_shape) == 1
    for name, child in module._modules.items():  # named_children would leave out the second place of a shared layer
        if type(child) is nn.Flatten and (child.start_dim, child.end_dim) == (1, -1):
            flat = True
        elif type(child) is nn.Linear and flat and {n for n, _ in child.named_parameters()} <= {"weight", "bias"}:
            layers.append(_Linear(name, child.bias is not None))
        elif type(child) in ELEMENTWISE:
            layers.append(_Elementwise(_out_of_place(child)))
        else:
            return None
    return layers if any(isinstance(layer, _Linear) for layer in layers) else None


def _out_of_place(activation: nn.Module) -> nn.Module:
    """The activation, made to leave its input as it was."""
    activation = copy.deepcopy(activation)
    if hasattr(activation, "inplace"):
        setattr(activation, "inplace", False)  # noqa: B010 - typed as a tensor or module otherwise
    return activation
