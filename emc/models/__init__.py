"""Models by name: a factory takes the input shape, the number of classes and options, and returns a fresh module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emc.registry import Registry

if TYPE_CHECKING:
    from torch import nn

#: Facts a model may state: `activation=True` (its factory takes an `activation` factory by that positional name; the
#: name of one instead of True is its own default), `linear=True` (its logits are affine in the inputs and
#: unconstrained, so that linear programming decides what it can fit), `axes` (how its options scale,
#: `emc.models.axes.Axis`).
MODELS: Registry[nn.Module] = Registry("model", "emc.models", "emc.models")
