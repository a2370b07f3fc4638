"""What a trainer has to know of an optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from emc.errors import SpecError

if TYPE_CHECKING:
    from torch import Tensor, nn, optim


class StackedRule(Protocol):
    """An optimizer's step over S stacked models at once, each with its own learning rate and step count.

    Probes share a stack where their rules are equal, so a rule compares by its options. The whole state is a list of
    tensors whose first dimension is S, so that members can leave and enter a stack.
    """

    def init(self, flat: Tensor) -> list[Tensor]:
        """State for parameters flat: (S, P)."""
        ...

    def step(self, flat: Tensor, grad: Tensor, state: list[Tensor], lr: Tensor) -> None:
        """Update flat: (S, P) in place from grad: (S, P) with lr: (S, 1); must touch no other member's numbers."""
        ...


class UpdateKind(IntEnum):
    """Steps that the compiled trainer knows."""

    MOMENTUM = 0
    ADAM = 1


@dataclass(frozen=True)
class Update:
    """An optimizer's step as numbers, for the compiled trainer.

    With g the gradient, w the parameters, decay the weight decay and lr the rate:
    MOMENTUM (momentum, decay): buffer = momentum * buffer + g + decay * w; w -= lr * buffer.
    ADAM (beta1, beta2, eps, decay, decoupled): `torch.optim.Adam`, or `AdamW` where decoupled is 1.
    """

    kind: UpdateKind
    numbers: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Solution:
    """The weights W of least |A W - T|^2, and what the answer rests on.

    Attributes:
        weights: (D, K) W.
        rank: numerical rank of A.
        largest, smallest: of the singular values of A that count towards the rank; 0 without any.
    """

    weights: Tensor
    rank: int
    largest: float
    smallest: float


@dataclass(frozen=True)
class OptimizerPlan:
    """An optimizer with its options filled in.

    Attributes:
        lr: base learning rate, which the schedule multiplies.
        build: makes the optimizer for one model's parameters.
        full_batch: every step sees all n samples, whatever the batch size.
        closure: one call of `step` does several steps and evaluates the loss itself, as L-BFGS does.
        passes: forward and backward passes over its batch that a step takes; above 1 `step` is called with the first
            gradient in place, and takes a closure that computes it anew where the parameters are by then.
        weight_decay: by which parameters shrink beside what the loss asks for; 0 where they do not.
        rule: the same optimizer for stacked models; None where it cannot be stacked.
        update: the same optimizer for the compiled trainer; None where that does not know it.
        solve: the minimum of the squared loss at once instead of by steps, for models linear in their parameters.
    """

    lr: float
    build: Callable[[Iterable[nn.Parameter]], optim.Optimizer]
    full_batch: bool = False
    closure: bool = False
    passes: int = 1
    weight_decay: float = 0.0
    rule: StackedRule | None = None
    update: Update | None = None
    solve: Callable[[Tensor, Tensor], Solution] | None = None


def check_options(name: str, *, above_zero: dict[str, float], below_one: dict[str, float] | None = None) -> None:
    """Ranges every optimizer shares.

    Raises:
        SpecError: a value of `above_zero` that is not or is infinite, or one of `below_one` outside [0, 1).
    """
    for key, value in above_zero.items():
        if not 0 < value < math.inf:
            raise SpecError(f"optimizer {name} takes {key} above 0 and finite, got {value}")
    for key, value in (below_one or {}).items():
        if not 0 <= value < 1:
            raise SpecError(f"optimizer {name} takes {key} from 0 to below 1, got {value}")


def check_decay(name: str, weight_decay: float) -> None:
    """Weight decay is 0 or more.

    Raises:
        SpecError: it is negative or infinite.
    """
    if not 0 <= weight_decay < math.inf:
        raise SpecError(f"optimizer {name} takes weight_decay of 0 or more and finite, got {weight_decay}")
