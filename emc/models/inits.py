"""Initialisations by name: what is done to a fresh model's parameters before it is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    #: Changes a fresh model's parameters in place, drawing from PyTorch's global generator.
    Init = Callable[[nn.Module], None]

INITS: Registry[Init] = Registry("initialisation", None, "emc.inits")


@INITS.register("default")
def default() -> Init:
    """What the model's own layers do."""
    return lambda _module: None
