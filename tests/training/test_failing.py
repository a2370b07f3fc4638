"""What a user is told of an exception in a training."""

from __future__ import annotations

import pytest
import torch

from emc.errors import DataError, TrainingError
from emc.specs import Probe
from emc.training.failing import as_training_error, raised

PROBE = Probe("base", 20, 3)


class SpeechlessError(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ValueError("a line\nand another"),
            "a training must run without errors, got ValueError: a line; mend the",
        ),
        (
            SpeechlessError(),
            r"a training must run without errors, got SpeechlessError: \(without a text\); mend the model",
        ),
        (torch.OutOfMemoryError("x"), "one training alone does not fit into memory, got OutOfMemoryError: x; take a"),
        (RuntimeError("std::bad_alloc"), r"one training alone does not fit into memory, got RuntimeError: std::bad_"),
        (MemoryError(), "one training alone does not fit into memory, got MemoryError: ; take a smaller model or"),
    ],
)
def test_the_sentence(error: Exception, told: str) -> None:
    with pytest.raises(TrainingError, match=f"^{told}"):
        raise as_training_error(error)


def test_a_failure_shows_where_it_came_from_and_keeps_no_frame() -> None:
    for error in (DataError("as it is"), KeyError("name")):
        try:
            raise error
        except Exception as caught:
            failed = raised(PROBE, caught)
        assert failed.probe == PROBE
        assert "in test_a_failure_shows" in failed.trace
        assert failed.error.__traceback__ is None
        with pytest.raises(type(failed.error), match=r"as it is|KeyError") as again:
            raise failed.error
        assert failed.trace in str(again.value.__cause__)


def test_a_broken_gpu_is_no_single_trainings_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def synchronize() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    with pytest.raises(
        TrainingError, match=r"^the GPU must stay usable, got ValueError: x, after which nothing can be"
    ):
        raised(PROBE, ValueError("x"))
