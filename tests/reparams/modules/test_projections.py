"""Random linear maps against their dense forms."""

from __future__ import annotations

import math

import pytest
import torch

from emc.errors import SpecError
from emc.reparams.modules.projections import MAX_DENSE, PROJECTIONS, Dense, Fastfood, Kronecker, Sparse, hadamard


def matrix(name: str, size: int, dim: int, seed: int = 0) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projection = PROJECTIONS[name](size, dim).double()
    return torch.stack([projection(z) for z in torch.eye(dim, dtype=torch.float64)], dim=1)


@pytest.mark.parametrize(("size", "dim"), [(1, 1), (7, 7), (64, 5), (300, 40), (343, 100)])
@pytest.mark.parametrize("name", PROJECTIONS)
def test_columns_are_of_length_1_and_independent(name: str, size: int, dim: int) -> None:
    P = matrix(name, size, dim)
    assert P.shape == (size, dim)
    lengths = P.square().sum(0)
    exact = name in ("dense", "sparse")
    assert abs(float(lengths.mean()) - 1) < (1e-6 if exact or size == 1 else 0.35)
    if not (name == "sparse" and size == dim):  # so few entries may leave out a row
        assert torch.linalg.matrix_rank(P) == dim
    generator = torch.Generator().manual_seed(2)
    z, w = torch.randn(2, dim, generator=generator, dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        projection = PROJECTIONS[name](size, dim).double()
    torch.testing.assert_close(projection(z - 2 * w), P @ z - 2 * (P @ w), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_columns_are_of_length_1_in_the_mean_and_unbiased(name: str) -> None:
    """Over 60 draws: mean squared length 1, mean entry 0, every row alike."""
    drawn = torch.stack([matrix(name, 90, 12, seed) for seed in range(60)])
    assert abs(float(drawn.square().sum(1).mean()) - 1) < 0.02
    assert abs(float(drawn.mean())) < 4 / math.sqrt(drawn.numel() * 90)
    rows = drawn.square().sum(2).mean(0)
    assert float(rows.min() * 90 / 12) > 0.5
    assert float(rows.max() * 90 / 12) < 1.7


def test_dense_columns_are_gaussian() -> None:
    P = matrix("dense", 4000, 3) * math.sqrt(4000)
    assert abs(float((P**4).mean()) - 3) < 0.3


def test_a_sparse_column_has_the_root_of_the_rows_as_entries() -> None:
    P = matrix("sparse", 400, 9)
    assert ((P != 0).sum(0) == 20).all()
    assert torch.equal(P[P != 0].abs().unique(), torch.tensor([1 / math.sqrt(20)], dtype=torch.float32).double())


def test_fastfood_is_the_product_of_its_factors() -> None:
    """H G Pi H B in each of two blocks of 4, all but one of their rows kept, against dense matrices."""
    torch.manual_seed(0)
    projection = Fastfood(7, 3).double()
    H = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64)
    blocks = [
        H @ gains.diag() @ torch.eye(4, dtype=torch.float64)[order] @ H @ signs.diag()
        for signs, order, gains in zip(projection.signs, projection.order, projection.gains, strict=True)
    ]
    expected = torch.cat(blocks)[:7, :3]
    found = torch.stack([projection(z) for z in torch.eye(3, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(found, expected)


def test_kronecker_is_the_product_of_its_factors() -> None:
    torch.manual_seed(0)
    projection = Kronecker(9, 4).double()
    expected = torch.kron(projection.left, projection.right)[projection.order]
    found = torch.stack([projection(z) for z in torch.eye(4, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(found, expected)


def test_hadamard_is_orthogonal() -> None:
    H = hadamard(torch.eye(16, dtype=torch.float64))
    assert torch.equal(H @ H.T, 16 * torch.eye(16, dtype=torch.float64))


def test_what_they_hold() -> None:
    held = {
        kind: sum(buffer.numel() for buffer in kind(10_000, 100).buffers())
        for kind in (Dense, Sparse, Fastfood, Kronecker)
    }
    assert held == {
        Dense: 1_000_000,
        Sparse: 2 * 100 * 100,
        Fastfood: 3 * 79 * 128,
        Kronecker: 2 * 100 * 10 + 10_000,
    }


def test_a_dense_one_that_takes_too_much_memory_is_refused() -> None:
    with pytest.raises(
        SpecError, match=r"a dense projection has at most 134,217,728 numbers, got 1,000,000 parameters"
    ):
        Dense(1_000_000, MAX_DENSE // 1_000_000 + 1)
