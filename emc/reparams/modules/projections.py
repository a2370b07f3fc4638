"""Random linear maps from a few coordinates to many parameters."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from emc.errors import SpecError

#: Numbers of the largest dense projection: 512 MiB in float32, for every probe under way.
MAX_DENSE = 1 << 27


class Projection(nn.Module):
    """z: (dim,) -> P z: (size,), with P drawn from PyTorch's global generator and never trained.

    The columns of P have length 1, in the mean where that is said. It is kept in buffers whose shapes follow from size
    and dim alone, so that several may be stacked.

    Args:
        size: parameters.
        dim: coordinates, at most `size`.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.size, self.dim = size, dim

    def extra_repr(self) -> str:
        """What tells it from others of its kind."""
        return f"{self.dim}, {self.size}"


class Dense(Projection):
    """Independent Gaussian columns, each divided by its length: size * dim numbers.

    References:
        Li, Farkhoor, Liu and Yosinski 2018, "Measuring the intrinsic dimension of objective landscapes", section 2.

    Raises:
        SpecError: P has more than `MAX_DENSE` numbers.
    """

    P: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__(size, dim)
        if size * dim > MAX_DENSE:
            raise SpecError(
                f"a dense projection has at most {MAX_DENSE:,} numbers, got {size:,} parameters times dim={dim:,}; "
                "use projection=fastfood"
            )
        P = torch.randn(size, dim)
        self.register_buffer("P", P / P.norm(dim=0))

    def forward(self, z: Tensor) -> Tensor:
        """P z."""
        return self.P @ z


class Sparse(Projection):
    """About sqrt(size) entries of equal magnitude and random sign in each column.

    Li et al. draw each entry with density 1 / sqrt(size); here each column has exactly the rounded number of entries,
    in places drawn without replacement. On a GPU the order of sums is not fixed, so that the last bits may differ from
    run to run.

    References:
        Li, Farkhoor, Liu and Yosinski 2018, "Measuring the intrinsic dimension of objective landscapes", section S7.
        Li, Hastie and Church 2006, "Very sparse random projections".
    """

    places: Tensor
    entries: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__(size, dim)
        count = max(1, round(math.sqrt(size)))
        places = torch.stack([torch.randperm(size)[:count] for _ in range(dim)], dim=1)
        signs = 2 * torch.randint(2, (count, dim)) - 1
        self.register_buffer("places", places)
        self.register_buffer("entries", signs / math.sqrt(count))

    def forward(self, z: Tensor) -> Tensor:
        """P z."""
        return z.new_zeros(self.size).scatter_add(0, self.places.flatten(), (self.entries * z).flatten())


class Fastfood(Projection):
    """Blocks H G Pi H B, one above the other: 3 numbers a parameter, O(size log dim) operations.

    H is the Hadamard matrix of the smallest power of two that is at least dim, B has random signs, Pi permutes and G is
    Gaussian, each drawn anew for each block. Coordinates beyond dim are 0, rows beyond size are left out. The lengths
    of the rows are left as they are (S is the identity). Columns have length 1 in the mean.

    References:
        Le, Sarlos and Smola 2013, "Fastfood: approximating kernel expansions in loglinear time", section 3.
    """

    signs: Tensor
    order: Tensor
    gains: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__(size, dim)
        self._width = 1 << (dim - 1).bit_length()
        blocks = math.ceil(size / self._width)
        gains = torch.randn(blocks, self._width)
        share = size / (blocks * self._width)  # of the rows that are kept
        self.register_buffer("signs", 2.0 * torch.randint(2, (blocks, self._width)) - 1)
        self.register_buffer("order", torch.rand(blocks, self._width).argsort(dim=1))
        self.register_buffer("gains", gains / (gains.norm() * math.sqrt(self._width * share)))

    def forward(self, z: Tensor) -> Tensor:
        """P z."""
        padded = functional.pad(z, (0, self._width - self.dim))
        shuffled = hadamard(self.signs * padded).gather(1, self.order)
        return hadamard(self.gains * shuffled).flatten()[: self.size]


class Kronecker(Projection):
    """The Kronecker product of two Gaussian matrices, its rows permuted: about 2 sqrt(size * dim) numbers.

    Both factors have columns of length 1, so that those of P have length 1 in the mean once the surplus rows are left
    off. Where size and dim are no products of two near numbers, the factors are rounded up and the surplus is left off;
    Lotfi et al. round down and fill up with a dense matrix.

    References:
        Lotfi, Finzi, Kapoor, Potapczynski, Goldblum and Wilson 2022, "PAC-Bayes compression bounds so tight that they
        can explain generalization", section 4.1.
    """

    left: Tensor
    right: Tensor
    order: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__(size, dim)
        rows, columns = math.isqrt(size - 1) + 1, math.isqrt(dim - 1) + 1
        self._columns = columns, -(-dim // columns)
        left, right = (torch.randn(rows, each) for each in self._columns)
        self.register_buffer("left", left / left.norm(dim=0) * math.sqrt(rows * rows / size))
        self.register_buffer("right", right / right.norm(dim=0))
        self.register_buffer("order", torch.randperm(rows * rows)[:size])

    def forward(self, z: Tensor) -> Tensor:
        """P z."""
        padded = functional.pad(z, (0, math.prod(self._columns) - self.dim))
        return (self.left @ padded.view(self._columns) @ self.right.T).flatten()[self.order]


def hadamard(x: Tensor) -> Tensor:
    """The product of the Hadamard matrix, of entries 1 and -1, with each row of x: (rows, a power of two).

    >>> hadamard(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    tensor([[10., -2., -4.,  0.]])
    """
    rows, width = x.shape
    half = 1
    while half < width:
        first, second = x.view(rows, width // (2 * half), 2, half).unbind(2)
        x = torch.stack((first + second, first - second), 2).view(rows, width)
        half *= 2
    return x


PROJECTIONS: dict[str, Callable[[int, int], Projection]] = {
    "dense": Dense,
    "sparse": Sparse,
    "fastfood": Fastfood,
    "kronecker": Kronecker,
}
