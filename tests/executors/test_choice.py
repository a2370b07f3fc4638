"""What `auto` picks by rule, and what it times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import normed_cnn

from emc.errors import SpecError
from emc.executors import choice
from emc.executors.choice import choose, expected_steps, place, predictions, seconds_a_step
from emc.specs import Execution
from emc.training.setup import Setup

MakeSetup = Callable[..., Setup]


def on_gpu(setup: Setup) -> Setup:
    """The setup as it looks where there is a GPU; nothing can be trained with it."""
    pool = object.__new__(type(setup.pool))
    vars(pool).update(vars(setup.pool) | {"device": torch.device("cuda")})
    return replace(setup, pool=pool)


def two_activations(_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Stacked, but none that compiled loops know."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Tanh(), nn.Linear(4, classes))


def with_dropout(_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Neither: it draws random numbers."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Dropout(0.5), nn.Linear(4, classes))


def test_why_a_model_is_not_stacked_is_said(make_setup: MakeSetup) -> None:
    assert choose(on_gpu(make_setup(with_dropout)), "auto").why.startswith("it draws random numbers in training mode")
    assert choose(make_setup(with_dropout), "auto").why == "on a CPU a stack of its models is no faster"
    assert choose(make_setup(optimizer="lbfgs"), "auto").why == "its optimizer has no stacked form"


@pytest.mark.parametrize(
    ("settings", "cpu", "gpu"),
    [
        ({}, "compiled", "lockstep"),
        ({"model": "linear", "optimizer": "gd"}, "compiled", "lockstep"),
        ({"own_model": two_activations}, "lockstep", "lockstep"),
        ({"model": "cnn"}, "compiled", "lockstep"),
        ({"model": "cnn:width=16"}, "single", "lockstep"),
        ({"own_model": normed_cnn}, "single", "lockstep"),
        ({"own_model": with_dropout}, "single", "single"),
        ({"optimizer": "lbfgs"}, "single", "single"),
        ({"optimizer": "shampoo"}, "single", "single"),
        ({"optimizer": "sam"}, "single", "single"),
        ({"optimizer": "lion"}, "lockstep", "lockstep"),
        ({"clip_norm": 1.0}, "lockstep", "lockstep"),
        ({"label_smoothing": 0.1}, "lockstep", "lockstep"),
        ({"augment": "flip"}, "single", "single"),
        ({"model": "linear", "optimizer": "lstsq", "loss": "squared"}, "direct", "direct"),
    ],
)
def test_the_rule(make_setup: MakeSetup, settings: dict[str, Any], cpu: str, gpu: str) -> None:
    setup = make_setup(**settings)
    assert choose(setup, "auto").trainer == cpu
    assert choose(on_gpu(setup), "auto").trainer == gpu
    if cpu != "direct":
        assert choose(setup, "single").trainer == "single"
        assert choose(setup, cpu).trainer == cpu


@pytest.mark.parametrize(
    ("settings", "trainer", "why"),
    [
        ({"optimizer": "lbfgs"}, "lockstep", "stacked, but its optimizer has no stacked form; use single"),
        ({"optimizer": "lbfgs"}, "compiled", "loops know, but its optimizer has no compiled form; use auto"),
        ({"clip_norm": 1.0}, "compiled", "loops know, but its gradients are clipped; use auto"),
        ({"label_smoothing": 0.1}, "compiled", "loops know, but its labels are smoothed; use auto"),
        ({"own_model": with_dropout}, "compiled", "loops know, but its model is no chain of Linear, .*; use auto"),
    ],
)
def test_a_trainer_asked_for_that_cannot_is_refused(
    make_setup: MakeSetup, settings: dict[str, Any], trainer: str, why: str
) -> None:
    with pytest.raises(SpecError, match=rf"--trainer {trainer} needs a procedure that .*{why}"):
        choose(make_setup(**settings), trainer)


@pytest.mark.parametrize(
    ("seconds", "searches", "execution", "workers", "why"),
    [
        (0.01, 6, Execution(), 3, "predicted 2505 s, here 7500 s"),
        (0.01, 2, Execution(), 3, "predicted 1255 s, here 2500 s"),
        (0.01, 1, Execution(), 0, "predicted 1250 s, in 3 processes 1255 s"),
        (1e-6, 6, Execution(), 0, "predicted 1 s, in 3 processes 5 s"),
        (0.01, 6, Execution(threads=2), 0, "each training has several threads"),
        (0.01, 6, Execution(workers=1), 0, "one process is all there may be"),
        (0.0, 1, Execution(workers=7), 7, "as asked for"),
        (
            0.0,
            1,
            Execution(probe_timeout=9),
            3,
            "--probe-timeout ends a training that hangs only in a process of its own",
        ),
        (0.0, 1, Execution(probe_timeout=9, workers=1), 1, "--probe-timeout ends a training that hangs only in a pro"),
    ],
)
def test_where_single_trains(
    make_setup: MakeSetup,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    searches: int,
    execution: Execution,
    workers: int,
    why: str,
) -> None:
    monkeypatch.setattr(choice, "seconds_a_step", lambda _setup: seconds)
    monkeypatch.setattr(choice, "num_cores", lambda: 3)
    setup = make_setup(normed_cnn, min_steps=62_500)
    assert expected_steps(setup, 2) == 250_000
    found = place([setup], execution, searches)
    assert found.workers == workers
    assert found.why.startswith(why)
    assert place([on_gpu(setup)], execution, searches).workers == 0
    monkeypatch.setattr(choice, "has_processes", lambda: False)
    assert place([setup], execution, searches).workers == 0


def test_steps_are_timed(make_setup: MakeSetup) -> None:
    assert 0 < seconds_a_step(make_setup(normed_cnn)) < 1
    assert 0 < seconds_a_step(make_setup(optimizer="lbfgs")) < 1
    assert set(predictions(make_setup(), Execution(), 2)) == {"single", "lockstep", "compiled"}
    assert set(predictions(make_setup(normed_cnn), Execution(), 2)) == {"single", "lockstep"}


def test_a_model_that_raises_is_told_of_when_it_trains(make_setup: MakeSetup) -> None:
    class Failing(nn.Flatten):
        def forward(self, X: Tensor) -> Tensor:
            if len(X) > 4:
                raise ValueError("later")
            return super().forward(X)

    assert seconds_a_step(make_setup(lambda _shape, classes: nn.Sequential(Failing(), nn.Linear(64, classes)))) == 0
