"""Training weights that are held on a coarse grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emc.errors import SpecError, did_you_mean
from emc.reparams import REPARAMS

if TYPE_CHECKING:
    from torch import nn

    from emc.reparams import Wrap

FORMATS = ("bf16", "fp16", "int8", "int4")


@REPARAMS.register("precision", bare="bits")
def precision(*, bits: str) -> Wrap:
    """Every call of the model sees its parameters rounded to bits=bf16, fp16, int8 or int4.

    The optimizer keeps float32 values (or those of --precision) and the gradient passes straight through the rounding.
    With bf16 and fp16 all trainable parameters are rounded; with int8 and int4 those of two or more dimensions, with a
    float32 scale for each output channel, while biases and norms are in bf16. Bits are counted with the scales. Frozen
    parameters, running statistics and activations are not rounded. A failure is never called stationary, since the
    loss has steps: it ends at `noise_floor`.

    Raises:
        SpecError: an unknown format.

    References:
        Bengio, Leonard and Courville 2013, "Estimating or propagating gradients through stochastic neurons". Jacob et
        al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference".
    """
    if bits not in FORMATS:
        raise SpecError(
            f"precision takes bits as one of {', '.join(FORMATS)}, got {bits}; {did_you_mean(bits, FORMATS)}"
        )

    def wrap(module: nn.Module) -> nn.Module:
        from emc.reparams.modules.rounded import Rounded

        return Rounded(module, bits)

    return wrap
