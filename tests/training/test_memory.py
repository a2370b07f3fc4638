"""What a training is planned to take, and what running out of memory looks like."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from emc.reparams import REPARAMS
from emc.training.counting import CHUNK
from emc.training.memory import TEMPORARIES, free_memory, is_out_of_memory, kept_bytes, member_bytes


def test_a_sample_keeps_its_inputs_and_what_each_layer_needs() -> None:
    """6 inputs, 5 hidden values before and after tanh where both are kept (only the output is), 3 logits: float32."""
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    assert kept_bytes(module, (6,)) == (4 * (6 + 5 + 3), 0)
    assert kept_bytes(module.double(), (6,)) == (8 * (6 + 5 + 3), 0)


def test_a_member_takes_its_rows_what_is_frozen_and_the_larger_of_batch_and_chunk() -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    module[0].bias.requires_grad_(False)
    module.register_buffer("mask", torch.zeros(7))
    row, fixed, sample = 4 * (30 + 18), 4 * (5 + 7), 4 * (6 + 5 + 3)
    assert member_bytes(module, (6,), 8, 3) == row * (5 + TEMPORARIES) + fixed + sample * CHUNK
    assert member_bytes(module, (6,), 1000, 0) == row * (2 + TEMPORARIES) + fixed + sample * 2000


def test_measuring_leaves_the_module_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(6, 3))
    kept_bytes(module, (6,))
    assert module.training
    assert module[0].weight.grad is None


def test_the_cpu_has_some_memory_and_not_more_than_there_is() -> None:
    assert 2**20 < free_memory(torch.device("cpu")) < 2**46


def test_a_gpu_has_what_is_free_and_what_pytorch_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = SimpleNamespace(
        mem_get_info=lambda _device: (100, 1000),
        memory_reserved=lambda _device: 50,
        memory_allocated=lambda _device: 20,
    )
    monkeypatch.setattr(torch, "cuda", asked)
    assert free_memory(torch.device("cuda")) == 130


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_running_out_of_memory_is_known_by_type_or_message(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) == expected


def test_what_the_allocator_says_is_known() -> None:
    with pytest.raises(RuntimeError, match="memory") as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)


def test_parameters_that_are_computed_from_others_are_counted_once_a_pass() -> None:
    """36 effective weights and what makes them, however many samples there are."""
    plain = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    wrapped = REPARAMS.build("prune:0")(copy.deepcopy(plain))
    sample, computed = kept_bytes(wrapped, (6,))
    assert sample == kept_bytes(plain, (6,))[0]
    assert computed >= 4 * 5 * 3  # the first layer's are not needed to go back
