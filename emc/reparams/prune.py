"""Training a part of the weights, the others being zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emc.errors import SpecError, did_you_mean
from emc.reparams import REPARAMS

if TYPE_CHECKING:
    from torch import nn

    from emc.reparams import Wrap

RULES = ("random", "magnitude", "lottery")
SCOPES = ("layer", "global")

#: Steps of a round where none are named.
TRAIN = 2000


@REPARAMS.register("prune", bare="fraction")
def prune(
    *,
    fraction: float,
    rule: str = "random",
    scope: str = "layer",
    train: int | None = None,
    rewind: int | None = None,
    rounds: int | None = None,
) -> Wrap:
    """A `fraction` of the weights is zero from the start and for good; the others, biases and norms are trained.

    Weights are trainable parameters of two or more dimensions. rule=random keeps some at random, magnitude the largest
    of the fresh ones. lottery trains the whole model on the probe's own samples for `train` steps (2,000), keeps the
    largest, and starts the probe from them as they were at step `rewind` (0, the init); with `rounds` (1) it does so
    step by step. These trainings count into the probe's sample-steps and seconds, not into its budget. scope=layer
    takes the same share from every tensor; global from all together, which by magnitude may leave nothing of a layer
    of small fresh weights. Of bits, a mask drawn from the seed is free; a lottery ticket's is not.

    Raises:
        SpecError: an option out of range, or one of the lottery's for another rule.

    References:
        Frankle and Carbin 2019, "The lottery ticket hypothesis". Frankle, Dziugaite, Roy and Carbin 2020, "Linear mode
        connectivity and the lottery ticket hypothesis" (rewinding).
    """
    if not 0 <= fraction < 1:
        raise SpecError(
            f"prune takes fraction from 0 to below 1, got {fraction}; name the share that goes, such as 0.9"
        )
    _check_choice("rule", rule, RULES)
    _check_choice("scope", scope, SCOPES)
    given = {"train": train, "rewind": rewind, "rounds": rounds}
    _check_lottery(rule, given)

    def wrap(module: nn.Module) -> nn.Module:
        from emc.reparams.modules.pruned import Lottery, Pruned, Pruning

        lottery = Lottery(TRAIN if train is None else train, rewind or 0, rounds or 1) if rule == "lottery" else None
        return Pruned(module, Pruning(fraction, rule, scope == "layer", lottery))

    return wrap


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SpecError(
            f"prune takes {name} as one of {', '.join(choices)}, got {value}; {did_you_mean(value, choices)}"
        )


def _check_lottery(rule: str, given: dict[str, int | None]) -> None:
    named = [f"{name}={value}" for name, value in given.items() if value is not None]
    if rule != "lottery" and named:
        raise SpecError(f"only rule=lottery trains before it prunes, got {', '.join(named)} for {rule}; leave it out")
    train, rewind, rounds = given["train"], given["rewind"], given["rounds"]
    steps = TRAIN if train is None else train
    if steps < 1 or not 0 <= (rewind or 0) <= steps or (rounds is not None and rounds < 1):
        raise SpecError(
            f"prune takes train and rounds of at least 1 and rewind from 0 to train, got train={steps}, "
            f"rewind={rewind or 0}, rounds={1 if rounds is None else rounds}"
        )
