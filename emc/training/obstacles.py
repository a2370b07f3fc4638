"""Why a model cannot be stacked, found by trying a tiny stack of it against the model itself."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from emc.reparams.modules.wrapped import steps_before
from emc.training.losses import Loss
from emc.training.setup import Setup
from emc.training.stacking import StackedModel, is_dense, join

if TYPE_CHECKING:
    from torch import Tensor

#: Samples of the trial's batch, and of a part of it.
BATCH, PART = 4, 2

#: Distance of two results that counts as rounding, relative to the largest magnitude.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}

#: What was found, by what models have in common.
_found: dict[Hashable, str | None] = {}


def model_obstacle(setup: Setup) -> str | None:
    """Why a setup's model cannot be stacked, as the end of a sentence; None if it can. Each model is tried once."""
    key = (setup.model_key, setup.pool.dtype)
    if key not in _found:
        _found[key] = find_obstacle(setup.make_model, setup.pool.dataset.facts.shape, setup.pool.dtype)
    return _found[key]


def find_obstacle(
    make_model: Callable[[], nn.Module], input_shape: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> str | None:
    """Why models of this kind cannot be stacked; None if they can.

    Three fresh ones are made: a template, and two members whose stacked logits and gradients, in training mode, have to
    be those they give alone. Members must not draw random numbers, keep state from one batch to the next, compute
    something else in evaluation mode or let samples of a batch see one another (a stack counts in training mode, and
    fills up batches): then they are for `single`, whatever `torch.func` makes of them. PyTorch's global generator is
    left as it was.

    Args:
        make_model: makes a fresh module from PyTorch's global generator.
        input_shape: of one sample.
        dtype: of parameters and inputs.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            template, *members = [_seeded(make_model, seed).to(dtype).train() for seed in range(3)]
            if is_dense(template, input_shape):
                return None
            X = torch.randn(2, BATCH, *input_shape, dtype=dtype)
            return _own_obstacle(members[0], X[0]) or _stack_obstacle(template, members, X)
        except Exception as error:  # whatever a user's own module may raise
            return f"its trial raised {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _seeded(make_model: Callable[[], nn.Module], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return make_model()


def _own_obstacle(module: nn.Module, X: Tensor) -> str | None:
    """What in the module itself is against it."""
    if steps_before(module):
        return "it is trained before a probe's own training begins"
    before, random = copy.deepcopy(module), torch.get_rng_state()
    logits = module(X)
    if not torch.equal(random, torch.get_rng_state()):
        return "it draws random numbers in training mode, as dropout does"
    changed = next(_changed(before, module), None)
    if changed is not None:
        return changed
    if not _close(module(X), logits):
        return "two passes over the same batch differ"
    if not _close(module.eval()(X), logits):
        return "it computes something else in training than in evaluation"
    if not _close(module.train()(X[:PART]), logits[:PART]):
        return "its output for a sample depends on the rest of the batch"
    return None


def _changed(before: nn.Module, after: nn.Module) -> Iterator[str]:
    """What a pass has changed, part by part."""
    for old, new in zip(before.modules(), after.modules(), strict=True):
        kind = type(new).__name__
        buffers = dict(old.named_buffers(recurse=False))
        different = [k for k, b in new.named_buffers(recurse=False) if k not in buffers or not _same(b, buffers[k])]
        if any(name.startswith("running_") for name in different):
            yield f"its {kind} keeps running statistics"
        kept = [k for k, v in vars(new).items() if not k.startswith("_") and not _same(v, vars(old).get(k))]
        parameters = zip(old.parameters(recurse=False), new.parameters(recurse=False), strict=True)
        if different or kept or not all(torch.equal(a, b) for a, b in parameters):
            yield f"its {kind} keeps state from one batch to the next"


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, as far as can be told: of objects of other kinds only their type is compared."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return not isinstance(one, bool | int | float | str) or one == other


def _stack_obstacle(template: nn.Module, members: list[nn.Module], X: Tensor) -> str | None:
    """What in the stacked form is against it."""
    found = [_differentiated(member, rows) for member, rows in zip(members, X, strict=True)]
    if any(gradient is None for _, gradient in found):
        return "some of its parameters get no gradient"
    stacked = StackedModel(template, tuple(X.shape[2:]))
    flat = torch.stack([stacked.row(member) for member in members])
    fixed = join([stacked.fixed(member) for member in members])
    gradient = torch.empty_like(flat)
    y, weights = torch.zeros(X.shape[:2], dtype=torch.int64), torch.full(X.shape[:2], 1 / BATCH, dtype=X.dtype)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "There is a performance drop")  # where torch.func loops over the members
            logits = stacked.logits(stacked.views(flat), fixed, X)
            stacked.gradient(stacked.leaves(flat), fixed, X, y, weights, Loss("squared"), stacked.views(gradient))
    except Exception as error:  # whatever torch.func does not know
        return _refusal(error)
    for own, expected in zip(zip(logits, gradient, strict=True), found, strict=True):
        if not _close(own[0], expected[0]) or expected[1] is None or not _close(own[1], expected[1]):
            return "stacked it gives other numbers than alone"
    return None


def _differentiated(module: nn.Module, X: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logits, and the gradient of their mean squared distance from class 0; None if it misses a parameter."""
    logits = module(X)
    target = torch.zeros_like(logits)
    target[:, 0] = 1
    loss = (logits - target).square().sum(1).mean()
    parameters = [p for p in module.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    if any(gradient is None for gradient in gradients):
        return logits.detach(), None
    return logits.detach(), torch.cat([gradient.reshape(-1) for gradient in gradients])


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= TOLERANCE[other.dtype] * other.abs().max())


def _refusal(error: Exception) -> str:
    message = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "data-dependent control flow" in message or ".item()" in message:
        return "its control flow depends on the data"
    operation = re.search(r"atching rule .*(aten::\w+)", message)
    if operation is not None:
        return f"torch.func has no stacked form of {operation[1]}"
    return f"torch.func refuses it: {message.rstrip('.')}"
