"""How flat the loss is where a training ended: largest eigenvalue and trace of its Hessian."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from emc.errors import TrainingError
from emc.training.curvature import VECTORS, Array, hessian_of, straight_through
from emc.training.losses import CROSS_ENTROPY, Loss, loss_of
from emc.training.polish import CHUNK

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Parameters up to which the whole Hessian is formed and solved.
DENSE = 2_000

#: Hessian-vector products done side by side, at most so many times as samples at once.
SIDE_BY_SIDE, AT_ONCE = 64, 2**15

#: Relative residual at which Lanczos stops, and its restarts.
TOLERANCE, RESTARTS = 1e-6, 300

#: Products that span the subspace of Hutch++; then random vectors in blocks, until the trace's standard error is at
#: most this share of it, or there were so many.
SUBSPACE, BLOCK, TRACE_ERROR, MOST = 48, 32, 0.01, 512


@dataclass(frozen=True)
class Flatness:
    """The Hessian of the mean training loss at one point.

    Attributes:
        largest: algebraically largest eigenvalue; None where Lanczos did not converge.
        trace: its trace.
        trace_error: standard error of `trace`, relative to it; 0 where the trace is exact. None where it is 0 itself.
        products: Hessian-vector products done.
        loss: mean training loss at the point, in float64: as flatness depends on it.
    """

    largest: float | None
    trace: float
    trace_error: float | None
    products: int
    loss: float


def flatness(module: nn.Module, X: Tensor, y: Tensor, loss: Loss = CROSS_ENTROPY) -> Flatness:
    """Largest eigenvalue and trace of the Hessian of the mean loss over all samples, in eval mode, on a float64 copy.

    Weight decay, augmentation and what else a training adds to the loss are no part of it. Up to `DENSE` trainable
    parameters the Hessian is formed. Above, Lanczos finds the eigenvalue, and Hutch++ the trace: exactly on a subspace
    of the range of the Hessian, by random vectors of signs on what is left. Their spread gives the standard error.

    Both numbers change where weights are rescaled between the layers of a ReLU net, which leaves the function as it is.

    Args:
        module: the model; it is not changed.
        X: (n, *shape) inputs.
        y: (n,) labels.
        loss: which one.

    Raises:
        TrainingError: PyTorch has no second derivative of the model, or it is rounded, so that it has none.

    References:
        Meyer, Musco, Musco and Woodruff 2021, "Hutch++: optimal stochastic trace estimation", algorithm 1.
        Dinh, Pascanu, Bengio and Bengio 2017, "Sharp minima can generalize for deep nets" (the rescaling).
    """
    if straight_through(module):
        raise _none("rounded weights, whose loss has steps")
    module = copy.deepcopy(module).double().eval()
    X = X.double()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)  # forward-mode differentiation is loaded by deprecated means
        logits = torch.cat([module(part) for part in torch.split(X, CHUNK)])
        value = float(loss_of(loss, logits, y))
        hessian = _Counted(hessian_of(module, X, y, loss), len(X))
        try:
            largest, trace, error = _dense(hessian) if hessian.size <= DENSE else _iterated(hessian)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as failed:  # NotImplementedError among them
            raise _none(f"{type(failed).__name__}: {str(failed).splitlines()[0]}") from failed
    return Flatness(largest, trace, error, hessian.count, value)


def _none(got: str) -> TrainingError:
    return TrainingError(f"--flatness needs second derivatives of the model in PyTorch, got {got}; leave it out")


class _Counted:
    """Products of the Hessian with the columns of a matrix, counted."""

    def __init__(self, hessian: LinearOperator[Any], rows: int) -> None:
        self._hessian = hessian
        self.size: int = hessian.shape[0]
        self.count = 0
        self._width = max(1, min(SIDE_BY_SIDE, AT_ONCE // min(rows, CHUNK)))

    def __call__(self, matrix: Array) -> Array:
        self.count += matrix.shape[1]
        parts = [matrix[:, at : at + self._width] for at in range(0, matrix.shape[1], self._width)]
        return np.concatenate([np.asarray(self._hessian.matmat(part), np.float64) for part in parts], axis=1)


def _dense(hessian: _Counted) -> tuple[float, float, float]:
    whole = hessian(np.eye(hessian.size))
    return float(np.linalg.eigvalsh((whole + whole.T) / 2)[-1]), float(np.trace(whole)), 0.0


def _iterated(hessian: _Counted) -> tuple[float | None, float, float | None]:
    rng = np.random.default_rng(0)
    largest = _largest(hessian, rng.standard_normal(hessian.size))
    return (largest, *_trace(hessian, rng))


def _largest(hessian: _Counted, start: Array) -> float | None:
    shape = (hessian.size, hessian.size)
    operator = LinearOperator(shape, matvec=lambda v: hessian(v.reshape(-1, 1)), dtype=np.float64)
    try:
        values = eigsh(
            operator, 1, which="LA", v0=start, ncv=VECTORS, maxiter=RESTARTS, tol=TOLERANCE, return_eigenvectors=False,
            rng=0,
        )  # fmt: skip
    except ArpackError:
        return None
    return float(values[0])


def _trace(hessian: _Counted, rng: np.random.Generator) -> tuple[float, float | None]:
    """The trace and its relative standard error; the latter None where the trace is 0."""
    basis, _ = np.linalg.qr(hessian(_signs(rng, hessian.size, SUBSPACE)))
    known = float(np.sum(basis * hessian(basis)))
    seen: list[float] = []
    while True:
        vectors = _signs(rng, hessian.size, BLOCK)
        vectors -= basis @ (basis.T @ vectors)
        seen.extend(np.sum(vectors * hessian(vectors), axis=0))
        trace, error = known + float(np.mean(seen)), float(np.std(seen, ddof=1)) / len(seen) ** 0.5
        if error <= TRACE_ERROR * abs(trace) or len(seen) >= MOST:
            return trace, error / abs(trace) if trace else None


def _signs(rng: np.random.Generator, rows: int, columns: int) -> Array:
    return rng.choice([-1.0, 1.0], (rows, columns))
