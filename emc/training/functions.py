"""A user's training as a function in Python: (X, y, seed, budget) -> predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emc.errors import EmcError, TrainingError
from emc.training.answers import Counted, right_answers
from emc.training.opaque import Answer, Given
from emc.trainings import Predict, TrainFunction


@dataclass(frozen=True, eq=False)
class Function:
    """A training that is a function.

    Attributes:
        name: as a user knows it.
        fit: trains.
    """

    name: str
    fit: TrainFunction

    @property
    def apart(self) -> bool:
        """It trains in the process that calls it."""
        return False

    def start(self, given: Given) -> FunctionRun:
        """Start it: it trains when it is asked what came of it."""
        return FunctionRun(self, given)


@dataclass(frozen=True, eq=False)
class FunctionRun:
    """One call of such a function."""

    function: Function
    given: Given

    def poll(self) -> Answer:
        """Train, and count the right answers; the function has copies of the arrays.

        Raises:
            TrainingError: it raised, or gave something else than it must.
        """
        given, name = self.given, self.function.name
        try:
            predict = self.function.fit(given.X.copy(), given.y.copy(), given.seed, given.budget)
        except (Exception, SystemExit) as error:  # a script's main function may end with sys.exit
            raise _raised(f"training {name}", error) from error
        if not callable(predict):
            raise TrainingError(
                f"training {name} must return a function predict(X), got {type(predict).__name__}; mend it"
            )
        found = self._count(predict, given.X, given.y)
        if given.test is None:
            return Answer(found.right, found.detail())
        X, y = given.test
        held_out = {"test_correct": self._count(predict, X, y).right, "test_rows": len(y)}
        return Answer(found.right, found.detail() | held_out)

    def _count(self, predict: Predict, X: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> Counted:
        owner = f"predict of training {self.function.name}"
        try:
            answers: Any = predict(X.copy())
        except (Exception, SystemExit) as error:
            raise _raised(owner, error) from error
        return right_answers(answers, y, self.given.num_classes, owner)

    def stop(self) -> None:
        """Nothing goes on between two calls."""


def _raised(owner: str, error: Exception | SystemExit) -> EmcError:
    if isinstance(error, EmcError):
        return error
    try:
        message = " ".join(str(error).split())
    except Exception:  # a user's exception may not even have a text
        message = "(without a text)"
    return TrainingError(
        f"{owner} must end without errors, got {type(error).__name__}: {message}; mend it (--debug shows where)"
    )
