"""Probes whose training is one least-squares problem, solved instead of descended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from emc.errors import SpecError
from emc.optimizers.plan import Solution
from emc.reparams.modules.wrapped import Wrapped
from emc.results import Evidence, ProbeResult, RunningProbe, Verdict
from emc.specs import Probe
from emc.training.counting import count, estimate_batch_norm
from emc.training.evidence import conflict, looked_at
from emc.training.failing import Outcome, raised
from emc.training.losses import Loss, one_hot
from emc.training.setup import Setup, Setups, setup_of
from emc.training.waiting import Waiting


class DirectTrainer:
    """Solves the probes it was given one after the other, in float64 whatever `precision` says.

    Args:
        setups: what trains; probes whose optimizer solves nothing are for another trainer.
    """

    name = "direct"

    def __init__(self, setups: Setups) -> None:
        self._setups = setups
        self._waiting = Waiting()

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; see `Executor.add`."""
        if setup_of(self._setups, probe).plan.solve is None:
            raise RuntimeError("the optimizer solves nothing")
        self._waiting.add(probe, ahead=ahead)

    def drop(self, probe: Probe) -> None:
        """Forget a probe; none is ever under way between two calls."""
        self._waiting.remove(probe)

    def running(self) -> list[RunningProbe]:
        """None: a probe is solved within one call."""
        return []

    def room(self) -> int:
        """One probe, if none waits."""
        return 0 if self._waiting else 1

    def wants(self) -> int:
        """One to solve and one that waits; see `Executor.wants`."""
        return max(0, 2 - len(self._waiting))

    def save(self) -> None:
        """Nothing is ever under way between two calls; see `Executor.save`."""

    def close(self) -> None:
        """Let go of all probes."""
        self._waiting.clear()

    def advance(self) -> list[Outcome]:
        """Solve the next probe."""
        if not self._waiting:
            return []
        probe = self._waiting.take()
        try:
            return [self._solve(probe)]
        except Exception as error:  # whatever a user's own module may raise
            return [raised(probe, error)]

    def _solve(self, probe: Probe) -> ProbeResult:
        setup = setup_of(self._setups, probe)
        known = conflict(setup, probe)
        if known is not None:
            return known
        assert setup.plan.solve is not None
        return solve_probe(setup, probe, setup.plan.solve)


def solve_probe(setup: Setup, probe: Probe, solve: Callable[[Tensor, Tensor], Solution]) -> ProbeResult:
    """Solve one probe; where it failed, its evidence.

    The squared loss is convex in the weights and was solved, so that a failure is at the procedure's own end:
    `minimum`. Where a loss above the criterion's bound is asked about, and the features A have full column rank, no
    weights can do better: for the residual R found and any change D of the weights
    |R - A D|^2 >= |R|^2 - 2 |A'R| |D| + s^2 |D|^2 >= |R|^2 - |A'R|^2 / s^2 with s the smallest singular value of A,
    which is computed by direct multiplication. If that exceeds the bound the failure is `infeasible` for the frozen
    features drawn.
    """
    started = time.perf_counter()
    X, y = setup.samples(probe).first(probe.n)
    X, index = X.double(), torch.arange(len(X), device=X.device)
    module = setup.fresh_model(probe).double()
    estimate_batch_norm(module, X, index)
    layer = output_layer(module)
    features, logits = _seen(module.eval(), layer, X)
    A = features if layer.bias is None else torch.cat([features, features.new_ones(len(X), 1)], dim=1)
    T = one_hot(logits, y)
    found = solve(A, T)
    _write(layer, found.weights)
    correct, loss = count(module, X, index, y, Loss("squared"))
    least = _least_loss(A, T, found)
    goal = setup.loss_goal
    fitted = correct == probe.n if goal is None else loss <= goal
    proved = goal is not None and least is not None and least > goal
    detail: dict[str, Any] = {
        "stop": "solved",
        "rank": found.rank,
        "features": A.shape[1],
        "condition": found.largest / found.smallest if found.smallest > 0 else None,
        "least_loss_proved": least,
        "solved_in": "float64",
        **looked_at(setup, probe, module),
    }
    return ProbeResult(
        key=probe.key,
        n=probe.n,
        replicate=probe.replicate,
        attempt=probe.attempt,
        verdict=Verdict.FITTED if fitted else Verdict.NOT_FITTED,
        evidence=None if fitted else Evidence.INFEASIBLE if proved else Evidence.MINIMUM,
        correct=correct,
        loss=loss,
        steps=1,
        sample_steps=probe.n,
        seconds=time.perf_counter() - started,
        detail=detail,
    )


def _least_loss(A: Tensor, T: Tensor, found: Solution) -> float | None:
    """What no weights can go below, by direct multiplication; None without full column rank."""
    if found.rank < A.shape[1] or found.smallest == 0:
        return None
    residual = T - A @ found.weights
    slack = float((A.T @ residual).square().sum()) / found.smallest**2
    return max(0.0, float(residual.square().sum()) - slack) / len(A)


@torch.no_grad()
def _seen(module: nn.Module, layer: nn.Linear, X: Tensor) -> tuple[Tensor, Tensor]:
    """What the output layer sees of the inputs, and the model's logits."""
    seen: list[tuple[Tensor, Tensor]] = []
    handle = layer.register_forward_hook(lambda _layer, inputs, output: seen.append((inputs[0], output)))
    try:
        logits = module(X)
    finally:
        handle.remove()
    if len(seen) != 1 or not torch.equal(seen[0][1], logits):
        raise _not_linear("one whose output is not that of its trainable layer")
    return seen[0][0], logits


@torch.no_grad()
def _write(layer: nn.Linear, weights: Tensor) -> None:
    """Set a layer to solved weights: (features, K), the bias in the last row where there is one."""
    if layer.bias is not None:
        weights, bias = weights[:-1], weights[-1]
        layer.bias.copy_(bias)
    layer.weight.copy_(weights.T)


def output_layer(module: nn.Module) -> nn.Linear:
    """The one trainable layer of a model that is linear in its trainable parameters.

    Raises:
        SpecError: the model has another trainable layer, or none of this kind.
    """
    if isinstance(module, Wrapped):
        raise _not_linear("a reparameterised one")
    layers = [part for part in module.modules() if any(p.requires_grad for p in part.parameters(recurse=False))]
    layer = layers[0] if layers else None
    if len(layers) > 1:
        raise _not_linear(f"{len(layers)} trainable layers")
    if type(layer) is not nn.Linear or not all(p.requires_grad for p in layer.parameters()):
        frozen = " with frozen parameters" if type(layer) is nn.Linear else ""
        raise _not_linear(f"{type(layer).__name__}{frozen}")
    return layer


def check_direct(module: nn.Module, input_shape: tuple[int, ...]) -> None:
    """Refuse a model that least squares cannot solve, before anything is trained.

    Raises:
        SpecError: its only trainable layer is not an `nn.Linear` whose output is the model's.
    """
    _seen(module.eval(), output_layer(module), torch.zeros(2, *input_shape))


def _not_linear(received: str) -> SpecError:
    return SpecError(
        "an optimizer that solves directly needs a model whose only trainable layer is an nn.Linear at its end, "
        f"got {received}; use --model linear or random_features, or another optimizer"
    )
