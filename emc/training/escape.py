"""Leaving a saddle: the state a training stopped at, perturbed along the negative curvature found near it."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from emc.training.counting import count
from emc.training.run import Escape, ProbeRun
from emc.training.setup import Setup

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

#: Lengths tried in either direction, as shares of the norm of the trainable parameters.
LENGTHS = tuple(2.0**-power for power in range(11))


@torch.no_grad()
def leave_saddle(setup: Setup, run: ProbeRun, module: nn.Module, direction: npt.NDArray[np.float64]) -> Escape | None:
    """Perturb the stopped model, so that its training can go on below the saddle.

    The direction was found where the polish ended, not where the training stopped, so neither its sign nor how far it
    leads down is known here. Both signs at every length of `LENGTHS` are tried by the exact count (in float64, with
    BatchNorm's statistics re-estimated), and the least loss is taken, the first of equals.

    Args:
        setup: the procedure.
        run: the stopped probe.
        module: its model; the trainable parameters are changed where the saddle is left.
        direction: (parameters,) unit vector of negative curvature, in the order of the trainable parameters.

    Returns:
        What was done; None, and nothing changed, where no length lowers the loss.
    """
    X, y = setup.samples(run.probe).first(run.n)
    trial, X, index = copy.deepcopy(module).double(), X.double(), torch.arange(run.n, device=y.device)
    tried = [p for p in trial.parameters() if p.requires_grad]
    start = parameters_to_vector(tried)
    unit = torch.from_numpy(direction).to(start)
    scale = float(start.norm()) or 1.0

    def loss_at(length: float) -> float:
        vector_to_parameters(start + length * scale * unit, tried)
        _, loss = count(trial, X, index, y, setup.loss)
        return loss if math.isfinite(loss) else math.inf

    before = loss_at(0.0)
    losses = {sign * length: loss_at(sign * length) for length in LENGTHS for sign in (1, -1)}
    length = min(losses, key=losses.__getitem__)
    if not losses[length] < before:
        return None
    vector_to_parameters(start + length * scale * unit, tried)
    for parameter, moved in zip([p for p in module.parameters() if p.requires_grad], tried, strict=True):
        parameter.copy_(moved)
    return Escape(run.steps, length, before, losses[length])
