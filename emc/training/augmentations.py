"""Augmentations by name: random changes of a batch's inputs in training, never of what is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    #: Changed copies of a batch (b, *shape), drawn from PyTorch's global generator.
    Augment = Callable[[Tensor], Tensor]

AUGMENTATIONS: Registry[Augment] = Registry("augmentation", None, "emc.augmentations")
