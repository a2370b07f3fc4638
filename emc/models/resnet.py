"""Residual networks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from emc.models import MODELS
from emc.models.axes import DEEPEST, Axis
from emc.models.images import (
    NORMS,
    STEMS,
    check_choice,
    check_images,
    check_positive,
    check_share,
    norm_layer,
    read_blocks,
)

if TYPE_CHECKING:
    from torch import nn

BLOCKS = ("basic", "bottleneck")


AXES = (Axis("width", "width"), Axis("blocks", "depth", most=DEEPEST))


@MODELS.register("resnet", activation=True, axes=AXES)
def resnet(
    input_shape: tuple[int, ...],
    num_classes: int,
    activation: Callable[[], nn.Module],
    *,
    width: int = 64,
    blocks: tuple[str, ...] = ("2", "2", "2", "2"),
    block: str = "basic",
    norm: str = "batch",
    stem: str = "cifar",
    dropout: float = 0.0,
) -> nn.Module:
    """Stages of `blocks` residual blocks, of width, 2 width, 4 width, ... channels, pooled, output; ResNet-18.

    Each stage but the first halves the map. `stem=cifar` is one 3x3 convolution, `stem=imagenet` a 7x7 one and a
    max-pool that halve the map each. blocks=3|4|6|3 is ResNet-34, with block=bottleneck ResNet-50; width=16,
    blocks=3|3|3 has the shape of the CIFAR ResNet-20, whose links have projections here. norm=none trades the
    normalisations for biases. A map of 1x1 uses one of the nine taps of a 3x3 kernel: images of 8x8 pixels are such in
    the fourth stage, and fewer stages waste no parameters on them. `dropout` is before the output.

    Raises:
        SpecError: inputs that are no images, or an option out of range.

    References:
        He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", table 1 and section 4.2. The blocks
        are timm's, whose bottleneck strides in its 3x3 convolution, as torchvision's.
    """
    from torch import nn

    check_images("resnet", input_shape)
    check_positive("resnet", width=width)
    check_choice("resnet", "block", block, BLOCKS)
    check_choice("resnet", "norm", norm, NORMS)
    check_choice("resnet", "stem", stem, STEMS)
    check_share("resnet", dropout=dropout)
    make_norm = norm_layer(norm)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if stem == "cifar":
        layers["conv1"] = nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False)
    else:
        layers["conv1"] = nn.Conv2d(input_shape[0], width, 7, stride=2, padding=3, bias=False)
    layers["bn1"], layers["act1"] = make_norm(width), activation()
    if stem == "imagenet":
        layers["maxpool"] = nn.MaxPool2d(3, stride=2, padding=1)
    channels = width
    for stage, number in enumerate(read_blocks("resnet", blocks)):
        planes, stride = width << stage, 1 if stage == 0 else 2
        layers[f"layer{stage + 1}"], channels = _stage(block, channels, planes, number, stride, make_norm, activation)
    layers["pool"], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    if dropout > 0:
        layers["dropout"] = nn.Dropout(dropout)
    layers["fc"] = nn.Linear(channels, num_classes)
    module = nn.Sequential(layers)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return module


def _stage(
    block: str,
    channels: int,
    planes: int,
    number: int,
    stride: int,
    make_norm: Callable[..., nn.Module],
    activation: Callable[[], nn.Module],
) -> tuple[nn.Module, int]:
    """`number` blocks of `planes` channels, the first with a stride; and the channels it ends with."""
    from timm.models.resnet import BasicBlock, Bottleneck, downsample_conv
    from torch import nn

    kind: Any = BasicBlock if block == "basic" else Bottleneck
    wide = planes * kind.expansion
    link = None
    if stride != 1 or channels != wide:
        link = downsample_conv(channels, wide, 1, stride, norm_layer=make_norm)  # type: ignore[arg-type]

    def act(**_inplace: bool) -> nn.Module:
        return activation()

    made = [kind(channels, planes, stride, link, act_layer=act, norm_layer=make_norm)]
    made += [kind(wide, planes, act_layer=act, norm_layer=make_norm) for _ in range(number - 1)]
    return nn.Sequential(*made), wide
