"""One probe at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from emc.api import Prepared
from emc.executors.base import Executor
from emc.optimizers import OPTIMIZERS
from emc.results import ProbeResult, Verdict
from emc.specs import Probe
from emc.training.run import ProbeRun
from emc.training.schedules import Constant
from emc.training.single import SingleTrainer

MakePrepared = Callable[..., Prepared]
Train = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]


#: By optimizer, what it needs to train a model of one hidden layer.
TAUGHT = {"muon": "muon:ends=true"}

STEPPED = [TAUGHT.get(name, name) for name in OPTIMIZERS.names() if OPTIMIZERS.build(name).solve is None]


@pytest.mark.parametrize("optimizer", STEPPED)
def test_same_key_same_verdict(make_prepared: MakePrepared, train: Train, optimizer: str) -> None:
    probes = [Probe("base", n, r) for n in (8, 20) for r in range(3)]
    found = [
        train(SingleTrainer(make_prepared(optimizer=optimizer, batch_size=8, min_steps=100).setup), probes)
        for _ in range(2)
    ]
    assert found[0] == found[1]
    assert len({result.loss for result in found[0]}) >= len(probes) - 1  # two may reach 0


@pytest.mark.parametrize("optimizer", [*STEPPED, "muon", "sam:base=sgd", "sam:base=muon"])
def test_every_optimizer_fits_eight_random_labels(make_prepared: MakePrepared, train: Train, optimizer: str) -> None:
    model = "mlp:width=16,depth=2"
    settings = {"optimizer": optimizer, "model": model, "data": "digits", "min_steps": 1000, "check_steps": 20}
    (found,) = train(SingleTrainer(make_prepared(**settings).setup), [Probe("base", 8, 0)])
    assert found.verdict is Verdict.FITTED


@pytest.mark.parametrize("optimizer", STEPPED)
def test_the_schedule_multiplies_every_groups_rate(make_prepared: MakePrepared, optimizer: str) -> None:
    setup = make_prepared(optimizer=optimizer, schedule="inverse_sqrt:every=10", check_steps=20, batch_size=8).setup
    trainer = SingleTrainer(setup)
    trainer.add(Probe("base", 100, 0))
    for done in (0, 20):
        trainer.advance()
        assert trainer._current is not None
        rates = [group["lr"] for group in trainer._current._optimizer.param_groups]
        assert rates == [pytest.approx(setup.plan.lr / math.sqrt(1 + done // 10))] * len(rates)


class Still(Constant):
    """No rate at all."""

    def next(self, *_: object, **__: object) -> float:
        return 0.0


@pytest.mark.parametrize("optimizer", ["sam", "sam:base=sgd", "muon:ends=true"])
def test_a_rate_of_nothing_moves_nothing(make_prepared: MakePrepared, optimizer: str) -> None:
    """SAM's perturbation is taken back."""
    setup = replace(make_prepared(optimizer=optimizer, check_steps=20, batch_size=8).setup, make_schedule=Still)
    probe = Probe("base", 100, 0)
    trainer = SingleTrainer(setup)
    trainer.add(probe)
    trainer.advance()
    assert trainer._current is not None
    for own, fresh in zip(trainer._current._module.parameters(), setup.fresh_model(probe).parameters(), strict=True):
        assert torch.equal(own, fresh)


def test_two_passes_a_step_are_counted(make_prepared: MakePrepared, train: Train) -> None:
    settings = {"schedule": "constant", "batch_size": 8, "stall_share": 1, "min_steps": 100}
    plain, sharp = (
        train(SingleTrainer(make_prepared(optimizer=name, **settings).setup), [Probe("base", 100, 0)])[0]
        for name in ("sgd", "sam:base=sgd")
    )
    assert plain.steps == sharp.steps == 100
    assert (plain.sample_steps, sharp.sample_steps) == (800, 1600)
    assert plain.loss != sharp.loss


def test_sam_is_the_training_loop_one_would_write(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(
        optimizer="sam:rho=0.1,base=sgd|momentum=0,lr=0.05", schedule="constant", batch_size=8, stall_share=1
    ).setup
    probe = Probe("base", 40, 2)
    (found,) = train(SingleTrainer(setup), [probe])
    module, (X, y) = setup.fresh_model(probe), setup.samples(probe).first(40)
    parameters = list(module.parameters())
    for batch in ProbeRun(setup, probe).batches.take(found.steps):
        before = [p.detach().clone() for p in parameters]
        uphill = torch.autograd.grad(functional.cross_entropy(module(X[batch]), y[batch]), parameters)
        norm = torch.cat([part.flatten() for part in uphill]).norm()
        for parameter, part in zip(parameters, uphill, strict=True):
            parameter.data += 0.1 * part / norm
        there = torch.autograd.grad(functional.cross_entropy(module(X[batch]), y[batch]), parameters)
        for parameter, start, part in zip(parameters, before, there, strict=True):
            parameter.data = start - 0.05 * part
    assert found.loss == pytest.approx(float(functional.cross_entropy(module(X), y).detach()), rel=1e-4)


@pytest.mark.parametrize("optimizer", ["sgd:momentum=0", "sam:base=sgd|momentum=0"])
def test_gradients_are_clipped(make_prepared: MakePrepared, optimizer: str) -> None:
    """No step of plain descent is longer than the rate times the norm, and one that is shorter stays as it is."""
    moved = []
    for most in (None, 1e6, 1e-3):
        setup = make_prepared(optimizer=optimizer, clip_norm=most, check_steps=1, check_epochs=0).setup
        probe = Probe("base", 100, 0)
        trainer = SingleTrainer(setup)
        trainer.add(probe)
        trainer.advance()
        assert trainer._current is not None
        flat = [
            torch.nn.utils.parameters_to_vector(module.parameters())
            for module in (setup.fresh_model(probe), trainer._current._module)
        ]
        moved.append(flat[1] - flat[0])
    assert torch.equal(moved[0], moved[1])
    assert float(moved[2].norm()) == pytest.approx(setup.plan.lr * 1e-3, rel=1e-2)
    assert float(moved[0].norm()) > 10 * float(moved[2].norm())


def test_smoothed_labels_are_trained_and_counted(make_prepared: MakePrepared, train: Train) -> None:
    settings = {"schedule": "constant", "batch_size": 8, "stall_share": 1, "optimizer": "sgd:momentum=0"}
    setup = make_prepared(label_smoothing=0.2, **settings).setup
    probe = Probe("base", 40, 2)
    (found,) = train(SingleTrainer(setup), [probe])
    module, (X, y) = setup.fresh_model(probe), setup.samples(probe).first(40)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for batch in ProbeRun(setup, probe).batches.take(found.steps):
        optimizer.zero_grad()
        functional.cross_entropy(module(X[batch]), y[batch], label_smoothing=0.2).backward()
        optimizer.step()
    expected = functional.cross_entropy(module(X), y, label_smoothing=0.2).detach() - setup.loss.least(2)
    assert found.loss == pytest.approx(float(expected), rel=1e-5)


def with_dropout_and_norm(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(shape[0], 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.ReLU(), nn.Linear(16, num_classes)
    )


def test_same_key_same_verdict_with_dropout(make_prepared: MakePrepared, train: Train) -> None:
    """Whatever the global generator does, and whoever was trained before; and the generator stays as it was."""
    setup = make_prepared(own_model=with_dropout_and_norm, batch_size=8).setup
    probes = [Probe("base", 20, r) for r in range(2)]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train(SingleTrainer(setup), probes)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    assert train(SingleTrainer(setup), probes[::-1]) == first[::-1]


def test_it_is_the_training_loop_one_would_write(make_prepared: MakePrepared, train: Train) -> None:
    """An independent loop over the same batches ends at the same loss to the bit."""
    setup = make_prepared(optimizer="adam:lr=0.01", schedule="constant", batch_size=8, stall_share=1).setup
    probe = Probe("base", 40, 2)
    (found,) = train(SingleTrainer(setup), [probe])
    assert found.verdict is Verdict.NOT_FITTED

    module, (X, y) = setup.fresh_model(probe), setup.samples(probe).first(40)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for batch in ProbeRun(setup, probe).batches.take(found.steps):
        optimizer.zero_grad()
        functional.cross_entropy(module(X[batch]), y[batch]).backward()
        optimizer.step()
    logits = module(X).detach()
    assert found.correct == int((logits.argmax(1) == y).sum())
    assert found.loss == pytest.approx(float(functional.cross_entropy(logits, y)), rel=1e-6)


def test_lbfgs_counts_its_iterations_as_steps_and_its_evaluations_as_samples(
    make_prepared: MakePrepared, train: Train
) -> None:
    setup = make_prepared(optimizer="lbfgs", model="mlp:width=8", min_steps=40, check_steps=20).setup
    (found,) = train(SingleTrainer(setup), [Probe("base", 200, 0)])
    assert found.steps == 40
    assert found.sample_steps % 200 == 0
    assert found.sample_steps >= 42 * 200


def test_lbfgs_fits_what_a_linear_model_can_fit(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(optimizer="lbfgs", model="linear", data="gaussian:dim=10,size=200", min_steps=2000).setup
    found = train(SingleTrainer(setup), [Probe("base", 11, r) for r in range(5)])
    assert {result.verdict for result in found} == {Verdict.FITTED}


def test_a_fit_stops_at_the_first_count_that_shows_it(make_prepared: MakePrepared, train: Train) -> None:
    def train_for(steps: int) -> ProbeResult:
        setup = make_prepared(optimizer="adam:lr=0.01", check_steps=10, min_steps=steps).setup
        return train(SingleTrainer(setup), [Probe("base", 10, 0)])[0]

    found = train_for(2000)
    assert found.verdict is Verdict.FITTED
    assert found.steps % 10 == 0
    sooner = train_for(found.steps - 10)
    assert sooner.verdict is Verdict.NOT_FITTED


def test_running_and_dropping(make_prepared: MakePrepared) -> None:
    trainer = SingleTrainer(make_prepared(check_steps=10).setup)
    assert trainer.advance() == []
    first, second, third = (Probe("base", 100, r) for r in range(3))
    for probe in (first, second, third):
        trainer.add(probe)
    assert trainer.running() == []
    trainer.advance()
    assert [(r.replicate, r.steps) for r in trainer.running()] == [(0, 10)]
    broken_off = trainer.drop(first)
    assert broken_off is not None
    assert (broken_off.replicate, broken_off.steps, broken_off.sample_steps) == (0, 10, 1000)
    assert broken_off.seconds > 0
    assert trainer.drop(second) is None
    assert trainer.drop(Probe("base", 7, 7)) is None  # never asked for
    assert trainer.running() == []
    trainer.advance()
    assert [(r.replicate, r.steps) for r in trainer.running()] == [(2, 10)]


def test_what_is_needed_goes_before_what_was_asked_ahead(make_prepared: MakePrepared) -> None:
    trainer = SingleTrainer(make_prepared(check_steps=10).setup)
    assert trainer.room() == 1
    first, second, third = (Probe("base", 100, r) for r in range(3))
    trainer.add(first, ahead=True)
    assert trainer.room() == 0
    trainer.add(second, ahead=True)
    trainer.add(third)
    trainer.advance()
    assert [run.replicate for run in trainer.running()] == [2]
    trainer.add(third)
    trainer.add(second)
    trainer.drop(third)
    trainer.advance()
    assert [run.replicate for run in trainer.running()] == [1], "needed by now, and the third is not in twice"
    assert trainer.room() == 0
    trainer.close()
    assert (trainer.running(), trainer.advance(), trainer.room()) == ([], [], 1)


def test_a_diverging_probe_does_not_poison_the_next(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(optimizer="sgd:lr=0.1").setup
    good = Probe("base", 30, 1)
    (alone,) = train(SingleTrainer(setup), [good])
    wild = make_prepared(optimizer="sgd:lr=1e30").setup
    assert train(SingleTrainer(wild), [Probe("base", 30, 0)])[0].verdict is Verdict.DIVERGED
    assert train(SingleTrainer(setup), [good]) == [alone]
