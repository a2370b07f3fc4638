"""Proofs that a sample set cannot be fitted, or can."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import linprog

Array = npt.NDArray[np.float64]

#: Largest number of non-zeros of a linear program that is still solved; about ten seconds.
MAX_NONZEROS = 2_000_000

#: Largest `LinearProof.residual` of a certificate that counts as a proof.
RESIDUAL = 1e-9


class Separability(Enum):
    """Whether some linear model fits a sample set."""

    SEPARABLE = "weights that fit every sample were found and checked"
    INSEPARABLE = "a Gordan certificate was found and checked"
    UNDECIDED = "neither could be shown"


@dataclass(frozen=True)
class LinearProof:
    """The outcome of the linear program.

    Attributes:
        separability: what is proved.
        residual: largest entry of sum_i lambda_i a_i for the certificate lambda (lambda >= 0, sum 1; rows a_i scaled to
            largest entry 1), which bounds every margin a linear model could have; None without a certificate.
    """

    separability: Separability
    residual: float | None = None


def separable(X: Array, y: npt.NDArray[np.int64], num_classes: int) -> LinearProof:
    """Decide whether a softmax-linear model with bias can put every right class strictly on top.

    Sample i is fitted iff (w_y - w_k) . (x_i, 1) > 0 for every other class k. The linear program maximises the least
    such margin t over weights in the unit box; by duality the optimum 0 comes with Gordan's certificate lambda >= 0,
    not all zero, with sum lambda_ik (e_y - e_k) (x) (x_i, 1) = 0. Both answers are checked by direct multiplication.

    Args:
        X: (n, d) inputs.
        y: (n,) labels.
        num_classes: K.

    Returns:
        The proof; UNDECIDED if the program is larger than `MAX_NONZEROS`, or neither answer passed its check.

    References:
        Cover 1965, "Geometrical and statistical properties of systems of linear inequalities"; Gordan 1873.
    """
    points = np.hstack([X.reshape(len(X), -1), np.ones((len(X), 1))])
    points /= np.abs(points).max()
    if points.shape[0] * (num_classes - 1) * 2 * points.shape[1] > MAX_NONZEROS:
        return LinearProof(Separability.UNDECIDED)
    rows = margin_rows(points, y, num_classes)
    num_rows, num_weights = rows.shape
    problem = sparse.csr_matrix(sparse.hstack([-rows, sparse.csr_matrix(np.ones((num_rows, 1)))]))
    cost = np.zeros(num_weights + 1)
    cost[-1] = -1
    bounds = [(-1.0, 1.0)] * num_weights + [(0.0, 1.0)]
    solved = linprog(  # type: ignore[call-overload]  # scipy-stubs know no sparse A_ub
        cost, A_ub=problem, b_ub=np.zeros(num_rows), bounds=bounds, method="highs"
    )
    if solved.x is None:
        return LinearProof(Separability.UNDECIDED)
    if (rows @ solved.x[:-1]).min() > 0:
        return LinearProof(Separability.SEPARABLE)
    weights = np.maximum(-solved.ineqlin.marginals, 0)
    if weights.sum() <= 0:
        return LinearProof(Separability.UNDECIDED)
    residual = float(np.abs(rows.T @ (weights / weights.sum())).max())
    proved = residual <= RESIDUAL
    return LinearProof(Separability.INSEPARABLE if proved else Separability.UNDECIDED, residual)


def margin_rows(points: Array, y: npt.NDArray[np.int64], num_classes: int) -> sparse.csr_matrix:
    """One row a (sample, wrong class): its product with the stacked weights is that margin.

    Two classes need one weight vector only.

    Args:
        points: (n, d) inputs, the constant 1 included.
        y: (n,) labels.
        num_classes: K.

    Returns:
        (n (K - 1), K d) sparse; (n, d) for K = 2.
    """
    n, d = points.shape
    if num_classes == 2:
        return sparse.csr_matrix(points * np.where(y == 1, 1.0, -1.0)[:, None])
    sample = np.repeat(np.arange(n), num_classes - 1)
    wrong = np.array([k for label in y for k in range(num_classes) if k != label])
    row = np.repeat(np.arange(len(sample)), d)
    feature = np.tile(np.arange(d), len(sample))
    values = points[sample].ravel()
    columns = (np.repeat(y[sample] * d, d) + feature, np.repeat(wrong * d, d) + feature)
    return sparse.csr_matrix(
        (np.concatenate([values, -values]), (np.tile(row, 2), np.concatenate(columns))),
        shape=(len(sample), num_classes * d),
    )
