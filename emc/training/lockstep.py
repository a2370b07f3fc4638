"""Many probes trained as stacked models, each with its own samples, learning rate, budget and stopping."""

from __future__ import annotations

import math
import time
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from emc.optimizers.plan import StackedRule
from emc.results import ProbeResult, RunningProbe
from emc.specs import Probe
from emc.training.counting import CHUNK, is_right
from emc.training.evidence import conclude, conflict
from emc.training.losses import loss_of
from emc.training.run import ProbeRun
from emc.training.setup import Setup, Setups, all_setups, setup_of
from emc.training.stacking import StackedModel
from emc.training.waiting import Waiting

#: Settings that each member of a stack has for itself; any other one must be equal within a stack.
OWN = frozenset(
    {"optimizer", "schedule", "batch_size", "min_steps", "max_epochs", "check_epochs", "stall_share", "stall_tolerance"}
    | {"polish_steps", "polish_tolerance", "gradient_tolerance", "certify", "curvature_tolerance", "escape"}
)


def _kind(setup: Setup) -> tuple[Any, ...]:
    """What the members of a stack have in common, their batch size apart."""
    procedure = {item.name: getattr(setup.procedure, item.name) for item in fields(setup.procedure)}
    shared = {name: value for name, value in procedure.items() if name not in OWN}
    pool = setup.pool
    return shared, setup.plan.rule, setup.architecture, pool.dataset.facts.shape, pool.device, pool.dtype


class LockstepTrainer:
    """Trains up to `limit` probes at once; those that can share a stack do, whatever measurement they belong to.

    A finished probe leaves its stack at once and the next one waiting enters. Out of GPU memory, the limit is halved
    and the probes under way start over: a probe is a function of its key, so nothing but time is lost.

    Args:
        setups: what trains; probes whose optimizer has no stacked rule are for another trainer.
        limit: probes under way at once, at most.
    """

    name = "lockstep"

    def __init__(self, setups: Setups, limit: int) -> None:
        self._setups = setups
        self._limit = limit
        self._waiting = Waiting()
        self._stacks: list[Stack] = []

    def add(self, probe: Probe, *, ahead: bool = False) -> None:
        """Take a probe in; see `Executor.add`."""
        if setup_of(self._setups, probe).plan.rule is None:
            raise RuntimeError("the optimizer has no stacked rule")
        if not any(run.probe == probe for stack in self._stacks for run in stack.runs):
            self._waiting.add(probe, ahead=ahead)

    def drop(self, probe: Probe) -> RunningProbe | None:
        """Forget a probe; how far it was, if it was under way."""
        self._waiting.remove(probe)
        found = None
        for stack in self._stacks:
            members = [i for i, run in enumerate(stack.runs) if run.probe == probe]
            found = stack.runs[members[0]].status() if members else found
            stack.leave(members)
        self._stacks = [stack for stack in self._stacks if stack.runs]
        return found

    def running(self) -> list[RunningProbe]:
        """The trainings under way."""
        return [run.status() for stack in self._stacks for run in stack.runs]

    def room(self) -> int:
        """Probes that could start now; on a CPU every member adds its work, so that only an idle one has room."""
        setups = all_setups(self._setups)
        limit = self._limit if all(setup.pool.device.type == "cuda" for setup in setups) else 1
        return max(0, limit - len(self._waiting) - sum(len(stack.runs) for stack in self._stacks))

    def close(self) -> None:
        """Let go of all probes."""
        self._waiting.clear()
        self._stacks.clear()

    def advance(self) -> list[ProbeResult]:
        """Train every probe under way for one tick; the verdicts of those that ended."""
        results = self._fill()
        for stack in self._stacks:
            try:
                results += stack.advance()
            except torch.cuda.OutOfMemoryError:
                self._split()
                return results
        self._stacks = [stack for stack in self._stacks if stack.runs]
        return results

    def _fill(self) -> list[ProbeResult]:
        """Let waiting probes enter; those that no training can fit have their verdict at once."""
        known: list[ProbeResult] = []
        entering: list[ProbeRun] = []
        room = self._limit - sum(len(stack.runs) for stack in self._stacks)
        while self._waiting and room > 0:
            probe = self._waiting.take()
            setup = setup_of(self._setups, probe)
            verdict = conflict(setup, probe)
            if verdict is not None:
                known.append(verdict)
                continue
            entering.append(ProbeRun(setup, probe))
            room -= 1
        self._enter(entering)
        return known

    def _enter(self, runs: list[ProbeRun]) -> None:
        """Let runs enter a stack that suits each, all those of one stack at once."""
        while runs:
            first = runs[0]
            stack = next((stack for stack in self._stacks if stack.suits(first)), None)
            if stack is None:
                stack = Stack(first.setup, first.batch_size)
                self._stacks.append(stack)
            suited = [stack.suits(run) for run in runs]
            stack.enter([run for run, suits in zip(runs, suited, strict=True) if suits])
            runs = [run for run, suits in zip(runs, suited, strict=True) if not suits]

    def _split(self) -> None:
        if self._limit == 1:
            raise torch.cuda.OutOfMemoryError("one training alone does not fit into the GPU's memory")
        under_way = [run.probe for stack in self._stacks for run in stack.runs]
        self._stacks.clear()
        torch.cuda.empty_cache()
        self._limit = max(1, min(self._limit, len(under_way)) // 2)
        self._waiting.put_back(under_way)


class Stack:
    """Probes of one architecture, optimizer and batch size, whose models are trained as one.

    Args:
        setup: of the first member.
        batch_size: of every member.

    Attributes:
        runs: the members, in the order of the buffers' rows.
    """

    def __init__(self, setup: Setup, batch_size: int) -> None:
        if setup.plan.rule is None:
            raise RuntimeError("the optimizer has no stacked rule")
        self.runs: list[ProbeRun] = []
        self._rule: StackedRule = setup.plan.rule
        self._kind, self._batch_size = _kind(setup), batch_size
        self._tick, self._loss = setup.procedure.check_steps, setup.procedure.loss
        self._model = StackedModel(setup.make_model())
        device, dtype = setup.pool.device, setup.pool.dtype
        self._flat = torch.empty(0, self._model.num_parameters, device=device, dtype=dtype)
        self._state = self._rule.init(self._flat)
        self._arrange()

    def suits(self, run: ProbeRun) -> bool:
        """Whether a probe can be a member."""
        return run.batch_size == self._batch_size and _kind(run.setup) == self._kind

    def enter(self, runs: list[ProbeRun]) -> None:
        """Add freshly initialised members."""
        rows = [self._model.row(run.setup.fresh_model(run.probe)) for run in runs]
        new = torch.stack(rows)
        self._flat = torch.cat([self._flat, new])
        self._state = [torch.cat(pair) for pair in zip(self._state, self._rule.init(new), strict=True)]
        self.runs += runs
        self._arrange()

    def leave(self, members: list[int]) -> None:
        """Remove members by their place."""
        if not members:
            return
        stay = [i for i in range(len(self.runs)) if i not in members]
        index = torch.tensor(stay, dtype=torch.int64, device=self._flat.device)
        self._flat = self._flat.index_select(0, index)
        self._state = [tensor.index_select(0, index) for tensor in self._state]
        self.runs = [self.runs[i] for i in stay]
        self._arrange()

    def _arrange(self) -> None:
        """Make the tensors that follow from who is in the stack."""
        self._leaves = {name: view.detach().requires_grad_() for name, view in self._model.views(self._flat).items()}
        self._gradient = torch.empty_like(self._flat)
        self._lr = self._flat.new_empty(len(self.runs), 1)
        self._inputs = [run.setup.samples(run.probe).store(run.n) for run in self.runs]
        self._labels = [run.setup.samples(run.probe).y[: run.n] for run in self.runs]

    def advance(self) -> list[ProbeResult]:
        """Train all members for one tick and count those that are due; the verdicts of those that ended."""
        started = time.perf_counter()
        tick = self._tick
        steps = min(min(tick - run.steps % tick, run.budget - run.steps) for run in self.runs)
        rates = [[run.setup.plan.lr * run.multiplier] for run in self.runs]
        self._lr.copy_(torch.tensor(rates, dtype=self._lr.dtype))
        self._train(steps)
        due = []
        for i, run in enumerate(self.runs):
            run.did(steps)
            if run.due:
                due.append(i)
        for i, (correct, loss) in zip(due, self._count(due), strict=True):
            self.runs[i].count(correct, loss)
        share = (time.perf_counter() - started) / len(self.runs)
        for run in self.runs:
            run.seconds += share
        return self._take_out()

    def _take_out(self) -> list[ProbeResult]:
        stopped = [i for i, run in enumerate(self.runs) if run.stop is not None]
        results = {i: self._conclude(i) for i in stopped}
        self.leave([i for i, result in results.items() if result is not None])
        return [result for result in results.values() if result is not None]

    def _conclude(self, member: int) -> ProbeResult | None:
        """The member's verdict; None where it stays, its row moved off a saddle."""
        module = self._module(member)
        result = conclude(self.runs[member].setup, self.runs[member], module)
        if result is None:
            self._flat[member] = self._model.row(module)
        return result

    def _module(self, member: int) -> nn.Module:
        run = self.runs[member]
        return self._model.fill(run.setup.fresh_model(run.probe), self._flat[member])

    def _train(self, steps: int) -> None:
        rows, labels = self._draw(steps)
        parameters = tuple(self._leaves.values())
        size = rows.shape[2]
        for step in range(steps):
            logits = self._model.forward(self._leaves, self._gather(rows[step]))
            loss = loss_of(self._loss, logits.flatten(0, 1), labels[step].flatten(), "sum") / size
            self._model.flatten(torch.autograd.grad(loss, parameters), self._gradient)
            self._rule.step(self._flat, self._gradient, self._state, self._lr)

    def _draw(self, steps: int) -> tuple[Tensor, Tensor]:
        """Store rows and labels of the next batches, both (steps, S, b)."""
        device = self._flat.device
        rows, labels = [], []
        for run, (_, index), y in zip(self.runs, self._inputs, self._labels, strict=True):
            positions = run.batches.take(steps).to(device)
            rows.append(index[positions])
            labels.append(y[positions])
        return torch.stack(rows, dim=1), torch.stack(labels, dim=1)

    def _gather(self, rows: Tensor) -> Tensor:
        """Inputs (S, b, *shape) at store rows: (S, b)."""
        return self._gather_from([store for store, _ in self._inputs], rows)

    @staticmethod
    def _gather_from(stores: list[Tensor], rows: Tensor) -> Tensor:
        first = stores[0]
        if all(store is first for store in stores):
            return first.index_select(0, rows.flatten()).view(*rows.shape, *first.shape[1:])
        return torch.stack([store.index_select(0, row) for store, row in zip(stores, rows, strict=True)])

    @torch.no_grad()
    def _count(self, members: list[int]) -> list[tuple[int, float]]:
        """Right answers and mean loss over all n samples, for some members.

        Chunks have one size for everybody, the last one filled up with samples that are not counted.
        """
        device = self._flat.device
        right = torch.zeros(len(self.runs), dtype=torch.int64, device=device)
        loss = torch.zeros(len(self.runs), dtype=torch.float64, device=device)
        chunks = max((math.ceil(self.runs[i].n / CHUNK) for i in members), default=0)
        for chunk in range(chunks):
            active = [i for i in members if self.runs[i].n > chunk * CHUNK]
            self._count_chunk(active, chunk * CHUNK, right, loss)
        both = torch.stack([right.double(), loss]).tolist()
        return [(int(both[0][i]), both[1][i] / self.runs[i].n) for i in members]

    def _count_chunk(self, active: list[int], start: int, right: Tensor, loss: Tensor) -> None:
        places = torch.tensor(active, device=self._flat.device)
        flat = self._flat if len(active) == len(self.runs) else self._flat.index_select(0, places)
        positions = torch.arange(start, start + CHUNK, device=self._flat.device)
        held = [positions.clamp(max=self.runs[i].n - 1) for i in active]
        rows = torch.stack([self._inputs[i][1][at] for i, at in zip(active, held, strict=True)])
        labels = torch.stack([self._labels[i][at] for i, at in zip(active, held, strict=True)])
        sizes = torch.tensor([[self.runs[i].n] for i in active], device=self._flat.device)
        counted = positions < sizes
        X = self._gather_from([self._inputs[i][0] for i in active], rows)
        logits = self._model.forward(self._model.views(flat), X)
        right[places] += (is_right(logits, labels) & counted).sum(1)
        losses = loss_of(self._loss, logits.flatten(0, 1), labels.flatten(), "none").view_as(labels)
        loss[places] += torch.where(counted, losses, 0).sum(1, dtype=torch.float64)
