"""Training in a random subspace of the parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emc.errors import SpecError, did_you_mean
from emc.reparams import REPARAMS

if TYPE_CHECKING:
    from torch import nn

    from emc.reparams import Wrap

PROJECTIONS = ("dense", "sparse", "fastfood", "kronecker")


@REPARAMS.register("subspace", bare="dim")
def subspace(*, dim: int, projection: str = "dense", normalise: bool = True) -> Wrap:
    """Only `dim` coordinates z of a random subspace through the init are trained: theta = theta_0 + P z.

    P is drawn anew for every probe and its columns have length 1, or, with normalise=false, sqrt(parameters), which
    takes steps as much longer. projection=dense is Gaussian and takes parameters times dim numbers; sparse has
    sqrt(parameters) entries a column; fastfood (Hadamard) and kronecker are for large models.

    Raises:
        SpecError: an option out of range.

    References:
        Li, Farkhoor, Liu and Yosinski 2018, "Measuring the intrinsic dimension of objective landscapes". Le, Sarlos and
        Smola 2013, "Fastfood". Lotfi et al. 2022, "PAC-Bayes compression bounds so tight that they can explain
        generalization" (Kronecker products).
    """
    if dim < 1:
        raise SpecError(f"subspace needs dim of at least 1, got {dim}; name the numbers to train")
    if projection not in PROJECTIONS:
        raise SpecError(
            f"subspace takes projection as one of {', '.join(PROJECTIONS)}, got {projection}; "
            f"{did_you_mean(projection, PROJECTIONS)}"
        )

    def wrap(module: nn.Module) -> nn.Module:
        from emc.reparams.modules import projections
        from emc.reparams.modules.subspace import Subspace

        return Subspace(module, dim, projections.PROJECTIONS[projection], normalise)

    return wrap
