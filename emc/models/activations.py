"""Activations by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emc.registry import Plugin, PluginSpec, Registry

if TYPE_CHECKING:
    from torch import nn

ACTIVATIONS: Registry[nn.Module] = Registry("activation", None, "emc.activations")


def own_activation(model: Plugin[Any]) -> PluginSpec | None:
    """The activation that a family has where none is named; None if it takes none."""
    stated = model.facts.get("activation")
    return PluginSpec("relu" if stated is True else str(stated)) if stated else None


@ACTIVATIONS.register("relu")
def relu() -> nn.Module:
    """max(x, 0)."""
    from torch import nn

    return nn.ReLU()


@ACTIVATIONS.register("leaky_relu")
def leaky_relu(*, slope: float = 0.01) -> nn.Module:
    """x above 0, slope * x below."""
    from torch import nn

    return nn.LeakyReLU(slope)


@ACTIVATIONS.register("gelu")
def gelu() -> nn.Module:
    """x * Phi(x), Hendrycks and Gimpel 2016."""
    from torch import nn

    return nn.GELU()


@ACTIVATIONS.register("silu")
def silu() -> nn.Module:
    """x * sigmoid(x), also called swish."""
    from torch import nn

    return nn.SiLU()


@ACTIVATIONS.register("elu")
def elu(*, alpha: float = 1.0) -> nn.Module:
    """x above 0, alpha * (exp(x) - 1) below."""
    from torch import nn

    return nn.ELU(alpha)


@ACTIVATIONS.register("tanh")
def tanh() -> nn.Module:
    """Hyperbolic tangent."""
    from torch import nn

    return nn.Tanh()


@ACTIVATIONS.register("sigmoid")
def sigmoid() -> nn.Module:
    """Logistic function."""
    from torch import nn

    return nn.Sigmoid()


@ACTIVATIONS.register("identity")
def identity() -> nn.Module:
    """No activation: the network is linear in its inputs."""
    from torch import nn

    return nn.Identity()
