"""Models that a user may bring and that go wrong in training; each does so from `size` samples on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from emc.models import MODELS


class Spiteful(nn.Module):
    """A linear classifier that does something at each step of its training."""

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.flat, self.layer, self.act = nn.Flatten(), nn.LazyLinear(num_classes), act
        self(torch.zeros(1, *input_shape))

    def forward(self, X: Tensor) -> Tensor:
        logits: Tensor = self.layer(self.flat(X))
        return self.act(logits) if X.requires_grad or (logits.requires_grad and len(X) > 1) else logits


def _raise(_: Tensor) -> Tensor:
    raise ValueError("not today\nnor tomorrow")


def _hang(logits: Tensor) -> Tensor:
    time.sleep(600)
    return logits


def _die(_: Tensor) -> Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _hunger(_: Tensor) -> Tensor:
    raise MemoryError("no 9 TiB")


@MODELS.register("raising")
def raising(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Raises in training."""
    return Spiteful(input_shape, num_classes, _raise)


@MODELS.register("losing")
def losing(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Its loss is NaN."""
    return Spiteful(input_shape, num_classes, lambda logits: logits * float("nan"))


@MODELS.register("hanging")
def hanging(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Never comes back from a step."""
    return Spiteful(input_shape, num_classes, _hang)


@MODELS.register("dying")
def dying(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Kills its process, as a kernel out of memory does."""
    return Spiteful(input_shape, num_classes, _die)


@MODELS.register("hungry")
def hungry(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Runs out of memory."""
    return Spiteful(input_shape, num_classes, _hunger)
