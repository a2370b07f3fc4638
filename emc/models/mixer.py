"""The MLP-Mixer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.models import MODELS
from emc.models.axes import DEEPEST, Axis
from emc.models.images import check_positive, check_share
from emc.models.patches import check_patches, check_ratio

if TYPE_CHECKING:
    from torch import nn

AXES = (
    Axis("dim", "width"),
    Axis("depth", "depth", most=DEEPEST),
    Axis("token_ratio", "mlp", times="dim"),
    Axis("channel_ratio", "mlp", times="dim"),
)


@MODELS.register("mixer", activation="gelu", axes=AXES)
def mixer(
    input_shape: tuple[int, ...],
    num_classes: int,
    activation: Callable[[], nn.Module],
    *,
    patch: int = 4,
    dim: int = 16,
    depth: int = 2,
    token_ratio: float = 0.5,
    channel_ratio: float = 4.0,
    dropout: float = 0.0,
) -> nn.Module:
    """MLP-Mixer: `depth` blocks of one MLP across patches and one across `dim` channels.

    timm's, which begins as published: its last layer at zero, so that all classes tie. Hidden units are token_ratio and
    channel_ratio times dim. Dropout follows both layers of each MLP. Mixer-B/16 is `mixer:patch=16,dim=768,depth=12`.

    Raises:
        SpecError: an option out of range, or inputs that its patches do not tile.

    References:
        Tolstikhin et al. 2021, "MLP-Mixer: An all-MLP architecture for vision", section 2 and table 1.
    """
    check_positive("mixer", dim=dim, depth=depth)
    check_share("mixer", dropout=dropout)
    channels, height, width = check_patches("mixer", input_shape, patch)
    ratios = (
        check_ratio("mixer", "token_ratio", token_ratio, dim),
        check_ratio("mixer", "channel_ratio", channel_ratio, dim),
    )
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(
        num_classes=num_classes,
        img_size=(height, width),  # type: ignore[arg-type]
        in_chans=channels,
        patch_size=patch,
        num_blocks=depth,
        embed_dim=dim,
        mlp_ratio=ratios,
        act_layer=activation,  # type: ignore[arg-type]
        proj_drop_rate=dropout,
    )
