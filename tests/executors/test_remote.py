"""What a task or job does with its probes, in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from emc.executors import remote
from emc.executors.inline import InlineExecutor
from emc.executors.remote import key_of, prepare_process, train
from emc.results import ProbeFailure, ProbeResult
from emc.specs import Execution, Probe
from emc.training.setup import Setup

MakeSetup = Callable[..., Setup]


@pytest.fixture
def executor(make_setup: MakeSetup) -> InlineExecutor:
    return InlineExecutor(make_setup(min_steps=200), Execution(trainer="single"))


def test_each_end_is_told_when_it_comes_and_progress_between(
    executor: InlineExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "STATUS_EVERY_S", 0.0)
    probes = [Probe("base", n, 0) for n in (40, 20)]
    news = list(train(executor, probes, lambda: False))
    assert [key_of(each) for each in news if isinstance(each, ProbeResult)] == [probe.key for probe in probes]
    (first, *_) = (each for each in news if isinstance(each, tuple))
    assert (first[0].n, first[0].steps) == (40, 10)
    assert executor.running() == []


def test_it_stops_between_two_counts(executor: InlineExecutor) -> None:
    answers = iter([False, True])
    assert list(train(executor, [Probe("base", 1000, 0)], lambda: next(answers))) == []
    assert executor.running() == []


def test_a_failure_is_of_its_probe(make_setup: MakeSetup) -> None:
    class Net(torch.nn.Linear):
        def forward(self, X: torch.Tensor) -> torch.Tensor:
            if len(X) == 99:
                raise ValueError("99 samples")
            return super().forward(X.flatten(1))

    executor = InlineExecutor(make_setup(lambda _shape, classes: Net(64, classes)), Execution())
    first, second = train(executor, [Probe("base", n, 0) for n in (99, 20)], lambda: False)
    assert isinstance(first, ProbeFailure)
    assert key_of(first) == Probe("base", 99, 0).key
    assert isinstance(second, ProbeResult)


def test_threads_are_those_asked_for(make_setup: MakeSetup) -> None:
    prepare_process([make_setup()], 2)
    assert torch.get_num_threads() == 2
    prepare_process([], 1)
