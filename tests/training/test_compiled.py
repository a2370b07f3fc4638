"""Compiled trainings against single ones, against themselves in other company, and their threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from emc.api import Prepared
from emc.executors.base import Executor
from emc.results import ProbeFailure, ProbeResult, Verdict
from emc.specs import Probe
from emc.training import compiled
from emc.training.compiled import CompiledTrainer, kernel_obstacle
from emc.training.single import SingleTrainer

MakePrepared = Callable[..., Prepared]
Train = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]

PROBES = [Probe("base", n, r) for r, n in enumerate((40, 18, 5, 24, 12, 30, 9, 21))]


def run(trainer: CompiledTrainer, train: Train, probes: Sequence[Probe] = PROBES) -> list[ProbeResult]:
    try:
        return train(trainer, probes)
    finally:
        trainer.close()


@pytest.mark.parametrize("optimizer", ["adam:lr=0.02", "adamw:weight_decay=0.01", "gd:lr=0.2", "sgd:momentum=0"])
@pytest.mark.parametrize("model", ["linear", "mlp:width=4,depth=2"])
def test_agrees_with_single_on_all_in_float64(
    make_prepared: MakePrepared, train: Train, model: str, optimizer: str
) -> None:
    setup = make_prepared(model=model, optimizer=optimizer, precision="float64", batch_size=16, activation=None).setup
    found = run(CompiledTrainer(setup, 2, 32), train)
    assert {result.verdict for result in found} == {Verdict.FITTED, Verdict.NOT_FITTED}
    for single, mine in zip(train(SingleTrainer(setup), PROBES), found, strict=True):
        assert single.loss == pytest.approx(mine.loss, rel=1e-6)
        bare = {"loss": 0, "gradient_norm": None, "detail": {}}
        assert replace(single, **bare) == replace(mine, **bare)


@pytest.mark.parametrize(("model", "inputs"), [("linear", "gaussian"), ("mlp:width=5,depth=2", "natural")])
def test_company_changes_nothing_to_the_bit(make_prepared: MakePrepared, train: Train, model: str, inputs: str) -> None:
    setup = make_prepared(model=model, inputs=inputs, batch_size=8, optimizer="adam:lr=0.02").setup
    together = run(CompiledTrainer(setup, 2, 32), train)
    assert [run(CompiledTrainer(setup, 1, 32), train, [probe])[0] for probe in PROBES] == together
    assert run(CompiledTrainer(setup, 1, 2), train) == together
    assert run(CompiledTrainer(setup, 3, 32), train, PROBES[::-1])[::-1] == together


def test_turns_change_nothing(make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = make_prepared(check_steps=10).setup
    together = run(CompiledTrainer(setup, 1, 32), train)
    monkeypatch.setattr(compiled, "SLICE_S", 0.0)
    assert run(CompiledTrainer(setup, 1, 32), train) == together


def test_a_needed_probe_goes_before_those_asked_ahead(make_prepared: MakePrepared) -> None:
    setup = make_prepared(min_steps=2000, stall_share=1.0).setup
    trainer = CompiledTrainer(setup, 1, 2)
    ahead, promoted, needed = (Probe("base", 60, r) for r in range(3))
    trainer.add(ahead, ahead=True)
    trainer.add(promoted, ahead=True)
    trainer.add(needed)
    trainer.add(promoted)
    order = []
    while len(order) < 3:
        order += [result.replicate for result in trainer.advance()]
    trainer.close()
    assert order[2] == ahead.replicate


def test_room_is_for_idle_threads(make_prepared: MakePrepared) -> None:
    trainer = CompiledTrainer(make_prepared().setup, 3, 32)
    assert trainer.room() == 3
    trainer.add(PROBES[0])
    assert trainer.room() == 2
    for probe in PROBES:
        trainer.add(probe)
    assert trainer.room() == 0
    trainer.close()


def test_a_dropped_probe_never_comes_back(make_prepared: MakePrepared) -> None:
    setup = make_prepared(min_steps=10**6, stall_share=1.0).setup
    trainer = CompiledTrainer(setup, 2, 32)
    long, short = Probe("base", 200, 0), Probe("base", 4, 1)
    trainer.add(long)
    trainer.add(short)
    assert [result.n for result in wait(trainer)] == [4]
    dropped = trainer.drop(long)
    assert dropped is not None
    assert dropped.n == 200
    assert trainer.drop(long) is None
    assert trainer.running() == []
    assert trainer.advance() == []
    assert trainer.room() == 2
    trainer.close()


def wait(trainer: CompiledTrainer) -> list[ProbeResult]:
    while not (results := trainer.advance()):
        pass
    return results


def test_close_ends_its_threads(make_prepared: MakePrepared) -> None:
    before = threading.active_count()
    trainer = CompiledTrainer(make_prepared(min_steps=10**6, stall_share=1.0).setup, 3, 32)
    trainer.add(Probe("base", 200, 0))
    trainer.advance()
    assert threading.active_count() == before + 3
    trainer.close()
    assert threading.active_count() == before


BAD = PROBES[3]


@pytest.mark.parametrize("name", ["__init__", "_steps", "conclude"])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ZeroDivisionError("by no means"), "a training must run without errors, got ZeroDivisionError: by no means;"),
        (
            MemoryError("no room"),
            "one training alone does not fit into memory, got MemoryError: no room; take a smaller",
        ),
    ],
)
def test_a_member_that_raises_fails_alone(
    make_prepared: MakePrepared, train: Train, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception, told: str
) -> None:
    """In a thread or in the caller's; one out of memory is tried again with nothing beside it."""
    setup = make_prepared(certify="none").setup
    expected = run(CompiledTrainer(setup, 2, 32), train, [probe for probe in PROBES if probe != BAD])
    work = getattr(compiled.Training, name)
    company: list[int] = []

    def broken(self: compiled.Training, *args: Any) -> Any:
        if (args[1] if name == "__init__" else self.run.probe) == BAD:
            company.append(len(trainer.running()))
            raise error
        return work(self, *args)

    monkeypatch.setattr(compiled.Training, name, broken)
    trainer = CompiledTrainer(setup, 2, 32)
    for probe in PROBES:
        trainer.add(probe)
    outcomes = []
    while len(outcomes) < len(PROBES):
        outcomes += trainer.advance()
    trainer.close()
    (failed,) = (outcome for outcome in outcomes if isinstance(outcome, ProbeFailure))
    assert failed.probe == BAD
    assert str(failed.error).startswith(told)
    assert "in broken" in failed.trace
    verdicts = {outcome.key: replace(outcome, seconds=0.0) for outcome in outcomes if isinstance(outcome, ProbeResult)}
    assert verdicts == {result.key: result for result in expected}
    assert len(company) == (2 if isinstance(error, MemoryError) else 1)
    assert company[-1] <= 1 or not isinstance(error, MemoryError)


def test_conflicts_have_their_verdict_without_training(make_prepared: MakePrepared) -> None:
    X = torch.tensor([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4)
    pair = X.numpy(), torch.tensor([0, 1] * 4).numpy()
    setup = make_prepared(pair, labels="semantic", duplicates="keep").setup
    trainer = CompiledTrainer(setup, 1, 32)
    trainer.add(Probe("base", 8, 0))
    assert [result.detail["proof"] for result in trainer.advance()] == ["equal inputs with different labels"]
    trainer.close()


@pytest.mark.parametrize(
    ("settings", "obstacle"),
    [
        ({}, None),
        ({"optimizer": "lbfgs"}, "its optimizer has no compiled form"),
        ({"model": "random_features:dim=8"}, "its model is no chain of Linear"),
    ],
)
def test_obstacles(make_prepared: MakePrepared, settings: dict[str, str], obstacle: str | None) -> None:
    found = kernel_obstacle(make_prepared(**settings).setup)
    assert found is None if obstacle is None else found is not None and found.startswith(obstacle)


def test_a_saddle_is_left(make_prepared: MakePrepared, train: Train) -> None:
    """All parameters 0 is a saddle of a tanh net: the same escape as one at a time, and training goes on."""

    def zeros(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        module = nn.Sequential(nn.Linear(input_shape[0], 4), nn.Tanh(), nn.Linear(4, num_classes))
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
        return module

    settings = {"optimizer": "gd:lr=0.5", "escape": True, "min_steps": 800, "precision": "float64"}
    setup = make_prepared(own_model=zeros, polish_steps=50, **settings).setup
    probe = Probe("base", 8, 0)
    (single,) = train(SingleTrainer(setup), [probe])
    (mine,) = run(CompiledTrainer(setup, 1, 32), train, [probe])
    assert len(mine.detail["escapes"]) == len(single.detail["escapes"]) > 0
    assert mine.verdict is single.verdict


@pytest.mark.parametrize("settings", [{}, {"optimizer": "gd", "inputs": "gaussian", "precision": "float64"}])
def test_no_machine_code_is_made_on_a_trainings_clock(
    make_prepared: MakePrepared, train: Train, settings: dict[str, str]
) -> None:
    setup = make_prepared(**settings).setup
    module = compiled._kernels(np.dtype(setup.procedure.precision))
    known = len(module.train.signatures), len(module.count.signatures)
    run(CompiledTrainer(setup, 1, 32), train, [Probe("base", 40, 0), Probe("base", 5, 0)])
    assert (len(module.train.signatures), len(module.count.signatures)) == known
