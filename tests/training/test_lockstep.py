"""Stacked trainings against single ones, and against themselves in other stacks."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import GENERAL

from emc.api import Prepared
from emc.errors import TrainingError
from emc.executors.base import Executor
from emc.optimizers.adam import StackedAdam
from emc.optimizers.plan import OptimizerPlan
from emc.results import ProbeFailure, ProbeResult, Verdict
from emc.specs import Probe
from emc.training.lockstep import LockstepTrainer
from emc.training.memory import SHARE, member_bytes
from emc.training.run import ProbeRun
from emc.training.single import SingleTrainer
from emc.training.stack import Stack, padded_size
from emc.training.stacking import StackedModel

MakePrepared = Callable[..., Prepared]
Train = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]

#: (model, task, sizes about its EMC at this budget): together with two optimizers and five replicates, 200 probes.
GRID = [
    ("linear", {"labels": "random"}, (9, 12, 15, 18, 24)),
    ("linear", {"labels": "semantic", "data": "breast_cancer"}, (30, 60, 120, 200, 300)),
    ("mlp:width=4", {"labels": "random"}, (12, 18, 24, 30, 40)),
    ("mlp:width=4", {"labels": "semantic", "data": "digits"}, (12, 16, 20, 30, 40)),
]
OPTIMIZERS = ("adam:lr=0.02", "sgd:lr=0.05")


def grid_probes(sizes: Sequence[int], replicates: int = 5) -> list[Probe]:
    return [Probe("base", n, r) for n in sizes for r in range(replicates)]


def test_agrees_with_single_on_at_least_98_percent_of_200_probes(make_prepared: MakePrepared, train: Train) -> None:
    """And where it does not, both ended within two samples of a fit and their losses close: rounding, no other rule."""
    agreed = total = 0
    verdicts, apart = set(), []
    for model, task, sizes in GRID:
        for optimizer in OPTIMIZERS:
            setup = make_prepared(model=model, optimizer=optimizer, batch_size=8, min_steps=150, **task).setup
            probes = grid_probes(sizes)
            pairs = zip(train(SingleTrainer(setup), probes), train(LockstepTrainer(setup, 32), probes), strict=True)
            for single, lockstep in pairs:
                total += 1
                agreed += single.verdict is lockstep.verdict
                verdicts.add(single.verdict)
                if single.verdict is not lockstep.verdict:
                    assert min(single.correct, lockstep.correct) >= single.n - 2, (model, task, single, lockstep)
                    assert single.loss == pytest.approx(lockstep.loss, rel=0.2, abs=0.02)
                assert single.loss is not None
                assert lockstep.loss is not None
                apart.append(abs(single.loss - lockstep.loss) / lockstep.loss)
    assert total == 200
    assert agreed >= 196
    assert sorted(apart)[190] < 1e-3  # chaos in a few, not another training
    assert verdicts == {Verdict.FITTED, Verdict.NOT_FITTED}


@pytest.mark.parametrize(
    "optimizer", ["adam:lr=0.02", "adamw:weight_decay=0.01", "gd:lr=0.2", "sgd:momentum=0", "lion"]
)
@pytest.mark.parametrize(("model", "sizes"), [("linear", (9, 15)), ("mlp:width=4,depth=2", (12, 30))])
def test_agrees_with_single_on_all_in_float64_and_full_batches(
    make_prepared: MakePrepared, train: Train, model: str, sizes: tuple[int, ...], optimizer: str
) -> None:
    setup = make_prepared(model=model, optimizer=optimizer, precision="float64", activation=None).setup
    probes = grid_probes(sizes, replicates=3)
    for single, lockstep in zip(
        train(SingleTrainer(setup), probes), train(LockstepTrainer(setup, 32), probes), strict=True
    ):
        assert single.loss == pytest.approx(lockstep.loss, rel=1e-9)
        assert replace(single, loss=0, gradient_norm=None, detail={}) == replace(
            lockstep, loss=0, gradient_norm=None, detail={}
        )


def normed(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(shape[0], 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, classes))


@pytest.mark.parametrize("settings", [{"clip_norm": 0.05}, {"label_smoothing": 0.2}, {"schedule": "warmup:steps=120"}])
@pytest.mark.parametrize("own", [False, True])  # of torch.func too
def test_agrees_with_single_with_what_is_off_by_default(
    make_prepared: MakePrepared, train: Train, settings: dict[str, Any], own: bool
) -> None:
    shared: dict[str, Any] = {"precision": "float64", "optimizer": "gd:lr=0.05", "own_model": normed if own else None}
    setup, plain = make_prepared(**shared, **settings).setup, make_prepared(**shared).setup
    probes = grid_probes((12, 30), replicates=3)
    stacked = train(LockstepTrainer(setup, 32), probes)
    for single, lockstep in zip(train(SingleTrainer(setup), probes), stacked, strict=True):
        assert single.loss == pytest.approx(lockstep.loss, rel=1e-6)
        assert (single.verdict, single.correct, single.steps) == (lockstep.verdict, lockstep.correct, lockstep.steps)
    assert all(a.loss != b.loss for a, b in zip(stacked, train(LockstepTrainer(plain, 32), probes), strict=True))


#: Seven probes of one batch size, and three of batches of their own.
MIXED = [Probe("base", n, r) for r, n in enumerate((40, 18, 24, 12, 30, 9, 21))]
SMALL = [Probe("base", 5, 0), Probe("base", 5, 1), Probe("base", 5, 2)]


def enter_late(trainer: LockstepTrainer, probes: Sequence[Probe], ticks: int) -> list[ProbeResult]:
    """Verdicts where each probe enters some ticks after the one before."""
    found: dict[str, ProbeResult] = {}
    for probe in probes:
        trainer.add(probe)
        for _ in range(ticks):
            found |= {result.key: result for result in trainer.advance()}
    while len(found) < len(probes):
        found |= {result.key: result for result in trainer.advance()}
    return [replace(found[probe.key], seconds=0.0) for probe in probes]


@pytest.mark.parametrize("dim", [6, 23, 521])
@pytest.mark.parametrize(
    ("model", "optimizer", "inputs"),
    [
        ("linear", "adam:lr=0.02", "gaussian"),
        ("linear", "sgd:lr=0.1", "natural"),
        ("mlp:width=4", "adam:lr=0.02", "natural"),
        ("mlp:width=5,depth=2", "sgd:lr=0.1", "gaussian"),
        ("mlp:width=5,depth=2", "adamw:weight_decay=0.01", "natural"),
    ],
)
def test_the_stack_changes_nothing_to_the_bit(
    make_prepared: MakePrepared, train: Train, model: str, optimizer: str, inputs: str, dim: int
) -> None:
    """Alone, seven together, reversed, two at a time, entering late: equal results, every number of them."""
    small = {"batch_size": 8, "check_steps": 20, "min_steps": 90, "data": f"gaussian:dim={dim},size=100"}
    setup = make_prepared(model=model, optimizer=optimizer, inputs=inputs, **small).setup
    probes = MIXED + SMALL
    together = train(LockstepTrainer(setup, 32), probes)
    assert [train(LockstepTrainer(setup, 32), [probe])[0] for probe in probes] == together
    assert train(LockstepTrainer(setup, 32), probes[::-1])[::-1] == together
    assert train(LockstepTrainer(setup, 2), probes) == together
    assert enter_late(LockstepTrainer(setup, 32), probes, ticks=2) == together
    assert dim > 6 or len({result.loss for result in together}) == len(probes)  # the widest all reach a loss of 0


def test_a_real_size_in_another_stack_changes_nothing_to_the_bit(make_prepared: MakePrepared, train: Train) -> None:
    """Matrix products large enough for the library's blocked kernels: 64 inputs, batches of 128, counts in chunks."""
    setup = make_prepared(
        model="mlp:width=16", data="digits", batch_size=128, check_steps=40, min_steps=120, polish_steps=2
    ).setup
    probes = [Probe("base", n, r) for r, n in enumerate((600, 200, 300, 128, 257))]
    together = train(LockstepTrainer(setup, 32), probes)
    assert train(LockstepTrainer(setup, 1), probes) == together
    assert train(LockstepTrainer(setup, 3), probes[::-1])[::-1] == together


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_no_more_than_the_limit_are_under_way(make_prepared: MakePrepared, limit: int) -> None:
    trainer = LockstepTrainer(make_prepared(batch_size=8, check_steps=20).setup, limit)
    for probe in MIXED + SMALL:
        trainer.add(probe)
    most = ended = 0
    while ended < len(MIXED + SMALL):
        ended += len(trainer.advance())
        most = max(most, len(trainer.running()))
    assert most == limit
    assert trainer.advance() == []


def test_budgets_that_are_no_multiple_of_the_tick(make_prepared: MakePrepared, train: Train) -> None:
    """Members at 3 epochs of different sizes end at their own budgets, and count where single does."""
    setup = make_prepared(batch_size=4, check_steps=7, check_epochs=1, min_steps=1, max_epochs=9, stall_share=1).setup
    probes = [Probe("base", n, r) for r, n in enumerate((8, 21, 40, 77, 100))]
    lockstep = train(LockstepTrainer(setup, 32), probes)
    single = train(SingleTrainer(setup), probes)
    assert [r.steps for r in lockstep] == [r.steps for r in single]
    assert [r.steps for r in lockstep[1:]] == [9 * math.ceil(p.n / 4) for p in probes[1:]]
    assert [r.correct for r in lockstep] == [r.correct for r in single]


def test_dropped_probes_leave_and_the_others_stay_as_they_are(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(batch_size=8, check_steps=20).setup
    expected = train(LockstepTrainer(setup, 32), MIXED)
    trainer = LockstepTrainer(setup, 3)
    for probe in MIXED:
        trainer.add(probe)
    trainer.advance()
    broken_off = trainer.drop(MIXED[1])
    assert broken_off is not None
    assert (broken_off.n, broken_off.replicate, broken_off.steps) == (MIXED[1].n, MIXED[1].replicate, 20)
    assert broken_off.sample_steps > 0
    assert broken_off.seconds > 0
    assert trainer.drop(MIXED[6]) is None, "it was waiting"
    assert trainer.drop(Probe("base", 99, 9)) is None, "nobody asked for it"
    found: dict[str, ProbeResult] = {}
    while len(found) < 5:
        found |= {result.key: replace(result, seconds=0.0) for result in trainer.advance()}
    stay = [result for i, result in enumerate(expected) if i not in (1, 6)]
    assert found == {result.key: result for result in stay}
    assert trainer.running() == []


def test_what_is_needed_enters_before_what_was_asked_ahead(make_prepared: MakePrepared) -> None:
    trainer = LockstepTrainer(make_prepared(batch_size=8, check_steps=20).setup, 2)
    first, second, third, fourth = (Probe("base", 100, replicate) for replicate in range(4))
    assert trainer.room() == 1, "on a CPU every further member is more work"
    for probe in (first, second, fourth):
        trainer.add(probe, ahead=True)
    trainer.add(third)
    trainer.add(second)
    trainer.advance()
    assert [run.replicate for run in trainer.running()] == [2, 1]
    trainer.add(second)
    trainer.drop(third)
    trainer.advance()
    assert [run.replicate for run in trainer.running()] == [1, 0], "needed while under way, it is not in twice"
    assert trainer.room() == 0
    trainer.close()
    assert (trainer.running(), trainer.advance(), trainer.room()) == ([], [], 1)


def test_dropping_the_last_member_leaves_a_trainer_that_goes_on(make_prepared: MakePrepared) -> None:
    trainer = LockstepTrainer(make_prepared(batch_size=8, check_steps=20).setup, 4)
    trainer.add(MIXED[0])
    trainer.advance()
    trainer.drop(MIXED[0])
    assert trainer.running() == []
    assert trainer.advance() == []
    trainer.add(SMALL[0])
    trainer.advance()
    assert [probe.n for probe in trainer.running()] == [5]


class Wild:
    """A stacked rule that takes steps of 1e30 where a member's learning rate is the marked one."""

    def __init__(self, plan: OptimizerPlan) -> None:
        assert plan.rule is not None
        self._rule = plan.rule

    def init(self, flat: Tensor) -> list[Tensor]:
        return self._rule.init(flat)

    def step(self, flat: Tensor, grad: Tensor, state: list[Tensor], lr: Tensor) -> None:
        self._rule.step(flat, grad, state, torch.where(lr == MARK * 0.1, 1e30, lr))


MARK = 0.5


@dataclass
class Marked:
    """A schedule that marks one probe, the third that is made."""

    multiplier: float

    def next(self, *_facts: Any, **_more: Any) -> float:
        return self.multiplier


def test_a_diverging_member_does_not_poison_the_others(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(optimizer="sgd:lr=0.1", schedule="constant", batch_size=8, precision="float64").setup
    expected = train(LockstepTrainer(setup, 32), MIXED)
    made: list[Marked] = []

    def make_schedule() -> Marked:
        made.append(Marked(MARK if len(made) == 2 else 1.0))
        return made[-1]

    plan = replace(setup.plan, rule=Wild(setup.plan))
    poisoned = replace(setup, plan=plan, make_schedule=make_schedule)
    found = train(LockstepTrainer(poisoned, 32), MIXED)
    assert [r.verdict is Verdict.DIVERGED for r in found] == [i == 2 for i in range(7)]
    assert [r for i, r in enumerate(found) if i != 2] == [r for i, r in enumerate(expected) if i != 2]


def refuse_large_stacks(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Make a stack of more than `most` members run out of memory; the sizes that did."""
    refused: list[int] = []
    advance = Stack.advance

    def limited(self: Stack) -> list[ProbeResult]:
        if len(self.runs) > most:
            refused.append(len(self.runs))
            raise torch.cuda.OutOfMemoryError("simulated")
        return advance(self)

    monkeypatch.setattr(Stack, "advance", limited)
    return refused


@pytest.mark.parametrize("most", [1, 2, 4])
def test_out_of_memory_splits_the_stack_and_changes_no_verdict(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    setup = make_prepared(batch_size=8, check_steps=20).setup
    expected = train(LockstepTrainer(setup, 32), MIXED + SMALL)
    refused = refuse_large_stacks(monkeypatch, most)
    assert train(LockstepTrainer(setup, 32), MIXED + SMALL) == expected
    assert refused
    assert all(size > most for size in refused)


def test_out_of_memory_under_way_starts_over_without_loss(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that runs out at the fourth tick, when some probes have ended and others are half way."""
    setup = make_prepared(batch_size=8, check_steps=20).setup
    expected = train(LockstepTrainer(setup, 32), MIXED)
    calls = [0]
    advance = Stack.advance

    def limited(self: Stack) -> list[ProbeResult]:
        calls[0] += 1
        if calls[0] == 4:
            raise torch.cuda.OutOfMemoryError("simulated")
        return advance(self)

    monkeypatch.setattr(Stack, "advance", limited)
    assert train(LockstepTrainer(setup, 32), MIXED) == expected


def test_out_of_memory_with_one_training_alone_is_an_error(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refuse_large_stacks(monkeypatch, 0)
    with pytest.raises(TrainingError, match="one training alone does not fit into memory"):
        train(LockstepTrainer(make_prepared(batch_size=8).setup, 5), MIXED)
    assert refused == sorted(refused, reverse=True)
    assert set(refused) == {5, 3, 2, 1}


class Shortage:
    """Memory that runs out at given calls of anything a stack does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seed: int, share: float) -> None:
        self.failed: dict[str, int] = {}
        self._random, self._share = random.Random(seed), share
        for owner, name in [
            (StackedModel, "gradient"),
            (StackedModel, "logits"),
            (StackedAdam, "step"),
            (Stack, "enter"),
            (Stack, "_arrange"),
            (Stack, "_conclude"),
            (Stack, "_draw"),
        ]:
            monkeypatch.setattr(owner, name, self._short(getattr(owner, name), name))

    def _short(self, work: Callable[..., Any], name: str) -> Callable[..., Any]:
        def limited(*args: Any) -> Any:
            if self._random.random() < self._share / (40 if name in ("gradient", "step") else 1):
                self.failed[name] = self.failed.get(name, 0) + 1
                raise self._random.choice(SHORTAGES)
            return work(*args)

        return limited


SHORTAGES = (
    torch.OutOfMemoryError("simulated"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
    MemoryError(),
)


def test_out_of_memory_at_any_moment_changes_no_verdict(make_prepared: MakePrepared, train: Train) -> None:
    """In the gradient, within an optimizer step, in a count, while entering, leaving or being examined."""
    setup = make_prepared(batch_size=8, check_steps=20, polish_steps=2).setup
    expected = train(LockstepTrainer(setup, 32), MIXED + SMALL)
    failed: set[str] = set()
    survived, lost = 0, list[str]()
    for seed in range(16):
        with pytest.MonkeyPatch.context() as patch:
            shortage = Shortage(patch, seed, share=0.01)
            try:
                assert train(LockstepTrainer(setup, 32), MIXED + SMALL) == expected
                survived += 1
            except TrainingError as error:
                lost.append(str(error).partition(",")[0])
            failed |= set(shortage.failed)
    assert survived >= 8
    assert set(lost) <= {"one training alone does not fit into memory"}
    assert failed == {"gradient", "logits", "step", "enter", "_arrange", "_conclude", "_draw"}


def test_a_split_loses_no_step(make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that runs out once, in the 50th gradient, costs that gradient and no other."""
    setup = make_prepared(batch_size=8, check_steps=20, certify="none").setup
    gradient, rows = StackedModel.gradient, [0]

    def counted(self: StackedModel, leaves: Any, fixed: Any, X: Tensor, *rest: Any) -> None:
        rows.append(len(X))
        if len(rows) == 50 and short:
            raise torch.OutOfMemoryError("simulated")
        gradient(self, leaves, fixed, X, *rest)

    monkeypatch.setattr(StackedModel, "gradient", counted)
    short = False
    expected = train(LockstepTrainer(setup, 32), MIXED)
    undisturbed, short, rows[:] = sum(rows), True, [0]
    assert train(LockstepTrainer(setup, 32), MIXED) == expected
    assert sum(rows) == undisturbed + 7


def outcomes_of(trainer: LockstepTrainer, probes: Sequence[Probe]) -> dict[Probe, ProbeResult | ProbeFailure]:
    """Whatever came of each probe, wall time left out."""
    for probe in probes:
        trainer.add(probe)
    found: dict[Probe, ProbeResult | ProbeFailure] = {}
    by_key = {probe.key: probe for probe in probes}
    while len(found) < len(probes):
        for outcome in trainer.advance():
            probe = outcome.probe if isinstance(outcome, ProbeFailure) else by_key[outcome.key]
            assert probe not in found
            found[probe] = outcome if isinstance(outcome, ProbeFailure) else replace(outcome, seconds=0.0)
    assert trainer.running() == []
    return found


def raising(work: Callable[..., Any], guilty: Callable[..., bool], error: Exception) -> Callable[..., Any]:
    def called(*args: Any) -> Any:
        if guilty(*args):
            raise error
        return work(*args)

    return called


BAD = MIXED[4], SMALL[1]


def has_bad(runs: Sequence[ProbeRun], step: int = 0) -> bool:
    return any(run.probe in BAD and run.steps >= step for run in runs)


@pytest.mark.parametrize(
    ("owner", "name", "guilty"),
    [
        (Stack, "_train", lambda stack, _tick: has_bad(stack.runs)),
        (Stack, "_train", lambda stack, _tick: has_bad(stack.runs, step=20)),
        (Stack, "_draw", lambda stack: has_bad(stack.runs)),
        (Stack, "_count", lambda stack, _members: has_bad(stack.runs)),
        (Stack, "_conclude", lambda stack, member: stack.runs[member].probe in BAD),
        (Stack, "enter", lambda _stack, runs, _kept: has_bad(runs)),
        (ProbeRun, "__init__", lambda _run, _setup, probe: probe in BAD),
        (ProbeRun, "count", lambda run, *_: has_bad([run], step=40)),
    ],
)
def test_a_member_that_raises_fails_alone(
    make_prepared: MakePrepared,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    guilty: Callable[..., bool],
) -> None:
    """Whatever raises, and in whatever company: the others' verdicts stay as they are, to the bit."""
    setup = make_prepared(batch_size=8, check_steps=20, certify="none").setup
    probes = MIXED + SMALL
    expected = dict(zip(probes, train(LockstepTrainer(setup, 32), probes), strict=True))
    assert all(expected[probe].steps >= 40 for probe in BAD)
    monkeypatch.setattr(owner, name, raising(getattr(owner, name), guilty, ValueError("by this one")))
    for limit in (32, 3):
        found = outcomes_of(LockstepTrainer(setup, limit), probes)
        for probe in BAD:
            failed = found.pop(probe)
            assert isinstance(failed, ProbeFailure)
            assert "got ValueError: by this one; mend the model" in str(failed.error)
            assert "in called" in failed.trace
        assert found == {probe: result for probe, result in expected.items() if probe not in BAD}


class Torn:
    """A stacked rule that raises at the end of a step of a stack with a row at the marked learning rate."""

    def __init__(self, plan: OptimizerPlan) -> None:
        assert plan.rule is not None
        self._rule = plan.rule

    def init(self, flat: Tensor) -> list[Tensor]:
        return self._rule.init(flat)

    def step(self, flat: Tensor, grad: Tensor, state: list[Tensor], lr: Tensor) -> None:
        self._rule.step(flat, grad, state, lr)
        if bool((lr == MARK * 0.1).any()):
            raise ValueError("half way")


def test_a_step_that_raises_half_way_starts_the_others_over_apart(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = make_prepared(optimizer="sgd:lr=0.1", schedule="constant", batch_size=8, precision="float64").setup
    expected = dict(zip(MIXED, train(LockstepTrainer(setup, 32), MIXED), strict=True))
    torn = replace(setup, plan=replace(setup.plan, rule=Torn(setup.plan)))
    next_multiplier = ProbeRun._next_multiplier
    monkeypatch.setattr(
        ProbeRun, "_next_multiplier", lambda run: MARK if run.probe == MIXED[2] else next_multiplier(run)
    )
    found = outcomes_of(LockstepTrainer(torn, 32), MIXED)
    failed = found.pop(MIXED[2])
    assert isinstance(failed, ProbeFailure)
    assert "half way" in str(failed.error)
    assert found == {probe: result for probe, result in expected.items() if probe != MIXED[2]}


@pytest.mark.parametrize(
    ("owner", "name", "guilty"),
    [
        (ProbeRun, "__init__", lambda _run, _setup, probe: probe in BAD),
        (Stack, "enter", lambda _stack, runs, _kept: has_bad(runs)),
        (Stack, "advance", lambda stack: has_bad(stack.runs)),
    ],
)
def test_one_too_large_for_memory_fails_and_the_others_go_on_together(
    make_prepared: MakePrepared,
    train: Train,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    guilty: Callable[..., bool],
) -> None:
    """In its samples, in its model or in its training; and the next ones share stacks as before."""
    setup = make_prepared(batch_size=8, check_steps=20, certify="none").setup
    expected = dict(zip(MIXED, train(LockstepTrainer(setup, 32), MIXED), strict=True))
    monkeypatch.setattr(owner, name, raising(getattr(owner, name), guilty, MemoryError("no room")))
    trainer = LockstepTrainer(setup, 5)
    found = outcomes_of(trainer, MIXED)
    failed = found.pop(BAD[0])
    assert isinstance(failed, ProbeFailure)
    assert str(failed.error).startswith("one training alone does not fit into memory, got MemoryError: no room; take")
    assert found == {probe: result for probe, result in expected.items() if probe != BAD[0]}
    for probe in found:
        trainer.add(probe)
    trainer.advance()
    assert len(trainer.running()) == 5


def test_no_more_enter_than_memory_is_planned_for(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for three and a half trainings, or not even for one; which changes no verdict."""
    setup = make_prepared(batch_size=8, check_steps=20).setup
    expected = train(LockstepTrainer(setup, 32), MIXED)
    needs = member_bytes(setup.make_model(), (6,), 8, num_states=3)
    for free, most in ((3.5 * needs / SHARE, 3), (1.0, 1)):
        monkeypatch.setattr("emc.training.lockstep.free_memory", lambda _device, free=free: free)
        trainer = LockstepTrainer(setup, 32)
        for probe in MIXED:
            trainer.add(probe)
        seen, found = 0, {}
        while len(found) < len(MIXED):
            found |= {result.key: replace(result, seconds=0.0) for result in trainer.advance()}
            seen = max(seen, len(trainer.running()))
        assert seen == most
        assert [found[probe.key] for probe in MIXED] == expected


@pytest.mark.parametrize("optimizer", ["adam:lr=0.02", "gd:lr=0.2"])
def test_small_batches_filled_up_share_a_stack_and_change_no_verdict(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    """As on a GPU: in float64, to the last digits of the loss."""
    setup = make_prepared(optimizer=optimizer, batch_size=12, check_steps=20, precision="float64").setup
    probes = [Probe("base", n, r) for r, n in enumerate((3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 30))]
    expected = train(LockstepTrainer(setup, 32), probes)
    monkeypatch.setattr("emc.training.stack.fills_up", lambda _setup: True)
    sizes = {padded_size(setup, probe.n) for probe in probes}
    assert sizes == ({4, 8, 16, 32} if optimizer.startswith("gd") else {4, 8, 12})
    widths: set[tuple[int, int]] = set()
    gradient = StackedModel.gradient

    def watched(self: StackedModel, leaves: Any, fixed: Any, X: Tensor, *rest: Any) -> None:
        widths.add((X.shape[0], X.shape[1]))
        gradient(self, leaves, fixed, X, *rest)

    monkeypatch.setattr(StackedModel, "gradient", watched)
    found = train(LockstepTrainer(setup, 32), probes)
    assert max(width for width, size in widths if size == 8) == 4
    for one, other in zip(found, expected, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-8)
        assert replace(one, loss=0, gradient_norm=None, detail={}) == replace(
            other, loss=0, gradient_norm=None, detail={}
        )


def test_an_optimizer_without_a_rule_is_refused(make_prepared: MakePrepared) -> None:
    setup = make_prepared(optimizer="lbfgs").setup
    with pytest.raises(RuntimeError, match="the optimizer has no stacked rule"):
        LockstepTrainer(setup, 4).add(Probe("base", 20, 0))


#: Cells that share stacks: learning rates, budgets, batch sizes, seeds, tasks; and below, what keeps cells apart.
SHARED = [
    {},
    {"optimizer": "adam:lr=0.1"},
    {"seed": 1, "optimizer": "adam:lr=0.003"},
    {"labels": "semantic", "min_steps": 50},
    {"inputs": "gaussian", "schedule": "constant"},
    {"data": "gaussian:dim=6,size=80"},
]
APART = [
    {"model": "mlp:width=5"},
    {"activation": "tanh"},
    {"optimizer": "adam:beta1=0.5"},
    {"optimizer": "sgd"},
    {"precision": "float64"},
    {"check_steps": 30},
    {"clip_norm": 0.5},
    {"label_smoothing": 0.1},
    {"optimizer": "lion:lr=0.001"},
    {"batch_size": 10},
    {"data": "gaussian:dim=7,size=80"},
    {"classes": 3, "data": "gaussian:dim=6,size=80,classes=4"},
]


def test_cells_share_stacks_and_change_no_bit(make_prepared: MakePrepared, train: Train) -> None:
    """Each cell's verdicts are those of its training alone, whoever else is in the stack."""
    small = {"batch_size": 8, "check_steps": 20, "min_steps": 90}
    setups = {str(i): make_prepared(**small | cell).setup for i, cell in enumerate(SHARED + APART)}
    probes = [Probe(base, n, r) for n, r in ((24, 0), (12, 1), (5, 0)) for base in setups]
    alone = [train(LockstepTrainer(setups[probe.base], 32), [probe])[0] for probe in probes]
    assert train(LockstepTrainer(setups, 64), probes) == alone
    assert train(LockstepTrainer(setups, 3), probes[::-1])[::-1] == alone


@pytest.mark.parametrize(("cells", "stacks"), [(SHARED, 1), (APART, len(APART))])
def test_cells_are_stacked_by_what_they_have_in_common(
    make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch, cells: list[dict[str, Any]], stacks: int
) -> None:
    advanced: list[int] = []
    advance = Stack.advance
    monkeypatch.setattr(Stack, "advance", lambda self: advanced.append(len(self.runs)) or advance(self))
    trainer = LockstepTrainer(
        {str(i): make_prepared(**{"batch_size": 8} | cell).setup for i, cell in enumerate(cells)}, 64
    )
    for i in range(len(cells)):
        trainer.add(Probe(str(i), 24, 0))
    trainer.advance()
    assert advanced == [len(cells) // stacks] * stacks


def test_wall_time_is_shared_out(make_prepared: MakePrepared) -> None:
    trainer = LockstepTrainer(make_prepared(batch_size=8).setup, 32)
    for probe in MIXED:
        trainer.add(probe)
    results: list[ProbeResult] = []
    while len(results) < len(MIXED):
        results += trainer.advance()
    assert all(result.seconds > 0 for result in results)


@pytest.mark.parametrize("criterion", ["fit", "loss<=0.05"])
def test_agrees_with_single_on_the_squared_loss(make_prepared: MakePrepared, train: Train, criterion: str) -> None:
    setup = make_prepared(loss="squared", criterion=criterion, optimizer="adam:lr=0.02", batch_size=8).setup
    probes = grid_probes((8, 24), replicates=3)
    pairs = zip(train(SingleTrainer(setup), probes), train(LockstepTrainer(setup, 32), probes), strict=True)
    verdicts = set()
    for single, lockstep in pairs:
        assert single.verdict is lockstep.verdict
        assert single.loss == pytest.approx(lockstep.loss, rel=0.05, abs=1e-3)
        verdicts.add(single.verdict)
        if criterion != "fit" and single.loss is not None:
            assert (single.loss <= 0.05) == (single.verdict is Verdict.FITTED)
    assert verdicts == {Verdict.FITTED, Verdict.NOT_FITTED}


@pytest.mark.parametrize("optimizer", ["adam:weight_decay=0.01", "sgd:lr=0.01"])
@pytest.mark.parametrize("name", ["linear", "mlp", "cnn", "random_features", *GENERAL])
def test_a_few_steps_are_those_of_single(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch, name: str, optimizer: str
) -> None:
    """Models and toys, members of two sizes, after each of five steps in float64."""
    shape, make = GENERAL.get(name, ((2, 6, 6), None))
    X, y = torch.randn(60, *shape, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    setup = make_prepared(
        (X.numpy(), y.numpy()),
        None if make is None else lambda *_: make(),
        **({} if make else {"model": name}),
        optimizer=optimizer,
        precision="float64",
        batch_size=8,
        check_steps=1,
        check_epochs=0,
        min_steps=5,
        max_epochs=1,
        stall_share=1.0,
        certify="none",
    ).setup
    losses: dict[str, list[float]] = {}
    count = ProbeRun.count

    def noted(run: ProbeRun, correct: int, loss: float) -> None:
        losses.setdefault(run.probe.key, []).append(loss)
        count(run, correct, loss)

    monkeypatch.setattr(ProbeRun, "count", noted)
    probes = [Probe("base", n, r) for n in (20, 33) for r in range(2)]
    train(SingleTrainer(setup), probes)
    single = dict(losses)
    losses.clear()
    train(LockstepTrainer(setup, 32), probes)
    assert all(len(each) == 5 for each in single.values())
    for probe in probes:
        assert losses[probe.key] == pytest.approx(single[probe.key], rel=1e-10)


def test_convolutions_in_one_layout_are_equal_to_the_bit(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(model="cnn:width=3", data="digits", check_steps=10, min_steps=30, certify="none").setup
    probes = [Probe("base", 40, r) for r in range(3)]
    assert train(LockstepTrainer(setup, 3), probes) == train(LockstepTrainer(setup, 3), probes)


def test_frozen_features_are_each_members_own(make_prepared: MakePrepared, train: Train) -> None:
    """They are drawn at init and leave a stack with their member."""
    setup = make_prepared(model="random_features:dim=8", optimizer="adam:lr=0.05", batch_size=8, check_steps=20).setup
    single = train(SingleTrainer(setup), MIXED)
    for one, other in zip(train(LockstepTrainer(setup, 3), MIXED), single, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-2)
        assert abs(one.correct - other.correct) <= 1
