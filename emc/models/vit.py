"""The vision transformer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.errors import SpecError
from emc.models import MODELS
from emc.models.axes import DEEPEST, Axis
from emc.models.images import check_positive, check_share
from emc.models.patches import check_patches, check_ratio

if TYPE_CHECKING:
    from torch import nn

#: Heads stay, as from ViT-L to ViT-G (Zhai et al. 2022, table 2), so that widths are fine-grained.
AXES = (
    Axis("dim", "width", step="heads"),
    Axis("depth", "depth", most=DEEPEST),
    Axis("mlp_ratio", "mlp", times="dim"),
)


@MODELS.register("vit", activation="gelu", axes=AXES)
def vit(
    input_shape: tuple[int, ...],
    num_classes: int,
    activation: Callable[[], nn.Module],
    *,
    patch: int = 4,
    dim: int = 16,
    depth: int = 2,
    heads: int = 2,
    mlp_ratio: float = 4.0,
    dropout: float = 0.0,
) -> nn.Module:
    """Vision transformer with a class token and learnt positions: `depth` blocks of `heads` heads on `dim` features.

    timm's, which begins as published there: weights from a truncated normal of 0.02. Dropout is where the paper has it:
    after the positions and after every dense layer but the queries, keys and values. ViT-B/16 is
    `vit:patch=16,dim=768,depth=12,heads=12`. The biases of the keys are parameters that change no function: softmax
    takes no notice of what is added to a whole row.

    Raises:
        SpecError: an option out of range, or inputs that its patches do not tile.

    References:
        Dosovitskiy et al. 2021, "An image is worth 16x16 words", section 3.1 and appendix B.1.
    """
    check_positive("vit", dim=dim, depth=depth, heads=heads)
    check_share("vit", dropout=dropout)
    if dim % heads:
        raise SpecError(f"vit needs a dim that its heads share, got dim={dim}, heads={heads}; make it a multiple")
    channels, height, width = check_patches("vit", input_shape, patch)
    ratio = check_ratio("vit", "mlp_ratio", mlp_ratio, dim)
    from timm.models.vision_transformer import VisionTransformer

    module = VisionTransformer(
        img_size=(height, width),
        patch_size=patch,
        in_chans=channels,
        num_classes=num_classes,
        embed_dim=dim,
        depth=depth,
        num_heads=heads,
        mlp_ratio=ratio,
        pos_drop_rate=dropout,
        proj_drop_rate=dropout,
        act_layer=activation,
    )
    for block in module.blocks:
        # PyTorch's fused attention has no second derivative, which curvature needs.
        block.attn.fused_attn = False  # type: ignore[union-attr]
    return module
