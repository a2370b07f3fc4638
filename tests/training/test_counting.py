"""Exact counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from emc.training.counting import CHUNK, count, estimate_batch_norm, is_right

INF, NAN = torch.inf, torch.nan


@pytest.mark.parametrize(
    ("logits", "right"),
    [
        ([1.0, 2.0, 0.0], 1),
        ([2.0, 2.0, 0.0], None),  # a tie is wrong
        ([0.0, 0.0, 0.0], None),
        ([INF, 0.0, 1.0], None),  # infinite is not finite
        ([1.0, INF, 0.0], None),
        ([-INF, 3.0, -INF], 1),
        ([-INF, -INF, -INF], None),
        ([NAN, 3.0, 1.0], None),
        ([3.0, 1.0, NAN], None),
        ([NAN, NAN, NAN], None),
        ([1.0, 1.0 + 2**-23, 0.0], 1),  # strictly, if only by the last bit
    ],
)
def test_is_right(logits: list[float], right: int | None) -> None:
    found = is_right(torch.tensor([logits] * 3), torch.arange(3))
    assert found.tolist() == [k == right for k in range(3)]


def test_is_right_over_stacked_logits() -> None:
    logits = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    y = logits.argmax(-1)
    assert is_right(logits, y).all()
    assert not is_right(logits, (y + 1) % 3).any()


@pytest.mark.parametrize("n", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_count_is_over_all_samples_whatever_the_chunks(n: int) -> None:
    torch.manual_seed(0)
    module = nn.Linear(3, 4).double()
    store, y = torch.randn(n + 7, 3).double(), torch.randint(4, (n,))
    index = torch.randperm(n + 7)[:n]
    logits = module(store[index]).detach()
    correct, loss = count(module, store, index, y)
    assert correct == int((logits.argmax(1) == y).sum())
    assert loss == pytest.approx(float(functional.cross_entropy(logits, y)), rel=1e-12)


def test_a_sample_that_is_not_finite_is_wrong_and_shows_in_the_loss() -> None:
    module = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0], [-1.0]]))
    store = torch.tensor([[1.0], [2.0], [INF]])
    correct, loss = count(module, store, torch.arange(3), torch.tensor([0, 0, 0]))
    assert correct == 2
    assert loss != loss


@pytest.mark.parametrize("training", [True, False])
def test_count_is_in_eval_mode_and_restores_the_mode(training: bool) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 50), nn.Dropout(0.5), nn.Linear(50, 2)).train(training)
    store, y = torch.randn(100, 3), torch.randint(2, (100,))
    assert count(module, store, torch.arange(100), y) == count(module, store, torch.arange(100), y)
    assert [m.training for m in module.modules()] == [training] * 4
    assert all(p.grad is None for p in module.parameters())


def test_batch_norm_is_estimated_over_all_samples() -> None:
    """Two equal chunks: the mean is that over all samples, the variance the mean of the chunks' own."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.BatchNorm1d(3, momentum=0.3), nn.Linear(3, 2), nn.BatchNorm1d(2, momentum=0.7)).double()
    module[0].running_mean.fill_(99)
    store = (torch.randn(700, 3) * torch.tensor([1.0, 2, 3]) + 5).double()
    index = torch.randperm(700)[: 2 * CHUNK]
    module.train()
    estimate_batch_norm(module, store, index)
    chunks = store[index].view(2, CHUNK, 3)
    torch.testing.assert_close(module[0].running_mean, store[index].mean(0))
    torch.testing.assert_close(module[0].running_var, chunks.var(1).mean(0))
    assert [module[0].momentum, module[2].momentum] == [0.3, 0.7]


def test_batch_norm_of_one_chunk_is_exact_and_shared_by_all_layers() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
    store, y = torch.randn(100, 3).double() + 2, torch.randint(2, (100,))
    index = torch.arange(100)
    hidden = module[0](store).detach()
    correct, _ = count(module, store, index, y)
    torch.testing.assert_close(module[1].running_mean, hidden.mean(0))
    torch.testing.assert_close(module[1].running_var, hidden.var(0))
    module.eval()
    assert correct == int(is_right(module(store), y).sum())


def test_the_count_does_not_depend_on_what_batch_norm_saw_before() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    store, y = torch.randn(60, 3), torch.randint(2, (60,))
    before = count(module, store, torch.arange(60), y)
    module.train()(store * 50 + 7)
    assert count(module, store, torch.arange(60), y) == before


def test_batch_norm_without_running_statistics_stays_as_it_is() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False), nn.Linear(3, 2)).train()
    store = torch.randn(10, 3)
    estimate_batch_norm(module, store, torch.arange(10))
    assert module[0].running_mean is None
    assert module.training
