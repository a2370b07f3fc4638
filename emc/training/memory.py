"""How many trainings fit into a device's memory at once, and what running out of it looks like."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from emc.training.counting import CHUNK

if TYPE_CHECKING:
    from torch import Tensor

#: Share of the free memory that is planned with; the rest is for what the plan does not know.
SHARE = 0.8

#: Samples of the smaller of two forward passes whose memory is measured.
SAMPLES = 2

#: Rows of the size of the parameters that an optimizer's step takes for a moment.
TEMPORARIES = 2

#: What a `RuntimeError` says where memory ran out.
SHORTAGES = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "std::bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def free_memory(device: torch.device) -> int:
    """Bytes that could be had now, with those PyTorch keeps for reuse."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    facts = Path("/proc/meminfo")
    if facts.exists():
        lines = dict(line.split(":", 1) for line in facts.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # what is free is not told: half of all


def kept_bytes(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[int, int]:
    """Bytes a forward pass keeps for its backward pass, beside parameters and buffers.

    Returns:
        Of a sample, its inputs included; and of the whole pass, such as parameters that are computed from others.
    """
    few, more = _kept_bytes(module, input_shape, SAMPLES), _kept_bytes(module, input_shape, 2 * SAMPLES)
    sample = -(-(more - few) // SAMPLES)
    return sample, max(0, few - SAMPLES * sample)


def _kept_bytes(module: nn.Module, input_shape: tuple[int, ...], samples: int) -> int:
    own = {p.untyped_storage().data_ptr() for p in (*module.parameters(), *module.buffers())}
    dtype = next(module.parameters()).dtype
    X = torch.zeros(samples, *input_shape, dtype=dtype, device=next(module.parameters()).device)
    kept: dict[int, int] = {X.untyped_storage().data_ptr(): X.nbytes}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = module(X)
    kept[logits.untyped_storage().data_ptr()] = logits.nbytes
    return sum(kept.values())


def member_bytes(module: nn.Module, input_shape: tuple[int, ...], batch_size: int, num_states: int) -> int:
    """Bytes a member of a stack takes at most.

    Its parameters, their gradient, `num_states` optimizer states of their size and an optimizer step's temporaries;
    what is not trained; the activations of a batch with their gradients, or those of a chunk of the exact count; and
    what a pass keeps whatever its batch, with its gradient.
    """
    row = sum(p.nbytes for p in module.parameters() if p.requires_grad)
    fixed = sum(p.nbytes for p in module.parameters() if not p.requires_grad) + sum(b.nbytes for b in module.buffers())
    sample, computed = kept_bytes(module, input_shape)
    activations = sample * max(2 * batch_size, CHUNK) + 2 * computed
    return row * (2 + num_states + TEMPORARIES) + fixed + activations


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a GPU or not."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in SHORTAGES)
