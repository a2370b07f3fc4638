"""Probes trained as one stacked model, each with its own samples, learning rate, budget and stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from emc.optimizers.plan import StackedRule
from emc.results import ProbeFailure, ProbeResult
from emc.training.checkpoints import State
from emc.training.counting import CHUNK, is_right
from emc.training.evidence import conclude
from emc.training.failing import Outcome, raised
from emc.training.losses import loss_of
from emc.training.memory import is_out_of_memory
from emc.training.run import ProbeRun
from emc.training.setup import Setup
from emc.training.stacking import Named, StackedModel, join

if TYPE_CHECKING:
    from torch import nn

#: Settings that each member of a stack has for itself; any other one must be equal within a stack.
OWN = frozenset(
    {"optimizer", "schedule", "batch_size", "min_steps", "max_epochs", "check_epochs", "stall_share", "stall_tolerance"}
    | {"polish_steps", "polish_tolerance", "gradient_tolerance", "certify", "curvature_tolerance", "escape"}
)


def _kind(setup: Setup) -> tuple[Any, ...]:
    """What the members of a stack have in common, their batch size apart."""
    procedure = {item.name: getattr(setup.procedure, item.name) for item in fields(setup.procedure)}
    shared = {name: value for name, value in procedure.items() if name not in OWN}
    return shared, setup.plan.rule, setup.model_key, setup.pool.device, setup.pool.dtype


def fills_up(setup: Setup) -> bool:
    """Whether small batches are filled up to share a stack."""
    return setup.pool.device.type == "cuda"


def padded_size(setup: Setup, n: int) -> int:
    """Batch size of the stack a probe of n samples trains in.

    On CPU it is the probe's own. On a GPU, where a batch filled up costs less than a stack more, smaller ones are
    filled up to a power of two with samples of weight 0.
    """
    size = setup.batch_size(n)
    if not fills_up(setup):
        return size
    power = 1 << (size - 1).bit_length()
    return power if setup.plan.full_batch else min(power, setup.procedure.batch_size)


@dataclass
class _Tick:
    """Optimizer steps drawn for all members, and how many of them are done."""

    rows: Tensor
    labels: Tensor
    done: int = 0

    @property
    def steps(self) -> int:
        return len(self.rows)

    def part(self, members: slice | Tensor) -> _Tick:
        """The same steps of some members."""
        return _Tick(self.rows[:, members], self.labels[:, members], self.done)


class Stack:
    """Probes of one architecture, optimizer and batch size, whose models are trained as one.

    `advance` may be called again after it raised, and `halves` taken: what was done is kept, unless it raised where
    nothing can be kept (`torn`).

    Args:
        setup: of the first member.
        batch_size: of every member, smaller ones filled up to it.

    Attributes:
        runs: the members, in the order of the buffers' rows.
        torn: whether an optimizer step or the drawing of batches was left half done, so that the members have to start
            over.
    """

    def __init__(self, setup: Setup, batch_size: int) -> None:
        if setup.plan.rule is None:
            raise RuntimeError("the optimizer has no stacked rule")
        self.runs: list[ProbeRun] = []
        self.torn = self._under_way = False
        self._rule: StackedRule = setup.plan.rule
        self._setup, self._kind, self._batch_size = setup, _kind(setup), batch_size
        self._check_steps, self._loss = setup.procedure.check_steps, setup.loss
        device, dtype = setup.pool.device, setup.pool.dtype
        template, shape = setup.make_model().to(device, dtype), setup.pool.dataset.facts.shape
        self._model = StackedModel(template, shape)
        self._flat = torch.empty(0, self._model.num_parameters, device=device, dtype=dtype)
        self._state = self._rule.init(self._flat)
        self._fixed: Named = {name: t[:0] for name, t in self._model.fixed(template).items()}
        self._tick: _Tick | None = None
        self._failures: dict[ProbeRun, ProbeFailure] = {}
        self._gradients: Named = {}
        self._arrange()

    def suits(self, run: ProbeRun) -> bool:
        """Whether a probe can be a member."""
        apart = padded_size(run.setup, run.n) != self._batch_size or _kind(run.setup) != self._kind
        return self._tick is None and not apart  # in the midst of a tick that memory cut short nobody enters

    @property
    def at_rest(self) -> bool:
        """Whether no tick is half done, whatever interrupted it, so that the members' states belong to their steps."""
        return self._tick is None and not self.torn and not self._under_way

    def state(self, member: int) -> dict[str, Any]:
        """All that `enter` needs for a member to go on to the bit."""
        rows = [tensor[member] for tensor in self._state]
        return {"run": self.runs[member].state(), "flat": self._flat[member], "optimizer": rows}

    def enter(self, runs: Sequence[ProbeRun], kept: Mapping[ProbeRun, State] = MappingProxyType({})) -> None:
        """Add members, all of them or, out of memory, none.

        Args:
            runs: that begin, or go on.
            kept: of those that go on, the `state` of their models and optimizers.
        """
        modules = [run.setup.fresh_model(run.probe) for run in runs]
        new = torch.stack([self._model.row(module) for module in modules])
        begun = self._rule.init(new)
        for place, run in enumerate(runs):
            if run in kept:
                for own, rows in zip([new, *begun], [kept[run]["flat"], *kept[run]["optimizer"]], strict=True):
                    own[place].copy_(rows)
        flat = torch.cat([self._flat, new])
        state = [torch.cat(pair) for pair in zip(self._state, begun, strict=True)]
        fixed = join([self._fixed, *(self._model.fixed(module) for module in modules)])
        self._replace([*self.runs, *runs], flat, state, fixed)

    def leave(self, members: Sequence[int]) -> None:
        """Remove members by their place."""
        if not members:
            return
        stay = [i for i in range(len(self.runs)) if i not in members]
        index = torch.tensor(stay, dtype=torch.int64, device=self._flat.device)
        tick = self._tick and self._tick.part(index)
        self._replace(
            [self.runs[i] for i in stay],
            self._flat.index_select(0, index),
            [tensor.index_select(0, index) for tensor in self._state],
            {name: tensor.index_select(0, index) for name, tensor in self._fixed.items()},
        )
        self._tick = tick

    def halves(self) -> tuple[Stack, Stack]:
        """Two stacks that go on where this one is; their tensors are parts of its own, so that they take no memory."""
        middle = (len(self.runs) + 1) // 2
        self._gradient, self._gradients, self._X = self._flat[:0], {}, self._flat[:0]
        return self._part(slice(0, middle)), self._part(slice(middle, None))

    def _part(self, members: slice) -> Stack:
        part = Stack(self._setup, self._batch_size)
        part._tick = None if self._tick is None else self._tick.part(members)
        part._failures = self._failures
        part._replace(
            self.runs[members],
            self._flat[members],
            [tensor[members] for tensor in self._state],
            {name: tensor[members] for name, tensor in self._fixed.items()},
        )
        return part

    def _replace(self, runs: list[ProbeRun], flat: Tensor, state: list[Tensor], fixed: Named) -> None:
        before = self.runs, self._flat, self._state, self._fixed
        self.runs, self._flat, self._state, self._fixed = runs, flat, state, fixed
        try:
            self._arrange()
        except Exception:
            self.runs, self._flat, self._state, self._fixed = before
            raise

    def _arrange(self) -> None:
        """Make the tensors that follow from who is in the stack, all of them or none; a tick makes no other."""
        shape = (len(self.runs), self._batch_size)
        inputs = [run.setup.samples(run.probe).store(run.n) for run in self.runs]
        weights = torch.zeros(shape, dtype=self._flat.dtype)
        for own, run in zip(weights, self.runs, strict=True):
            own[: run.batch_size] = 1 / run.batch_size
        weights = weights.to(self._flat.device)
        X = self._flat.new_empty(*shape, *self._setup.pool.dataset.facts.shape)
        gradient, lr = torch.empty_like(self._flat), self._flat.new_empty(len(self.runs), 1)
        self._inputs, self._weights, self._X, self._gradient, self._lr = inputs, weights, X, gradient, lr
        self._labels = [run.setup.samples(run.probe).labels(run.n) for run in self.runs]
        self._leaves, self._gradients = self._model.leaves(self._flat), self._model.views(gradient)
        self._rates: list[float] = []

    def advance(self) -> list[Outcome]:
        """Train all members for one tick and count those that are due; the verdicts of those that ended.

        Raises:
            Exception: whatever a member's training does, where it is not known which one's.
        """
        self._under_way = True
        if not any(map(self._ended, self.runs)):  # else memory ran out while verdicts were examined
            self._advance()
        outcomes = self._take_out()
        self._under_way = False
        return outcomes

    def _ended(self, run: ProbeRun) -> bool:
        return run.stop is not None or run in self._failures

    def _advance(self) -> None:
        started = time.perf_counter()
        if self._tick is None:
            self._tick = self._draw()
        self._train(self._tick)
        steps = self._tick.steps
        due = [i for i, run in enumerate(self.runs) if run.due_after(steps)]
        counted = self._count(due)
        self._tick = None
        for run in self.runs:
            run.did(steps)
        for i, (correct, loss) in zip(due, counted, strict=True):
            self._tell(self.runs[i], correct, loss)
        share = (time.perf_counter() - started) / len(self.runs)
        for run in self.runs:
            run.seconds += share

    def _tell(self, run: ProbeRun, correct: int, loss: float) -> None:
        try:
            run.count(correct, loss)
        except Exception as error:  # a user's own schedule may raise
            self._failures[run] = raised(run.probe, error)

    def _take_out(self) -> list[Outcome]:
        outcomes = {i: self._outcome(i) for i, run in enumerate(self.runs) if self._ended(run)}
        before = self.runs
        self.leave([i for i, outcome in outcomes.items() if outcome is not None])
        for i in outcomes:
            self._failures.pop(before[i], None)
        return [outcome for outcome in outcomes.values() if outcome is not None]

    def _outcome(self, member: int) -> Outcome | None:
        run = self.runs[member]
        if run not in self._failures:
            try:
                return self._conclude(member)
            except Exception as error:  # whatever a user's own model may raise
                if is_out_of_memory(error):
                    raise
                self._failures[run] = raised(run.probe, error)
        return self._failures[run]

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

    def _draw(self) -> _Tick:
        """The next batches of all members, up to where the first of them may have to be counted."""
        tick = self._check_steps
        steps = min(min(tick - run.steps % tick, run.budget - run.steps) for run in self.runs)
        positions = torch.zeros(len(self.runs), steps, self._batch_size, dtype=torch.int64)
        self.torn = True  # what is taken from the streams and lost does not come again
        for own, run in zip(positions, self.runs, strict=True):
            own[:, : run.batch_size] = run.batches.take(steps)
        if self._flat.device.type == "cuda":  # one copy that nothing waits for
            positions = positions.pin_memory().to(self._flat.device, non_blocking=True)
        rows = _at(positions, [index for _, index in self._inputs])
        labels = _at(positions, self._labels)
        self.torn = False
        return _Tick(rows, labels)

    def _train(self, tick: _Tick) -> None:
        """Do what is left of the steps. Nothing but an optimizer step changes the members, and nothing waits."""
        rates = [run.setup.plan.lr * run.multiplier for run in self.runs]
        if rates != self._rates:
            self._lr.copy_(torch.tensor(rates, dtype=self._lr.dtype).unsqueeze(1))
            self._rates = rates
        while tick.done < tick.steps:
            X, y = self._gather(tick.rows[tick.done]), tick.labels[tick.done]
            self._model.gradient(self._leaves, self._fixed, X, y, self._weights, self._loss, self._gradients)
            if self._setup.procedure.clip_norm is not None:
                clip_rows(self._gradient, self._setup.procedure.clip_norm)
            self.torn = True
            self._rule.step(self._flat, self._gradient, self._state, self._lr)
            self.torn = False
            tick.done += 1

    def _gather(self, rows: Tensor) -> Tensor:
        """Inputs (S, b, *shape) at store rows: (S, b), in the stack's own buffer."""
        return _gather_into(self._X, [store for store, _ in self._inputs], rows)

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
        flat, fixed = self._flat, self._fixed
        if len(active) < len(self.runs):
            flat = flat.index_select(0, places)
            fixed = {name: tensor.index_select(0, places) for name, tensor in fixed.items()}
        positions = torch.arange(start, start + CHUNK, device=self._flat.device)
        held = [positions.clamp(max=self.runs[i].n - 1) for i in active]
        labels = torch.stack([self._labels[i][at] for i, at in zip(active, held, strict=True)])
        rows = torch.stack([self._inputs[i][1][at] for i, at in zip(active, held, strict=True)])
        X = _gather_into(self._X.new_empty(*rows.shape, *self._X.shape[2:]), [self._inputs[i][0] for i in active], rows)
        sizes = torch.tensor([[self.runs[i].n] for i in active], device=self._flat.device)
        counted = positions < sizes
        logits = self._model.logits(self._model.views(flat), fixed, X)
        right[places] += (is_right(logits, labels) & counted).sum(1)
        losses = loss_of(self._loss, logits.flatten(0, 1), labels.flatten(), "none").view_as(labels)
        loss[places] += torch.where(counted, losses, 0).sum(1, dtype=torch.float64)


def clip_rows(gradient: Tensor, most: float) -> None:
    """Scale down each row of gradient: (S, P) whose Euclidean norm exceeds `most`, as `clip_grad_norm_` does."""
    norms = torch.stack(torch._foreach_norm(list(gradient.unbind()))).unsqueeze(1)  # each of its own row alone
    gradient.mul_((most / (norms + 1e-6)).clamp_(max=1))


def _at(positions: Tensor, values: list[Tensor]) -> Tensor:
    """Each member's values at its positions: (S, steps, b), as (steps, S, b)."""
    found = torch.empty_like(positions)
    for out, own, value in zip(found, positions, values, strict=True):
        torch.index_select(value, 0, own.view(-1), out=out.view(-1))
    return found.transpose(0, 1).contiguous()


def _gather_into(out: Tensor, stores: list[Tensor], rows: Tensor) -> Tensor:
    """Inputs at rows: (S, b) of each member's store, written to out: (S, b, *shape)."""
    first = stores[0]
    if all(store is first for store in stores):
        torch.index_select(first, 0, rows.flatten(), out=out.view(-1, *first.shape[1:]))
    else:
        for own, store, row in zip(out, stores, rows, strict=True):
            torch.index_select(store, 0, row, out=own)
    return out
