"""The pre-activation ResNet18 of "Deep double descent"."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emc.models import MODELS
from emc.models.axes import Axis
from emc.models.images import NORMS, check_choice, check_images, check_positive, norm_layer

if TYPE_CHECKING:
    from torch import Tensor, nn


@MODELS.register("resnet18k", activation=True, axes=(Axis("width", "width"),))
def resnet18k(
    input_shape: tuple[int, ...],
    num_classes: int,
    activation: Callable[[], nn.Module],
    *,
    width: int = 64,
    norm: str = "batch",
) -> nn.Module:
    """A 3x3 convolution, four stages of two pre-activation blocks of k, 2k, 4k, 8k kernels, average pool, output.

    With 3 channels, 10 classes and norm=batch it has 2724 k^2 + 213 k + 10 parameters. Nothing normalises the last
    block's output, as in the paper's code. Images of other sizes than its 32x32 are pooled over all that is left of
    them. norm=none trades the normalisations for biases.

    Raises:
        SpecError: inputs that are no images, or an option out of range.

    References:
        Nakkiran, Kaplun, Bansal, Yang, Barak and Sutskever 2019, "Deep double descent: where bigger models and more
        data hurt", appendix B.1. He, Zhang, Ren and Sun 2016, "Identity mappings in deep residual networks".
    """
    from torch import nn

    check_images("resnet18k", input_shape)
    check_positive("resnet18k", width=width)
    check_choice("resnet18k", "norm", norm, NORMS)
    make_norm = norm_layer(norm)
    layers: list[nn.Module] = [nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False)]
    channels = width
    for stage in range(4):
        wide = width << stage
        layers.append(_make_block(channels, wide, 1 if stage == 0 else 2, make_norm, activation))
        layers.append(_make_block(wide, wide, 1, make_norm, activation))
        channels = wide
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


def _make_block(
    channels: int, wide: int, stride: int, make_norm: Callable[..., nn.Module], activation: Callable[[], nn.Module]
) -> nn.Module:
    from torch import nn

    class PreActivationBlock(nn.Module):
        """(n, channels, h, w) -> (n, wide, h / stride, w / stride)."""

        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.act1 = make_norm(channels), activation()
            self.conv1 = nn.Conv2d(channels, wide, 3, stride, 1, bias=False)
            self.norm2, self.act2 = make_norm(wide), activation()
            self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
            same = stride == 1 and channels == wide
            self.link = None if same else nn.Conv2d(channels, wide, 1, stride, bias=False)

        def forward(self, X: Tensor) -> Tensor:
            active = self.act1(self.norm1(X))
            changed: Tensor = self.conv2(self.act2(self.norm2(self.conv1(active))))
            return changed + (X if self.link is None else self.link(active))

    return PreActivationBlock()
