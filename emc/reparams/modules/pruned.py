"""A model most of whose weights are zero for good."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emc.errors import SpecError
from emc.reparams.modules.wrapped import Kept, Train, Wrapped, freeze, split_like, trained_names


@dataclass(frozen=True)
class Lottery:
    """How a ticket is found.

    Attributes:
        train: optimizer steps of each round.
        rewind: the step of the first round whose weights the ticket starts from.
        rounds: of training and pruning.
    """

    train: int
    rewind: int
    rounds: int


@dataclass(frozen=True)
class Pruning:
    """Which weights stay.

    Attributes:
        fraction: of the weights that go.
        rule: "random", "magnitude" (of the fresh weights), or "lottery" (of trained ones).
        by_layer: the share goes from each tensor by itself, which keeps at least one weight, else from all together.
        lottery: how a ticket is found, by that rule.
    """

    fraction: float
    rule: str
    by_layer: bool
    lottery: Lottery | None = None


class Pruned(Wrapped):
    """Weights: zeros, but for those at some positions, which are trained.

    Weights are the trainable parameters of two or more dimensions; biases and norms are trained as they are. The
    positions count through all weights in one row. Rows of zeros are made anew at each call, so that nothing can move
    them; the frozen weights of the model keep its init.

    Args:
        inner: the model.
        pruning: which weights stay.

    Raises:
        SpecError: the model has no weights.

    References:
        Frankle and Carbin 2019, "The lottery ticket hypothesis: finding sparse, trainable neural networks". Frankle,
        Dziugaite, Roy and Carbin 2020, "Linear mode connectivity and the lottery ticket hypothesis" (rewinding).
    """

    positions: Tensor

    def __init__(self, inner: nn.Module, pruning: Pruning) -> None:
        super().__init__(inner)
        self._pruning = pruning
        parameters = dict(inner.named_parameters())
        self._names = tuple(name for name in trained_names(inner) if parameters[name].dim() >= 2)
        if not self._names:
            raise SpecError("prune needs a model with trainable weights of two or more dimensions, got none")
        freeze(inner, self._names)
        row = self._row(parameters)
        if pruning.rule == "random":
            order = torch.rand(len(row))
            self.register_buffer("positions", self._largest(order, pruning.fraction))
        else:
            self.register_buffer("positions", self._largest(row.abs(), pruning.fraction))
        self.kept = nn.Parameter(row[self.positions])
        lottery = pruning.lottery
        self.steps_before = 0 if lottery is None else lottery.train * lottery.rounds

    def _weights(self) -> list[Tensor]:
        parameters = dict(self.inner.named_parameters())
        return [parameters[name] for name in self._names]

    def _row(self, tensors: Kept | dict[str, nn.Parameter]) -> Tensor:
        """The weights among a model's tensors, one after the other."""
        return torch.cat([tensors[name].detach().reshape(-1) for name in self._names])

    def _largest(self, scores: Tensor, fraction: float) -> Tensor:
        """Positions of the highest scores that stay, ascending; of equal scores the first."""
        found, start = [], 0
        for part, count in zip(torch.split(scores, self._groups()), self._counts(fraction), strict=True):
            found.append(start + part.argsort(descending=True, stable=True)[:count])
            start += len(part)
        return torch.cat(found).sort().values

    def _groups(self) -> list[int]:
        """Sizes of what loses its share by itself."""
        sizes = [tensor.numel() for tensor in self._weights()]
        return sizes if self._pruning.by_layer else [sum(sizes)]

    def _counts(self, fraction: float) -> list[int]:
        """Weights that stay in each of the groups, at least one."""
        return [max(1, size - round(fraction * size)) for size in self._groups()]

    def tensors(self) -> dict[str, Tensor]:
        """The weights with their zeros, by name."""
        weights = self._weights()
        row = self.kept.new_zeros(sum(weight.numel() for weight in weights)).scatter(0, self.positions, self.kept)
        return dict(zip(self._names, split_like(row, weights), strict=True))

    def prepare(self, train: Train) -> None:
        """Find the ticket: train, drop the smallest magnitudes and rewind, round by round.

        The first round trains the whole model; what it held at step `rewind` is where every ticket starts. Biases and
        norms are rewound too.
        """
        lottery = self._pruning.lottery
        if lottery is None:
            return
        dense = copy.deepcopy(self.inner)
        parameters = dict(dense.named_parameters())
        for name in self._names:
            parameters[name].requires_grad_()
        start = train(dense, lottery.train, lottery.rewind)
        scores = self._row(parameters).abs()
        for number in range(1, lottery.rounds):
            ticket = self._ticket(start, scores, 1 - (1 - self._pruning.fraction) ** (number / lottery.rounds))
            train(ticket, lottery.train, 0)
            scores = torch.full_like(scores, -1.0).scatter(0, ticket.positions, ticket.kept.detach().abs())
        self._start(start, self._largest(scores, self._pruning.fraction))

    def _ticket(self, start: Kept, scores: Tensor, fraction: float) -> Pruned:
        """A model like this one with a fraction of its weights gone."""
        ticket, positions = copy.deepcopy(self), self._largest(scores, fraction)
        ticket.positions, ticket.kept = torch.empty_like(positions), nn.Parameter(self.kept.new_empty(len(positions)))
        ticket._start(start, positions)
        return ticket

    @torch.no_grad()
    def _start(self, start: Kept, positions: Tensor) -> None:
        """Take as many other positions, and what a model held as the weights to start from."""
        self.positions.copy_(positions)
        self.kept.copy_(self._row(start)[positions])
        held = dict(self.inner.named_parameters()) | dict(self.inner.named_buffers())
        for name, tensor in held.items():
            if name not in self._names:
                tensor.copy_(start[name])

    def num_zeros(self) -> int:
        """The weights that went."""
        return sum(weight.numel() for weight in self._weights()) - len(self.positions)

    def bits(self, width: int) -> int:
        """Bits of what is trained; where the mask is found by training, also those that tell it from others."""
        return super().bits(width) + (math.ceil(self._mask_bits()) if self._pruning.rule == "lottery" else 0)

    def _mask_bits(self) -> float:
        """log2 of the number of masks with as many weights (in each tensor, where that is given)."""
        return sum(map(_log2_choices, self._groups(), self._counts(self._pruning.fraction)))

    def extra_repr(self) -> str:
        """What tells it from others."""
        return f"{len(self.positions)}, {self._pruning}"


def _log2_choices(size: int, count: int) -> float:
    """log2 of the binomial coefficient."""
    return (math.lgamma(size + 1) - math.lgamma(count + 1) - math.lgamma(size - count + 1)) / math.log(2)
