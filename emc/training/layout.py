"""How a batch of images lies in memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from emc.training.losses import loss_of
from emc.training.setup import Setup

#: Samples of the trial: enough for a norm over a batch.
TRIED = 2

#: Input channels from which oneDNN's blocks of channels are full, on any processor.
FULL_BLOCK = 16


def input_format(setup: Setup) -> torch.memory_format:
    """The memory format in which a setup's batches train fastest.

    Convolutions and poolings on the CPU are faster with the channels of a pixel side by side: a step of the CNN took
    0.6 to 0.9 of the time. A model is given equal numbers in either format, but a user's own may take only the usual
    one, such as where it calls `view`: it is tried.
    """
    pool = setup.pool
    if len(pool.dataset.facts.shape) != 3 or pool.device.type != "cpu" or pool.dtype is not torch.float32:
        return torch.contiguous_format
    convolutions = [module for module in setup.make_model().modules() if isinstance(module, nn.Conv2d)]
    if not convolutions or any(map(_overruns, convolutions)):
        return torch.contiguous_format
    return torch.channels_last if _takes(setup, torch.channels_last) else torch.contiguous_format


def _overruns(layer: nn.Conv2d) -> bool:
    """Whether oneDNN computes the layer's weight gradient wrongly, beyond its memory, where channels come last.

    It does for 1x1 kernels with a stride and few channels, in version 3.12 and before: github.com/uxlfoundation/oneDNN,
    issue 6035.
    """
    strided = layer.kernel_size == (1, 1) and max(layer.stride) > 1
    return strided and layer.in_channels // layer.groups < FULL_BLOCK


def _takes(setup: Setup, memory_format: torch.memory_format) -> bool:
    """Whether a fresh model does a forward and a backward pass; PyTorch's global generator is left as it was."""
    X = torch.from_numpy(setup.pool.dataset.rows.read(np.arange(TRIED)))
    X = X.to(setup.pool.dtype).clone(memory_format=memory_format)
    y = torch.zeros(len(X), dtype=torch.int64)
    with torch.random.fork_rng(devices=[]):
        try:
            module = setup.make_model().to(setup.pool.dtype).train()
            loss_of(setup.loss, module(X), y).backward()  # type: ignore[no-untyped-call]
        except Exception:  # whatever a user's own module may raise
            return False
    return True
