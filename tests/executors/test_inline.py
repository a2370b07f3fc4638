"""Which trainer runs, and what becomes of a user's own errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor, nn
from toys import normed_cnn

from emc.errors import JournalError, SpecError
from emc.executors.base import Executor
from emc.executors.choice import stacking_obstacle
from emc.executors.inline import InlineExecutor
from emc.results import ProbeFailure, ProbeResult, Verdict
from emc.specs import Execution, Probe
from emc.training.setup import Setup

MakeSetup = Callable[..., Setup]
Finish = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]


@pytest.mark.parametrize(
    ("settings", "trainer", "expected"),
    [
        ({}, "auto", "compiled"),
        ({}, "lockstep", "lockstep"),
        ({}, "single", "single"),
        ({"model": "linear", "optimizer": "gd"}, "auto", "compiled"),
        ({"optimizer": "lbfgs"}, "auto", "single"),
        ({"model": "cnn"}, "auto", "compiled"),
        ({"own_model": normed_cnn}, "auto", "single"),
        ({"model": "cnn"}, "single", "single"),
        ({"model": "cnn"}, "lockstep", "lockstep"),
    ],
)
def test_the_trainer_is_chosen_by_what_can_be_stacked(
    make_setup: MakeSetup, finish: Finish, settings: dict[str, str], trainer: str, expected: str
) -> None:
    executor = InlineExecutor(make_setup(**settings), Execution(trainer=trainer))
    assert executor.name == expected
    results = finish(executor, [Probe("base", n, r) for n in (2, 40) for r in range(2)])
    assert {(r.n, r.replicate) for r in results} == {(2, 0), (2, 1), (40, 0), (40, 1)}


def test_each_setup_has_the_trainer_that_suits_it(make_setup: MakeSetup, finish: Finish) -> None:
    setups = {"mlp": make_setup(), "cnn": make_setup(normed_cnn), "linear": make_setup(model="linear")}
    executor = InlineExecutor(setups, Execution())
    assert executor.name == "compiled and single"
    probes = [Probe(base, 40, r) for base in setups for r in range(2)]
    for probe in probes:
        executor.add(probe)
    results = {result.key: result for result in executor.advance()}
    assert len(executor.running()) + len(results) == 5  # all but the second cnn
    broken_off = executor.drop(probes[2])
    assert broken_off is not None
    assert (broken_off.n, broken_off.steps) == (40, 10)
    while len(results) < 5:
        results |= {result.key: result for result in executor.advance()}
    assert set(results) == {probe.key for probe in probes} - {probes[2].key}
    alone = finish(InlineExecutor(setups["linear"], Execution()), [probes[4]])[0]
    assert replace(results[probes[4].key], seconds=0) == replace(alone, seconds=0)


def with_dropout(_shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, classes))


@pytest.mark.parametrize(
    ("own_model", "settings", "reason"),
    [
        (None, {"optimizer": "lbfgs"}, "its optimizer has no stacked form"),
        (with_dropout, {}, "it draws random numbers in training mode, as dropout does"),
    ],
)
def test_lockstep_is_refused_where_it_cannot_be(
    make_setup: MakeSetup, own_model: Any, settings: dict[str, str], reason: str
) -> None:
    setup = make_setup(own_model, **settings)
    assert stacking_obstacle(setup) == reason
    with pytest.raises(
        SpecError, match=f"--trainer lockstep needs a procedure that can be stacked, but {reason}; use single"
    ):
        InlineExecutor(setup, Execution(trainer="lockstep"))


def test_the_stack_is_limited(make_setup: MakeSetup) -> None:
    executor = InlineExecutor(make_setup(min_steps=100), Execution(trainer="lockstep", stack=3))
    for replicate in range(5):
        executor.add(Probe("base", 200, replicate))
    executor.advance()
    assert [probe.replicate for probe in executor.running()] == [0, 1, 2]
    executor.drop(Probe("base", 200, 1))
    executor.advance()
    assert [probe.replicate for probe in executor.running()] == [0, 2, 3]


def test_there_is_room_where_no_trainer_is_at_work(make_setup: MakeSetup) -> None:
    """The trainers take turns, so that a probe for an idle one slows those of the others."""
    executor = InlineExecutor({"mlp": make_setup(), "cnn": make_setup(normed_cnn)}, Execution())
    assert executor.room() == 1
    executor.add(Probe("cnn", 40, 0))
    assert executor.room() == 0
    executor.add(Probe("mlp", 40, 0), ahead=True)
    executor.add(Probe("mlp", 40, 1))
    assert len(executor.advance()) + len(executor.running()) == 3
    executor.close()
    assert (executor.running(), executor.advance(), executor.room()) == ([], [], 1)


class Failing(nn.Module):
    """Runs on two samples, as when it is tried, and raises while it is trained."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self._error = error

    def forward(self, X: Tensor) -> Tensor:
        if len(X) > 4:
            raise self._error
        return self.layer(X.flatten(1))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("a line\nand another"), "got ValueError: a line; mend the model"),
        (KeyError("name"), "got KeyError: 'name'; mend the model"),
        (AssertionError(), "got AssertionError: ; mend the model"),
    ],
)
def test_an_exception_in_a_model_is_a_training_error(make_setup: MakeSetup, error: Exception, told: str) -> None:
    executor = InlineExecutor(make_setup(own_model=lambda _shape, _classes: Failing(error)), Execution())
    executor.add(Probe("base", 20, 0))
    executor.add(Probe("base", 2, 0))
    failed, fitted = executor.advance(), executor.advance()
    assert isinstance(fitted[0], ProbeResult)
    assert isinstance(failed[0], ProbeFailure)
    assert failed[0].probe == Probe("base", 20, 0)
    assert str(failed[0].error).startswith(f"a training must run without errors, {told}")
    assert "\n" not in str(failed[0].error)
    assert "in forward" in str(failed[0].error.__cause__)
    assert executor.running() == []


def test_named_errors_stay_as_they_are(make_setup: MakeSetup) -> None:
    error = SpecError("as it is")
    executor = InlineExecutor(make_setup(own_model=lambda _shape, _classes: Failing(error)), Execution())
    executor.add(Probe("base", 20, 0))
    (failed,) = executor.advance()
    assert isinstance(failed, ProbeFailure)
    assert failed.error is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_passes_through(make_setup: MakeSetup, error: type[BaseException]) -> None:
    executor = InlineExecutor(make_setup(own_model=lambda _shape, _classes: Failing(error("now"))), Execution())
    executor.add(Probe("base", 20, 0))
    with pytest.raises(error, match=r"^now$"):
        executor.advance()


def test_what_is_no_single_trainings_error_passes_through(
    make_setup: MakeSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = InlineExecutor(make_setup(), Execution(trainer="lockstep"))
    for error in (JournalError("as it is"), KeyboardInterrupt("as it is")):

        def fail(_self: object, error: BaseException = error) -> list[ProbeResult]:
            raise error

        monkeypatch.setattr("emc.training.lockstep.LockstepTrainer.advance", fail)
        with pytest.raises(type(error), match=r"^as it is$"):
            executor.advance()


def test_frozen_parameters_of_a_users_model_are_not_trained(make_setup: MakeSetup, finish: Finish) -> None:
    """Random features: only the last layer learns, whatever trainer is chosen, so 3 features fit few of 40 labels."""

    def random_features(_shape: tuple[int, ...], classes: int) -> nn.Module:
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, classes))
        module[1].requires_grad_(False)
        return module

    setup = make_setup(own_model=random_features, optimizer="adam:lr=0.02", min_steps=500, check_steps=100, classes=2)
    executor = InlineExecutor(setup, Execution())
    (found,) = finish(executor, [Probe("base", 40, 0)])
    assert found.verdict is Verdict.NOT_FITTED
    full = make_setup(optimizer="adam:lr=0.02", min_steps=500, check_steps=100, classes=2, model="mlp:width=3")
    (free,) = finish(InlineExecutor(full, Execution()), [Probe("base", 40, 0)])
    assert free.correct > found.correct
