"""The smallest eigenvalue of the full-batch loss Hessian: whether a stationary point is a minimum or a saddle."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import nn

from emc.training.losses import CROSS_ENTROPY, Loss, SquaredLoss, one_hot
from emc.training.polish import CHUNK

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float64]

#: Residual an eigenpair may have, relative to the largest magnitude of an eigenvalue. The value's own error is smaller
#: (5e-6 and 7e-7 at residuals of 8e-5 and 2e-5, on a ReLU net of 610 parameters); 1e-5 took over 2,000 products there.
RESIDUAL = 1e-4

#: Restarts of Lanczos, and vectors it keeps between them.
RESTARTS, VECTORS = 50, 40


@dataclass(frozen=True, eq=False)
class Curvature:
    """The low end of the Hessian's spectrum at one point.

    Attributes:
        value: v . H v for the unit vector v found: an upper bound on the smallest eigenvalue, converged or not.
        largest: magnitude of the eigenvalue of largest magnitude, the scale `value` is judged against.
        residual: |H v - value v|; some eigenvalue lies within it of `value`.
        converged: whether the residual is at most `RESIDUAL` of `largest`, so that `value` is the smallest eigenvalue
            to within it (unless the random start had no part in its eigenvector).
        vector: (parameters,) v, in the order of the trainable parameters.
        products: Hessian-vector products done.
    """

    value: float
    largest: float
    residual: float
    converged: bool
    vector: Array
    products: int

    @property
    def relative(self) -> float:
        """`value` over `largest`; 0 where the Hessian vanishes."""
        return self.value / self.largest if self.largest > 0 else 0.0


def smallest_eigenvalue(
    module: nn.Module,
    X: Tensor,
    y: Tensor,
    loss: Loss = CROSS_ENTROPY,
    along: Callable[[Array], Array] | None = None,
) -> Curvature:
    """The smallest eigenvalue of the Hessian of the mean loss over all samples, in eval mode and float64, on a copy.

    Lanczos stops once its residual is small relative to the eigenvalue it looks for, which it never is for one near
    0. So the largest magnitude is found first, and the spectrum is shifted down by it.

    ReLU has no curvature at its kinks: there this is the curvature of the one linear piece that autograd picks. Where
    the point is to stay on kinks, `along` takes a direction to its part that does: the Hessian is restricted to these.
    Pairs a . w = 0 on their kink add nothing to the loss there, whichever slope is taken, so that all pieces agree and
    the restriction is smooth. Where every free slope lies strictly inside its interval, the loss grows at first order
    across the kinks, and the restricted Hessian alone decides between minimum and saddle.

    Args:
        module: the model; it is not changed.
        X: (n, *shape) inputs.
        y: (n,) labels.
        loss: which one.
        along: orthogonal projection of a (parameters,) vector onto the directions to look at; all without it.

    Raises:
        RuntimeError: PyTorch has no second derivative of the model (NotImplementedError among them), or Lanczos failed.

    References:
        Lehoucq, Sorensen and Yang 1998, "ARPACK users' guide", section 4.6 (the stopping rule).
        Lewis 2002, "Active sets, nonsmoothness, and sensitivity" (partly smooth functions: growth across, curvature
        along). Lemarechal, Oustry and Sagastizabal 2000, "The U-Lagrangian of a convex function".
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # forward-mode differentiation is loaded by deprecated means
        product = hessian_of(copy.deepcopy(module).double().eval(), X.double(), y, loss)
        hessian = _Product(product, along or np.ravel)
        return _lowest(hessian, hessian.along(np.random.default_rng(0).standard_normal(hessian.size)))


def _lowest(hessian: _Product, start: Array) -> Curvature:
    extreme = _eigenvector(hessian, start, "LM", 1e-2)
    scale = float(np.linalg.norm(hessian(extreme)))
    vector = _eigenvector(lambda v: hessian(v) - scale * hessian.along(v.ravel()), start, "SA", RESIDUAL / 2)
    image = hessian(vector)
    value = float(vector @ image)
    residual = float(np.linalg.norm(image - value * vector))
    return Curvature(value, scale, residual, residual <= RESIDUAL * scale, vector, hessian.count)


class _Product:
    """Hessian-vector products within the directions to look at, counted."""

    def __init__(self, hessian: LinearOperator[Any], along: Callable[[Array], Array]) -> None:
        self._hessian = hessian
        self.along = along
        self.size = hessian.shape[0]
        self.count = 0

    def __call__(self, vector: Array) -> Array:
        self.count += 1
        image = self._hessian.matvec(self.along(vector.ravel()))
        return self.along(np.asarray(image, dtype=np.float64))


def straight_through(module: nn.Module) -> bool:
    """Whether some part's gradient is not that of its loss; see `emc.reparams.modules.wrapped.Wrapped`."""
    return any(getattr(part, "straight_through", False) is True for part in module.modules())


def hessian_of(module: nn.Module, X: Tensor, y: Tensor, loss: Loss) -> LinearOperator[Any]:
    """Products of the Hessian of the mean loss of a float64 model in eval mode with vectors and matrices."""
    from curvlinops import HessianLinearOperator

    parameters = [p for p in module.parameters() if p.requires_grad]
    squared = loss.name == "squared"
    targets, asked = y, SquaredLoss() if squared else nn.CrossEntropyLoss(label_smoothing=loss.smoothing)
    if squared:
        with torch.no_grad():
            targets = one_hot(module(X[:1]).expand(len(y), -1), y)
    batches = list(zip(torch.split(X, CHUNK), torch.split(targets, CHUNK), strict=True))
    operator = HessianLinearOperator(module, asked, parameters, batches, check_deterministic=False)
    return operator.to_scipy(np.float64)  # type: ignore[no-any-return]


def _eigenvector(
    multiply: Callable[[Array], Array], start: Array, which: Literal["LM", "SA"], tolerance: float
) -> Array:
    """The unit eigenvector of largest magnitude or smallest value; the start where Lanczos did not converge."""
    size = len(start)
    if size <= VECTORS:
        values, vectors = np.linalg.eigh(np.stack([multiply(unit) for unit in np.eye(size)]))
        return np.asarray(vectors[:, np.abs(values).argmax() if which == "LM" else 0])
    operator = LinearOperator((size, size), matvec=multiply, dtype=np.float64)
    try:
        # The start may span too little; what is drawn beside it then has to be the same again.
        _, found = eigsh(operator, 1, which=which, v0=start, ncv=VECTORS, maxiter=RESTARTS, tol=tolerance, rng=0)
    except ArpackNoConvergence:
        return start / np.linalg.norm(start)
    return np.asarray(found[:, 0])
