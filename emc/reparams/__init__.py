"""Reparameterisations by name: a model trained through other parameters than its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    #: The model with other trainable parameters; draws from PyTorch's global generator. What such a model may tell of
    #: itself (its sizes, a gradient that is none, a training before the probe's own) is in
    #: `emc.reparams.modules.wrapped.Wrapped`.
    Wrap = Callable[[nn.Module], nn.Module]

#: A factory takes its options and returns what wraps a fresh, initialised model.
REPARAMS: Registry[Wrap] = Registry("reparameterisation", "emc.reparams", "emc.reparams")
