"""ResNet-RS."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from emc.errors import SpecError
from emc.models import MODELS
from emc.models.axes import DEEPEST, Axis
from emc.models.images import STEMS, check_choice, check_images, check_positive, check_share, read_blocks

if TYPE_CHECKING:
    from torch import nn

#: Stages that timm's ResNet has.
STAGES = 4


#: Blocks a stage of ResNet-RS-50, -101, -152, -200, -270, -350 and -420, as timm has them.
LAYOUTS = (
    (3, 4, 6, 3),
    (3, 4, 23, 3),
    (3, 8, 36, 3),
    (3, 24, 36, 3),
    (4, 29, 53, 4),
    (4, 36, 72, 4),
    (4, 44, 87, 4),
)
AXES = (
    Axis("width", "width", least=2, step=2),
    Axis("blocks", "depth", least=2, most=DEEPEST),
    Axis("blocks", "stages", least=2, most=DEEPEST, layouts=LAYOUTS),
)


@MODELS.register("resnet_rs", activation=True, axes=AXES)
def resnet_rs(
    input_shape: tuple[int, ...],
    num_classes: int,
    activation: Callable[[], nn.Module],
    *,
    width: int = 64,
    blocks: tuple[str, ...] = ("3", "4", "6", "3"),
    stem: str = "cifar",
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
) -> nn.Module:
    """Bottlenecks with squeeze-and-excitation, a deep stem, pooled links; ResNet-RS-50, its regularisers off.

    `blocks` are those of up to four stages of width, 2 width, ... planes, of four times as many channels. The stem is
    that of ResNet-D, its max-pool a convolution; with `stem=cifar` its two strides are 1 instead of 2, and its
    parameters the same. The last normalisation of each block begins at zero. `dropout` is before the output;
    `stochastic_depth` is the share of samples for which the last block is left out, linearly less before it. The gates
    of squeeze-and-excitation are sigmoids whatever the activation.

    Raises:
        SpecError: inputs that are no images, or an option out of range.

    References:
        Bello et al. 2021, "Revisiting ResNets: improved training and scaling strategies", appendix B, table 11. The
        network is timm's; its squeeze-and-excitation has a quarter of the channels, in multiples of 8.
    """
    from timm.layers.squeeze_excite import SEModule
    from timm.models.resnet import Bottleneck, ResNet
    from torch import nn

    check_images("resnet_rs", input_shape)
    check_positive("resnet_rs", width=width)
    check_choice("resnet_rs", "stem", stem, STEMS)
    check_share("resnet_rs", dropout=dropout, stochastic_depth=stochastic_depth)
    if width % 2:
        raise SpecError(f"resnet_rs needs an even width, half of which its stem begins with, got {width}; add 1")
    layers = read_blocks("resnet_rs", blocks)
    if len(layers) > STAGES or sum(layers) < 2:
        raise SpecError(
            f"resnet_rs needs up to {STAGES} stages and at least 2 blocks in all, got blocks={'|'.join(blocks)}; "
            "write blocks=3|4|6|3"
        )

    def act(**_inplace: bool) -> nn.Module:
        return activation()

    gates = partial(SEModule, rd_ratio=0.25, act_layer=act)  # type: ignore[arg-type]
    settings: dict[str, Any] = {"act_layer": act, "block_args": {"attn_layer": gates}}
    module = ResNet(
        Bottleneck,  # type: ignore[arg-type]
        layers,
        num_classes,
        input_shape[0],
        stem_width=width // 2,
        stem_type="deep",
        replace_stem_pool=True,
        avg_down=True,
        channels=tuple(width << stage for stage in range(len(layers))),
        drop_rate=dropout,
        drop_path_rate=stochastic_depth,
        **settings,
    )
    for stage in range(len(layers), STAGES):  # timm's forward pass calls all four
        module.add_module(f"layer{stage + 1}", nn.Identity())
    if stem == "cifar":
        for layer in (*module.conv1.modules(), *module.maxpool.modules()):
            if isinstance(layer, nn.Conv2d):
                layer.stride = (1, 1)
    return module
