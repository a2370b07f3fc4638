"""EfficientNet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from emc.errors import SpecError
from emc.models import MODELS
from emc.models.axes import Axis
from emc.models.images import STEMS, check_choice, check_images, check_positive, check_share

if TYPE_CHECKING:
    from torch import nn

#: Table 1: kind, repeats, kernel, stride, expansion, channels and share of squeeze-and-excitation of each stage.
STAGES = (
    "ds_r1_k3_s1_e1_c16_se0.25",
    "ir_r2_k3_s2_e6_c24_se0.25",
    "ir_r2_k5_s2_e6_c40_se0.25",
    "ir_r3_k3_s2_e6_c80_se0.25",
    "ir_r3_k5_s1_e6_c112_se0.25",
    "ir_r4_k5_s2_e6_c192_se0.25",
    "ir_r1_k3_s1_e6_c320_se0.25",
)

#: Channels of each stage, and how many times those of the last the head has.
CHANNELS = (16, 24, 40, 80, 112, 192, 320)
HEAD = 4

#: Equation 3's growth of depth, width and resolution with the compound coefficient.
ALPHA, BETA, GAMMA = 1.2, 1.1, 1.15


#: The most depth makes about 1000 blocks, as deep as other families go.
AXES = (Axis("width", "width"), Axis("depth", "depth", most=60))


@MODELS.register("efficientnet", axes=AXES)
def efficientnet(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    width: float = 1.0,
    depth: float = 1.0,
    resolution: float | None = None,
    phi: float = 0.0,
    stem: str = "cifar",
    stages: int = 7,
    divisor: int = 8,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
) -> nn.Module:
    """Inverted bottlenecks with squeeze-and-excitation and SiLU; B0, its regularisers off.

    Channels grow by width * 1.1^phi, rounded to multiples of `divisor`, repeats of a stage by depth * 1.2^phi, rounded
    up. With `resolution` a number, the inputs' sides are multiplied by resolution * 1.15^phi, bilinearly and inside the
    model; with none, the default, inputs are never resized. B1 is width=1,depth=1.1 and B2 width=1.1,depth=1.2: the
    published multipliers are rounded powers of phi. `stem=cifar` has stride 1 in its first convolution, `stem=imagenet`
    stride 2, with the same parameters. Small models need few of the seven `stages` and a small `divisor`, below which
    no width goes; those within a block stay multiples of 8. The activation is a part of the family. `dropout` and
    `stochastic_depth` are as in `resnet_rs`.

    Raises:
        SpecError: inputs that are no images, or an option out of range.

    References:
        Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks", table 1 and
        section 3.3. The network is timm's.
    """
    from timm.models._efficientnet_blocks import SqueezeExcite
    from timm.models._efficientnet_builder import decode_arch_def, round_channels
    from timm.models.efficientnet import EfficientNet
    from torch import nn

    check_images("efficientnet", input_shape)
    check_positive("efficientnet", width=float(width), depth=float(depth), stages=stages, divisor=divisor)
    check_choice("efficientnet", "stem", stem, STEMS)
    check_share("efficientnet", dropout=dropout, stochastic_depth=stochastic_depth)
    if stages > len(STAGES) or not abs(phi) <= 20:
        raise SpecError(
            f"efficientnet needs stages of at most {len(STAGES)} and phi between -20 and 20, got stages={stages}, "
            f"phi={phi}; lower them"
        )
    rounded = partial(round_channels, multiplier=width * BETA**phi, divisor=divisor)
    module = EfficientNet(
        decode_arch_def([[stage] for stage in STAGES[:stages]], depth * ALPHA**phi),  # type: ignore[no-untyped-call]
        num_classes,
        rounded(HEAD * CHANNELS[stages - 1]),
        input_shape[0],
        round_chs_fn=rounded,
        act_layer=nn.SiLU,
        se_layer=partial(SqueezeExcite, rd_round_fn=_round_gates),
        drop_rate=dropout,
        drop_path_rate=stochastic_depth,
    )
    if stem == "cifar":
        module.conv_stem.stride = (1, 1)
    if resolution is None:
        return module
    check_positive("efficientnet", resolution=float(resolution))
    return _resized(module, input_shape[1:], resolution * GAMMA**phi)


def _round_gates(channels: float) -> int:
    """As timm rounds the hidden channels of squeeze-and-excitation, but to one at least."""
    return max(1, round(channels))


def _resized(module: nn.Module, sides: tuple[int, ...], factor: float) -> nn.Module:
    from torch import nn
    from torchvision.transforms import InterpolationMode, Resize

    size = [max(1, round(side * factor)) for side in sides]
    return nn.Sequential(Resize(size, InterpolationMode.BILINEAR, antialias=True), module)
