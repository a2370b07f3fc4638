"""Many probes of one architecture trained as one stacked model, each with its own n, order, rate and stopping."""

from __future__ import annotations

import math
import time
from collections import deque

import torch
from torch import Tensor, nn

from emc.optimizers.plan import StackedRule
from emc.results import ProbeResult, RunningProbe
from emc.specs import Probe
from emc.training.counting import CHUNK, is_right
from emc.training.evidence import conclude, conflict
from emc.training.losses import loss_of
from emc.training.run import ProbeRun
from emc.training.setup import Setup
from emc.training.stacking import StackedModel


class LockstepTrainer:
    """Trains up to `limit` probes at once; those of one batch size share a stack.

    A finished probe leaves its stack at once and the next one waiting enters. Out of GPU memory, the limit is halved
    and the probes under way start over: a probe is a function of its key, so nothing but time is lost.

    Args:
        setup: the resolved measurement; its optimizer must have a stacked rule.
        limit: probes under way at once, at most.
    """

    name = "lockstep"

    def __init__(self, setup: Setup, limit: int) -> None:
        if setup.plan.rule is None:
            raise RuntimeError("the optimizer has no stacked rule")
        self._setup = setup
        self._limit = limit
        self._waiting: deque[Probe] = deque()
        self._stacks: dict[int, Stack] = {}
        self._model = StackedModel(setup.make_model())

    def add(self, probe: Probe) -> None:
        """Take a probe in."""
        self._waiting.append(probe)

    def drop(self, probe: Probe) -> None:
        """Forget a probe, under way or not."""
        if probe in self._waiting:
            self._waiting.remove(probe)
        for size, stack in list(self._stacks.items()):
            stack.leave([i for i, run in enumerate(stack.runs) if run.probe == probe])
            if not stack.runs:
                del self._stacks[size]

    def running(self) -> list[RunningProbe]:
        """The trainings under way."""
        return [run.status() for stack in self._stacks.values() for run in stack.runs]

    def advance(self) -> list[ProbeResult]:
        """Train every probe under way for one tick; the verdicts of those that ended."""
        results = self._fill()
        for size in list(self._stacks):
            try:
                results += self._stacks[size].advance()
            except torch.cuda.OutOfMemoryError:
                self._split()
                return results
            if not self._stacks[size].runs:
                del self._stacks[size]
        return results

    def _fill(self) -> list[ProbeResult]:
        """Let waiting probes enter; those that no training can fit have their verdict at once."""
        known: list[ProbeResult] = []
        entering: dict[int, list[ProbeRun]] = {}
        room = self._limit - sum(len(stack.runs) for stack in self._stacks.values())
        while self._waiting and room > 0:
            probe = self._waiting.popleft()
            verdict = conflict(self._setup, probe)
            if verdict is not None:
                known.append(verdict)
                continue
            run = ProbeRun(self._setup, probe)
            entering.setdefault(run.batch_size, []).append(run)
            room -= 1
        for size, runs in entering.items():
            self._stacks.setdefault(size, Stack(self._setup, self._model)).enter(runs)
        return known

    def _split(self) -> None:
        if self._limit == 1:
            raise torch.cuda.OutOfMemoryError("one training alone does not fit into the GPU's memory")
        under_way = [run.probe for stack in self._stacks.values() for run in stack.runs]
        self._stacks.clear()
        torch.cuda.empty_cache()
        self._limit = max(1, min(self._limit, len(under_way)) // 2)
        self._waiting.extendleft(reversed(under_way))


class Stack:
    """Probes of one batch size whose models are trained as one.

    Attributes:
        runs: the members, in the order of the buffers' rows.
    """

    def __init__(self, setup: Setup, model: StackedModel) -> None:
        if setup.plan.rule is None:
            raise RuntimeError("the optimizer has no stacked rule")
        self.runs: list[ProbeRun] = []
        self._rule: StackedRule = setup.plan.rule
        self._setup, self._model = setup, model
        device, dtype = setup.pool.device, setup.pool.dtype
        self._flat = torch.empty(0, model.num_parameters, device=device, dtype=dtype)
        self._state = self._rule.init(self._flat)
        self._arrange()

    def enter(self, runs: list[ProbeRun]) -> None:
        """Add freshly initialised members."""
        rows = [self._model.row(self._setup.fresh_model(run.probe)) for run in runs]
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
        self._inputs = [self._setup.samples(run.probe).store(run.n) for run in self.runs]
        self._labels = [self._setup.samples(run.probe).y[: run.n] for run in self.runs]

    def advance(self) -> list[ProbeResult]:
        """Train all members for one tick and count those that are due; the verdicts of those that ended."""
        started = time.perf_counter()
        tick = self._setup.procedure.check_steps
        steps = min(min(tick - run.steps % tick, run.budget - run.steps) for run in self.runs)
        rates = [[self._setup.plan.lr * run.multiplier] for run in self.runs]
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
        ended = [i for i, run in enumerate(self.runs) if run.stop is not None]
        results = [conclude(self._setup, self.runs[i], self._module(i)) for i in ended]
        self.leave(ended)
        return results

    def _module(self, member: int) -> nn.Module:
        run = self.runs[member]
        return self._model.fill(self._setup.fresh_model(run.probe), self._flat[member])

    def _train(self, steps: int) -> None:
        rows, labels = self._draw(steps)
        parameters = tuple(self._leaves.values())
        size = rows.shape[2]
        for step in range(steps):
            logits = self._model.forward(self._leaves, self._gather(rows[step]))
            loss = loss_of(self._setup.procedure.loss, logits.flatten(0, 1), labels[step].flatten(), "sum") / size
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
        name = self._setup.procedure.loss
        losses = loss_of(name, logits.flatten(0, 1), labels.flatten(), "none").view_as(labels)
        loss[places] += torch.where(counted, losses, 0).sum(1, dtype=torch.float64)
