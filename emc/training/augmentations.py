"""Augmentations by name: random changes of a batch's inputs in training, never of what is counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from emc.errors import SpecError
from emc.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    #: Changed copies of a batch (b, *shape), drawn from PyTorch's global generator.
    Augment = Callable[[Tensor], Tensor]

# By hand, since torchvision's transforms draw once for a whole batch.

AUGMENTATIONS: Registry[Augment] = Registry("augmentation", None, "emc.augmentations")

#: Zeros on each side before a crop, as is usual for images of 32 pixels.
PADDING = 4


@AUGMENTATIONS.register("flip")
def flip() -> Augment:
    """Each image mirrored left to right with probability 1/2."""
    return partial(_flip, "flip")


@AUGMENTATIONS.register("crop")
def crop(*, padding: int = PADDING) -> Augment:
    """Each image padded with zeros on all sides, then cut to its size at a random place."""
    return partial(_crop, "crop", _checked("crop", padding))


@AUGMENTATIONS.register("flip_crop")
def flip_crop(*, padding: int = PADDING) -> Augment:
    """Flip, then crop: the usual augmentation of CIFAR."""
    _checked("flip_crop", padding)
    return lambda X: _crop("flip_crop", padding, _flip("flip_crop", X))


def _checked(name: str, padding: int) -> int:
    if padding < 1:
        raise SpecError(f"augmentation {name} takes padding of at least 1, got {padding}")
    return padding


def _flip(name: str, X: Tensor) -> Tensor:
    import torch

    _check_images(name, X)
    chosen = torch.rand(len(X), device=X.device) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), X.flip(3), X)


def _crop(name: str, padding: int, X: Tensor) -> Tensor:
    import torch
    from torch.nn import functional

    _check_images(name, X)
    if padding > max(X.shape[2:]):
        raise SpecError(
            f"augmentation {name} takes padding of at most the longer side of an image, got {padding} for images of "
            f"{X.shape[2]}x{X.shape[3]}; lower it"
        )
    padded = functional.pad(X, (padding,) * 4)
    places = padded.unfold(2, X.shape[2], 1).unfold(3, X.shape[3], 1)  # (b, channels, down, right, height, width)
    down, right = torch.randint(2 * padding + 1, (2, len(X)), device=X.device)
    return places[torch.arange(len(X), device=X.device), :, down, right]


def _check_images(name: str, X: Tensor) -> None:
    if X.dim() != 4:
        raise SpecError(
            f"augmentation {name} needs images of (channels, height, width), got inputs of shape "
            f"{tuple(X.shape[1:])}; leave it out"
        )
