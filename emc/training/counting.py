"""Exact counts of right answers, as integers over all n samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from emc.training.inputs import Gathered
from emc.training.losses import CROSS_ENTROPY, Loss, loss_of

if TYPE_CHECKING:
    from torch import Tensor

#: Samples evaluated at once; fixed, so that a sample's logits do not depend on what else is counted.
CHUNK = 256


def is_right(logits: Tensor, y: Tensor) -> Tensor:
    """Whether the right class has the strictly largest finite logit; a tie is wrong.

    Args:
        logits: (..., K).
        y: (...) int64.

    Returns:
        (...) bool.

    >>> is_right(torch.tensor([[1.0, 2.0], [2.0, 2.0], [torch.inf, 0.0]]), torch.tensor([1, 0, 0]))
    tensor([ True, False, False])
    """
    own = logits.gather(-1, y.unsqueeze(-1))
    rival = logits.scatter(-1, y.unsqueeze(-1), -torch.inf).amax(-1, keepdim=True)
    return ((own > rival) & own.isfinite()).squeeze(-1)


@torch.no_grad()
def count_right(module: nn.Module, X: Tensor | Gathered, y: Tensor) -> int:
    """Right answers in eval mode, by running statistics as they are; the mode is restored."""
    mode, dtype = module.training, next(module.parameters()).dtype
    module.eval()
    parts = zip(X.split(CHUNK), torch.split(y, CHUNK), strict=True)
    right = sum(int(is_right(module(rows.to(dtype)), labels).sum()) for rows, labels in parts)
    module.train(mode)
    return right


@torch.no_grad()
def count(
    module: nn.Module, store: Tensor | Gathered, index: Tensor, y: Tensor, loss: Loss = CROSS_ENTROPY
) -> tuple[int, float]:
    """Right answers and mean loss of a model over its samples, in eval mode.

    BatchNorm's running statistics are re-estimated over these samples first.

    Args:
        module: the model; its train/eval mode is restored.
        store: (rows, *shape) inputs.
        index: (n,) rows of the samples.
        y: (n,) labels.
        loss: which one.

    Returns:
        Count of right answers, mean loss.
    """
    mode = module.training
    estimate_batch_norm(module, store, index)
    module.eval()
    right = torch.zeros((), dtype=torch.int64, device=y.device)
    total = torch.zeros((), dtype=torch.float64, device=y.device)
    for start in range(0, len(index), CHUNK):
        rows, labels = index[start : start + CHUNK], y[start : start + CHUNK]
        logits = module(store.index_select(0, rows))
        right += is_right(logits, labels).sum()
        total += loss_of(loss, logits, labels, "sum").double()
    module.train(mode)
    return int(right), float(total) / len(index)


@torch.no_grad()
def estimate_batch_norm(module: nn.Module, store: Tensor | Gathered, index: Tensor) -> None:
    """Set BatchNorm's running statistics to their average over all samples, in chunks; the rest stays in eval mode."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the chunks
        norm.train()
    chunks = max(1, len(index) // CHUNK)  # equal chunks, none of which is a single sample
    for rows in index.tensor_split(chunks):
        module(store.index_select(0, rows))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
