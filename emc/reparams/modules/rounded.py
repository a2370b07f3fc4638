"""A model whose parameters are on a coarse grid whenever it is called."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from emc.reparams.modules.wrapped import Wrapped, trained_names

#: Bits of an integer format, and of a scale.
INTEGER_BITS = {"int8": 8, "int4": 4}
SCALE_BITS = 32

#: Bits of a floating-point format.
FLOAT_BITS = 16


class Rounded(Wrapped):
    """The trainable parameters, rounded at each call; the gradient passes straight through to what they are kept in.

    Args:
        inner: the model; its parameters are trained in the type they have.
        form: "bf16", "fp16", "int8" or "int4".

    References:
        Bengio, Leonard and Courville 2013, "Estimating or propagating gradients through stochastic neurons for
        conditional computation", section 4. Jacob et al. 2018, "Quantization and training of neural networks for
        efficient integer-arithmetic-only inference", section 3.
    """

    straight_through: ClassVar[bool] = True

    def __init__(self, inner: nn.Module, form: str) -> None:
        super().__init__(inner)
        self._form, self._names = form, trained_names(inner)

    def tensors(self) -> dict[str, Tensor]:
        """The rounded parameters, by name."""
        parameters = dict(self.inner.named_parameters())
        return {name: _straight_through(parameters[name], self._form) for name in self._names}

    def bits(self, width: int) -> int:  # noqa: ARG002 - what is trained is not what is stored
        """Bits of the rounded parameters, a scale for each output channel of integer ones included."""
        parameters = dict(self.inner.named_parameters())
        return sum(bits_of(parameters[name], self._form) for name in self._names)

    def extra_repr(self) -> str:
        """What tells it from others."""
        return self._form


def bits_of(tensor: Tensor, form: str) -> int:
    """Bits of a rounded tensor.

    >>> bits_of(torch.zeros(3, 5), "int4"), bits_of(torch.zeros(5), "int4"), bits_of(torch.zeros(3, 5), "bf16")
    (156, 80, 240)
    """
    if _is_integer(tensor, form):
        return INTEGER_BITS[form] * tensor.numel() + SCALE_BITS * len(tensor)
    return FLOAT_BITS * tensor.numel()


def rounded(tensor: Tensor, form: str) -> Tensor:
    """The nearest values of a format, in the tensor's own type; ties go to the even one.

    The grid is that of the tensor in float32, also where the tensor is a float64 copy.

    Args:
        tensor: whose first dimension, where there are two or more, is that of output channels.
        form: "bf16" and "fp16" are floating-point types, which hold at most +-65504 in fp16. In "int8" and "int4"
            tensors of two or more dimensions are integers from -(2^(b-1) - 1) to 2^(b-1) - 1, times a scale in float32
            for each output channel that puts its largest magnitude at the end; other tensors are in bf16.
    """
    values = tensor.float()
    if _is_integer(tensor, form):
        most = 2 ** (INTEGER_BITS[form] - 1) - 1
        scale = values.abs().amax(tuple(range(1, values.dim())), keepdim=True) / most
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        found: Tensor = (values / safe).round().clamp(-most, most) * scale
    elif form == "fp16":
        most_half = torch.finfo(torch.float16).max
        found = values.clamp(-most_half, most_half).to(torch.float16).float()
    else:
        found = values.to(torch.bfloat16).float()
    return found.to(tensor.dtype)


def _is_integer(tensor: Tensor, form: str) -> bool:
    return form in INTEGER_BITS and tensor.dim() >= 2 and math.prod(tensor.shape) > 0


def _straight_through(tensor: Tensor, form: str) -> Tensor:
    """The rounded tensor to the bit, with the gradient of the tensor itself."""
    return rounded(tensor.detach(), form) + (tensor - tensor.detach())  # the difference is exactly 0
