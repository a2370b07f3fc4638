"""One probe of anything, one at a time, by PyTorch's own modules and optimizers: the reference for every trainer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from emc.reparams.modules.wrapped import Kept, Wrapped
from emc.results import ProbeResult, RunningProbe
from emc.seeds import dropout_seed
from emc.specs import Probe
from emc.training.checkpoints import Checkpoints, State, held_beside, resumed
from emc.training.counting import count
from emc.training.evidence import conclude, conflict
from emc.training.failing import Outcome, check_time, raised
from emc.training.layout import input_format
from emc.training.losses import loss_of
from emc.training.run import ProbeRun
from emc.training.setup import Setup, Setups, setup_of
from emc.training.waiting import Waiting

if TYPE_CHECKING:
    from torch import Tensor, nn


class SingleTrainer:
    """Trains the probes it was given one after the other.

    Args:
        setups: what trains.
        checkpoints: where trainings are kept; None keeps none.
        timeout_s: seconds charged after which a training is broken off, between two counts.
    """

    name = "single"

    def __init__(self, setups: Setups, checkpoints: Checkpoints | None = None, timeout_s: float | None = None) -> None:
        self._setups, self._checkpoints, self._timeout_s = setups, checkpoints, timeout_s
        self._waiting = Waiting()
        self._current: _Training | None = None
        self._formats: dict[Setup, torch.memory_format] = {}

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; see `Executor.add`."""
        if self._current is None or self._current.run.probe != probe:
            self._waiting.add(probe, ahead=ahead)

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; how far it was, if it was under way."""
        if self._current is not None and self._current.run.probe == probe:
            found = self._current.run.status()
            if self._current.file is not None:
                self._current.file.discard()
            self._current = None
            return found
        self._waiting.remove(probe)
        return None

    def running(self) -> list[RunningProbe]:
        """The training under way."""
        return [] if self._current is None else [self._current.run.status()]

    def room(self) -> int:
        """One probe, if nothing is under way or waits."""
        return 0 if self._current is not None or self._waiting else 1

    def wants(self) -> int:
        """One to train and one that waits; see `Executor.wants`."""
        return max(0, 2 - len(self.running()) - len(self._waiting))

    def save(self) -> None:
        """Keep the training under way; see `Executor.save`."""
        if self._current is not None:
            self._current.save()

    def close(self) -> None:
        """Let go of all probes."""
        self._waiting.clear()
        self._current = None

    def advance(self) -> list[Outcome]:
        """Train up to the next exact count; the verdict if that ended a probe, or the failure."""
        if self._current is None and not self._waiting:
            return []
        probe = self._waiting.take() if self._current is None else self._current.run.probe
        try:
            outcome: Outcome | None = self._train(probe)
        except Exception as error:  # whatever a user's own module may raise
            outcome = raised(probe, error)
        if outcome is None:
            return []
        self._current = None
        return [outcome]

    def _train(self, probe: Probe) -> ProbeResult | None:
        if self._current is None:
            setup = setup_of(self._setups, probe)
            known = conflict(setup, probe)
            if known is not None:
                return known
            if setup not in self._formats:
                self._formats[setup] = input_format(setup)
            make = partial(_Training, setup, probe, self._formats[setup], self._checkpoints)
            self._current = resumed(make)
        current = self._current
        result = current.advance()
        if result is None:
            if current.file is not None and current.file.due(counted=True):
                current.save()
            check_time(probe, current.run.seconds, self._timeout_s)
        return result


class _Training:
    """One model in training."""

    def __init__(
        self,
        setup: Setup,
        probe: Probe,
        memory_format: torch.memory_format,
        checkpoints: Checkpoints | None,
        module: nn.Module | None = None,
    ) -> None:
        self._setup = setup
        self._format = memory_format
        self.run = ProbeRun(setup, probe)
        samples = setup.samples(probe)
        self._store, self._index = samples.store(probe.n) if setup.plan.closure else samples.inputs(probe.n)
        self._y = samples.labels(probe.n)
        self._loss, self._clip_norm, self._augment = setup.loss, setup.procedure.clip_norm, setup.augment()
        self._module = (setup.fresh_model(probe) if module is None else module).train()
        self._optimizer = self._make_optimizer()
        self._generators: list[Tensor] | None = None
        self._at_rest = True
        self.file = None if checkpoints is None else checkpoints.of(self.run, SingleTrainer.name)
        self._beside = None if self.file is None else held_beside(self._module)

    def save(self) -> None:
        """Keep where it is, between two counts; a training that was interrupted between them is not kept."""
        if self.file is not None and self._at_rest and self.run.steps > 0:
            self.file.save(self._state)

    def _state(self) -> State:
        if self._beside is None or held_beside(self._module) != self._beside:
            raise ValueError("the model must keep nothing but parameters and buffers from one step to the next")
        tensors = dict(self._tensors())
        optimizer = self._optimizer.state_dict()
        return {"run": self.run.state(), "model": tensors, "optimizer": optimizer, "generators": self._generators}

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All that the model holds, buffers that are not saved with it included."""
        yield from self._module.named_parameters()
        yield from self._module.named_buffers()

    @torch.no_grad()
    def load_state(self, state: State) -> None:
        """Go on from a state that `save` wrote."""
        self.run.load_state(state["run"])
        for name, tensor in self._tensors():
            tensor.copy_(state["model"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generators = state["generators"]

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """PyTorch's global generators as this training left them; afterwards as they were."""
        cuda = self._index.device if self._index.device.type == "cuda" else None
        with torch.random.fork_rng(devices=[] if cuda is None else [cuda]):
            if self._generators is None:
                probe = self.run.probe
                torch.manual_seed(dropout_seed(self._setup.seed, probe.n, probe.replicate, probe.attempt))
            else:
                torch.set_rng_state(self._generators[0])
                if cuda is not None:
                    torch.cuda.set_rng_state(self._generators[1], cuda)
            yield
            self._generators = [torch.get_rng_state()]
            if cuda is not None:
                self._generators.append(torch.cuda.get_rng_state(cuda))

    def _make_optimizer(self) -> torch.optim.Optimizer:
        trainable = [p for p in self._module.parameters() if p.requires_grad]
        return self._setup.plan.build(trainable)

    def advance(self) -> ProbeResult | None:
        self._at_rest = False
        result = self._advance()
        self._at_rest = result is None
        return result

    def _advance(self) -> ProbeResult | None:
        started = time.perf_counter()
        run = self.run
        if run.steps == 0 and isinstance(self._module, Wrapped) and self._module.steps_before:
            self._module.prepare(self._train_before)
        self._steps_and_count(min(run.check_every, run.budget - run.steps))
        run.seconds += time.perf_counter() - started
        return None if run.stop is None else self._conclude()

    def _train_before(self, module: nn.Module, steps: int, step: int) -> Kept:
        """Train a module as this probe is trained, whatever its counts say; what it held after a step."""
        training = _Training(self._setup, self.run.probe, self._format, None, module)
        kept: Kept = {}
        while True:
            if training.run.steps == step:
                kept = {name: tensor.detach().clone() for name, tensor in training._tensors()}
            ends = [end for end in (step, steps) if end > training.run.steps]
            if not ends:
                break
            training._steps_and_count(min(training.run.check_every, min(ends) - training.run.steps))
        self.run.sample_steps += training.run.sample_steps
        return kept

    def _steps_and_count(self, steps: int) -> None:
        """Optimizer steps, then the exact count, which sets the next learning rate."""
        run = self.run
        before = run.loss
        for group in self._optimizer.param_groups:
            group["lr"] = self._setup.plan.lr * run.multiplier
        with self._own_randomness():
            if self._setup.plan.closure:
                self._closure_steps(steps)
            else:
                self._steps(steps)
        correct, loss = count(self._module, self._store, self._index, self._y, self._loss)
        run.count(correct, loss)
        if self._setup.plan.closure and not loss < before:
            self._optimizer = self._make_optimizer()  # a curvature memory that no longer descends is started over

    def _conclude(self) -> ProbeResult | None:
        result = conclude(self._setup, self.run, self._module)
        if result is None and self._setup.plan.closure:
            self._optimizer = self._make_optimizer()  # a curvature memory pairs gradients with steps, not with jumps
        return result

    def _steps(self, steps: int) -> None:
        positions = self.run.batches.take(steps).to(self._index.device)
        passes = self._setup.plan.passes
        for batch in positions:
            gradient = partial(self._gradient, self._inputs(batch), self._y[batch])
            gradient()
            if passes > 1:
                self._optimizer.step(gradient)
            else:
                self._optimizer.step()
        self.run.did(steps)
        self.run.sample_steps += (passes - 1) * steps * self.run.batch_size

    def _inputs(self, batch: Tensor) -> Tensor:
        X = self._store.index_select(0, self._index[batch])
        if self._augment is not None:
            X = self._augment(X)
        if self._format is not torch.contiguous_format:
            X = X.clone(memory_format=self._format)
        return X

    def _gradient(self, X: Tensor, y: Tensor) -> float:
        """The batch's gradient, clipped, into the parameters; what it returns is not read."""
        self._optimizer.zero_grad()
        loss_of(self._loss, self._module(X), y).backward()  # type: ignore[no-untyped-call]
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._module.parameters(), self._clip_norm)
        return 0.0

    def _closure_steps(self, steps: int) -> None:
        X, y = self._store.index_select(0, self._index), self._y
        evaluations = 0

        def closure() -> Tensor:
            nonlocal evaluations
            evaluations += 1
            self._optimizer.zero_grad()
            loss = loss_of(self._loss, self._module(X), y)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.detach()

        per_call = self._optimizer.param_groups[0]["max_iter"]
        for _ in range(max(1, steps // per_call)):
            self._optimizer.step(closure)  # type: ignore[arg-type]
        self.run.did(steps)
        self.run.sample_steps += (evaluations - steps) * self.run.n
