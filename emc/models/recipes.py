"""Scaling recipes by name: by which exponents the dimensions of a family grow together."""

from __future__ import annotations

import math
from collections.abc import Mapping

from emc.errors import SpecError
from emc.registry import Registry

#: Makes the exponents of a recipe by the role of a dimension (`emc.models.axes.Axis`): it grows as scale ** exponent.
RECIPES: Registry[Mapping[str, float]] = Registry("recipe", None, "emc.recipes")


@RECIPES.register("width")
def width() -> Mapping[str, float]:
    """Width alone; depth and ratios stay."""
    return {"width": 1.0}


@RECIPES.register("depth")
def depth() -> Mapping[str, float]:
    """Depth alone; blocks of several stages grow alike."""
    return {"depth": 1.0}


@RECIPES.register("compound")
def compound(*, alpha: float = 1.2, beta: float = 1.1) -> Mapping[str, float]:
    """Depth as alpha^phi, width as beta^phi; the resolution is the data's.

    The paper's third dimension, resolution as 1.15^phi, is no part of a model here: inputs are never resized.

    Raises:
        SpecError: a base below 1, or both of 1, by which nothing grows.

    References:
        Tan and Le 2019, "EfficientNet: Rethinking model scaling for convolutional neural networks", equation 3 and
        section 4.
    """
    if not (min(alpha, beta) >= 1 and 1 < max(alpha, beta) < math.inf):
        raise SpecError(f"recipe compound needs alpha and beta of at least 1, one above, got {alpha} and {beta}")
    return {"depth": math.log(alpha), "width": math.log(beta)}


@RECIPES.register("resnet_rs")
def resnet_rs() -> Mapping[str, float]:
    """Depth along the published layouts of stages, which training to a perfect fit calls for.

    The paper scales depth where overfitting can occur and width otherwise, and resolution slowly; the resolution is the
    data's here.

    References:
        Bello et al. 2021, "Revisiting ResNets: Improved training and scaling strategies", sections 6.1 and 6.2; the
        layouts are those of its ResNet-RS family.
    """
    return {"stages": 1.0}


@RECIPES.register("svit")
def svit() -> Mapping[str, float]:
    """Width, depth and MLP dimension by the same factor.

    The patch size, which the paper's advice includes, changes what the inputs are cut into, and stays.

    References:
        Zhai et al. 2022, "Scaling vision transformers", section 3.6; after Dosovitskiy et al. 2021, "An image is worth
        16x16 words", appendix D.2.
    """
    return {"width": 1.0, "depth": 1.0, "mlp": 1.0}


@RECIPES.register("sovit")
def sovit() -> Mapping[str, float]:
    """Compute-optimal shapes: width, depth and MLP dimension as powers 0.22, 0.45 and 0.6 of the compute.

    References:
        Alabdulmohsin et al. 2023, "Getting ViT in shape: Scaling laws for compute-optimal model design", section 4.1;
        all dimensions jointly by section 3, "Scaling", which divides each exponent by their number: a change of scale.
    """
    return {"width": 0.22, "depth": 0.45, "mlp": 0.6}
