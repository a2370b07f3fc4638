"""Initialisations by name: what is done to a fresh model's parameters before it is trained.

`kaiming`, `xavier`, `orthogonal` and `scale` change the weights of linear layers and convolutions that are trained. All
else stays as the model made it: scales and shifts of normalisations, embeddings, tokens, what is frozen.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from emc.errors import SpecError, shown
from emc.registry import PluginSpec, Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

    #: Changes a fresh model's parameters in place, drawing from PyTorch's global generator.
    Init = Callable[[nn.Module], None]

#: Facts that an initialisation may state: `identify`, which writes into its options what else it depends on, such as a
#: file's content (its parameters are then not drawn from the seed); `located`, the options that only say where that is,
#: by which no probe is known.
INITS: Registry[Init] = Registry("initialisation", None, "emc.inits")

#: Digits of a content's hash.
DIGITS = 16


@INITS.register("default")
def default() -> Init:
    """What the model's own layers do."""
    return lambda _module: None


@INITS.register("kaiming")
def kaiming() -> Init:
    """Weights from N(0, 2 / fan-in), biases 0: He et al. 2015, "Delving deep into rectifiers", equation 10."""
    from torch import nn

    return _redrawn("kaiming", lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"))


@INITS.register("xavier")
def xavier() -> Init:
    """Uniform weights of variance 2 / (fan-in + fan-out), biases 0: Glorot and Bengio 2010, equation 16."""
    from torch import nn

    return _redrawn("xavier", nn.init.xavier_uniform_)


@INITS.register("orthogonal")
def orthogonal(*, gain: float = 1.0) -> Init:
    """Weights that are `gain` times an orthogonal matrix, one row an output, biases 0: Saxe et al. 2014."""
    from torch import nn

    if not 0 < gain < math.inf:
        raise SpecError(f"initialisation orthogonal takes gain above 0 and finite, got {gain}")
    return _redrawn("orthogonal", lambda weight: nn.init.orthogonal_(weight, gain))


@INITS.register("scale", bare="factor")
def scale(*, factor: float) -> Init:
    """The default weights times `factor`, biases as they are; at 0 all probes begin with the same weights."""
    if not 0 <= factor < math.inf:
        raise SpecError(f"initialisation scale takes factor of at least 0 and finite, got {factor}")

    def init(module: nn.Module) -> None:
        for layer in _layers("scale", module):
            layer.weight.data.mul_(factor)

    return init


def _redrawn(name: str, draw: Callable[[Tensor], object]) -> Init:
    def init(module: nn.Module) -> None:
        for layer in _layers(name, module):
            draw(layer.weight.data)
            if layer.bias is not None and layer.bias.requires_grad:
                layer.bias.data.zero_()

    return init


def _layers(name: str, module: nn.Module) -> Iterator[nn.Linear]:
    """Linear layers and convolutions whose weights are trained.

    Raises:
        SpecError: there are none, and so nothing to initialise.
    """
    from torch import nn

    kinds = nn.Linear, nn.modules.conv._ConvNd
    found = [layer for layer in module.modules() if isinstance(layer, kinds) and layer.weight.requires_grad]
    if not found:
        raise SpecError(
            f"--init {name} needs a model with linear layers or convolutions, got none that is trained; use default"
        )
    yield from found  # type: ignore[misc]


def _identify(spec: PluginSpec) -> PluginSpec:
    """The spec with its file's hash, where it has none."""
    options = dict(spec.options)
    if not options["sha256"]:
        options["sha256"] = _hash(_read(str(options["path"])))
    return PluginSpec(spec.name, tuple(options.items()))


@INITS.register("file", bare="path", identify=_identify, located=("path",))
def file(*, path: str, sha256: str = "") -> Init:
    """Parameters and buffers of a safetensors file: the same for every probe, whose samples and batches still differ.

    Args:
        path: of the file; its names and shapes are those of the model's `state_dict`.
        sha256: first 16 hexadecimal digits of its content's hash, by which probes know it; default: as it is now.

    Raises:
        SpecError: it cannot be read, is no safetensors file, or is another one than `sha256` says.
    """
    import safetensors
    import safetensors.torch

    content = _read(path)
    if sha256 and _hash(content) != sha256:
        raise SpecError(
            f"--init file needs the weights it was given first, of hash {sha256}, got {_hash(content)} from {path}; "
            "restore the file, or leave sha256 out to measure with it as it is now"
        )
    try:
        tensors = safetensors.torch.load(content)
    except Exception as error:  # a hostile header may raise anything
        raise SpecError(
            f"--init file needs a safetensors file, got {path}: {type(error).__name__}: {error}; write it with "
            "safetensors.torch.save_file(model.state_dict(), path)"
        ) from error
    return lambda module: _load(module, tensors, path)


def _read(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(
            f"--init file needs a file of weights, got {path}: {reason}; give one that can be read"
        ) from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def _load(module: nn.Module, tensors: Mapping[str, Tensor], path: str) -> None:
    """Copy the tensors into the module.

    Raises:
        SpecError: names, shapes or types differ, or a value is not finite.
    """
    import torch

    state = module.state_dict()
    for name in sorted(state.keys() ^ tensors.keys()):
        missing = "it lacks" if name in state else "the model has no"
        raise SpecError(f"--init file needs the names of the model's state_dict, but {missing} {shown(name)}: {path}")
    for name, tensor in tensors.items():
        wanted, given = tuple(state[name].shape), tuple(tensor.shape)
        if wanted != given:
            raise SpecError(
                f"--init file needs the shapes of the model's state_dict, got {given} for {shown(name)} of shape "
                f"{wanted}: {path}"
            )
        if tensor.dtype.is_floating_point != state[name].dtype.is_floating_point or tensor.is_complex():
            raise SpecError(
                f"--init file needs the types of the model's state_dict, got {tensor.dtype} for {shown(name)} of "
                f"{state[name].dtype}: {path}"
            )
        if not torch.isfinite(tensor.float()).all():
            raise SpecError(f"--init file needs finite weights, got NaN or infinite values in {shown(name)}: {path}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            state[name].copy_(tensor)
