"""Small models of the kinds users bring: what torch.func can stack, and what it cannot and why."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

K = 3

Toy = tuple[tuple[int, ...], Callable[[], nn.Module]]


class Residual(nn.Module):
    """Two convolutions, the second behind a link around it, with a normalisation."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(1, 8, 3, padding=1), norm, nn.Conv2d(8, 8, 3, padding=1)
        self.out = nn.Linear(8, K)

    def forward(self, X: Tensor) -> Tensor:
        hidden = functional.relu(self.first(X))
        return self.out((hidden + functional.relu(self.norm(self.second(hidden)))).mean((2, 3)))


class Transformer(nn.Module):
    """One encoder layer over five tokens, with learnt positions."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed, self.position = nn.Linear(4, 8), nn.Parameter(torch.randn(5, 8))
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=dropout, batch_first=True)
        self.out = nn.Linear(8, K)

    def forward(self, X: Tensor) -> Tensor:
        return self.out(self.encoder(self.embed(X) + self.position).mean(1))


class Attention(nn.Module):
    """Self-attention alone, its weights frozen in part."""

    def __init__(self) -> None:
        super().__init__()
        self.attend, self.out = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, K)
        self.attend.in_proj_bias.requires_grad_(False)

    def forward(self, X: Tensor) -> Tensor:
        return self.out(self.attend(X, X, X, need_weights=False)[0].mean(1))


class Branching(nn.Module):
    """Takes one way or the other by what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, K)

    def forward(self, X: Tensor) -> Tensor:
        return self.layer(X) if X.sum() > 0 else -self.layer(X)


class Recalling(nn.Module):
    """Remembers the last batch's mean in an attribute that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.mean = nn.Linear(6, K), torch.zeros(())

    def forward(self, X: Tensor) -> Tensor:
        self.mean = X.detach().mean()
        return self.layer(X)


class Moody(nn.Module):
    """Doubles its logits while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, K)

    def forward(self, X: Tensor) -> Tensor:
        return self.layer(X) * (2 if self.training else 1)


class Secretive(nn.Module):
    """Draws random features that are neither parameters nor buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.layer = torch.randn(6, 6), nn.Linear(6, K)

    def forward(self, X: Tensor) -> Tensor:
        return self.layer(X @ self.features.to(X))


class Noisy(nn.Module):
    """Has a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self._generator = nn.Linear(6, K), torch.Generator().manual_seed(0)

    def forward(self, X: Tensor) -> Tensor:
        return self.layer(X + torch.randn(X.shape, generator=self._generator).to(X))


def unused() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, K))
    module.spare = nn.Parameter(torch.ones(2))
    module.forward = lambda X: module[2](module[1](module[0](X)))  # type: ignore[method-assign]
    return module


def frozen() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, K))
    module[0].requires_grad_(False)
    return module


def tied() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(6, K))


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, K))
    module[0].register_forward_hook(lambda _module, _inputs, output: output * 2)
    return module


class Doubled(nn.Sequential):
    """A Sequential whose forward does more than its layers."""

    def forward(self, X: Tensor) -> Tensor:
        return 2 * super().forward(X)


#: Stacked by torch.func: name -> (input shape, makes a fresh one).
GENERAL: dict[str, Toy] = {
    "residual, group norm": ((1, 6, 6), lambda: Residual(nn.GroupNorm(2, 8))),
    "residual, instance norm": ((1, 6, 6), lambda: Residual(nn.InstanceNorm2d(8, affine=True))),
    "transformer": ((5, 4), Transformer),
    "attention": ((5, 4), Attention),
    "layer norm": (
        (6,),
        lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.SiLU(inplace=True), nn.Linear(5, K)),
    ),
    "dropout of 0": ((6,), lambda: nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.0), nn.Linear(5, K))),
    "flattened late": ((2, 4), lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(10, K))),
    "nested": ((6,), lambda: nn.Sequential(nn.Sequential(nn.Linear(6, K)))),
    "module of one layer": ((6,), lambda: nn.Linear(6, K)),
    "more than its layers": ((6,), lambda: Doubled(nn.Linear(6, K))),
    "orthogonal": ((6,), lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 6)), nn.Linear(6, K))),
    "frozen": ((6,), frozen),
    "tied": ((6,), tied),
    "hooked": ((6,), hooked),
}

#: Not stacked: name -> (input shape, makes a fresh one, why).
OBSTACLES: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module], str]] = {
    "batch norm": ((1, 6, 6), lambda: Residual(nn.BatchNorm2d(8)), "its BatchNorm2d keeps running statistics"),
    "batch norm without statistics": (
        (1, 6, 6),
        lambda: Residual(nn.BatchNorm2d(8, track_running_stats=False)),
        "its output for a sample depends on the rest of the batch",
    ),
    "dropout": ((5, 4), lambda: Transformer(0.1), "it draws random numbers in training mode, as dropout does"),
    "random slope": (
        (6,),
        lambda: nn.Sequential(nn.Linear(6, 5), nn.RReLU(), nn.Linear(5, K)),
        "it draws random numbers in training mode, as dropout does",
    ),
    "own generator": ((6,), Noisy, "two passes over the same batch differ"),
    "control flow": ((6,), Branching, "its control flow depends on the data"),
    "state": ((6,), Recalling, "its Recalling keeps state from one batch to the next"),
    "mode": ((6,), Moody, "it computes something else in training than in evaluation"),
    "hidden randomness": ((6,), Secretive, "stacked it gives other numbers than alone"),
    "unused": ((6,), unused, "some of its parameters get no gradient"),
    "weight norm": (
        (6,),
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, K))),
        "torch.func has no stacked form of aten::_weight_norm",
    ),
    "recurrent": (
        (6,),
        lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), Last(nn.LSTM(3, K, batch_first=True))),
        "torch.func has no stacked form of aten::lstm",
    ),
}


class Last(nn.Module):
    """The last output of a recurrent layer."""

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, X: Tensor) -> Tensor:
        return self.layer(X)[0][:, -1]


def normed_cnn(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """What compiled loops do not know and stacks do not speed up on a CPU."""
    channels, height, width = input_shape
    layers = nn.Conv2d(channels, 2, 3, padding=1), nn.GroupNorm(1, 2), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(2 * height * width, num_classes))
