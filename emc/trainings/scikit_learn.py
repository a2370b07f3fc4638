"""scikit-learn's classifiers."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from emc.errors import SpecError, TrainingError, UnknownNameError, did_you_mean
from emc.registry import Value
from emc.trainings import TRAININGS, NamedTraining, Predict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: The parameter that the seed of a probe sets, where a classifier has it.
SEED = "random_state"


@TRAININGS.register("sklearn", bare="estimator")
def sklearn(*, estimator: str, **parameters: Value) -> NamedTraining:
    """A classifier of scikit-learn's own list on flattened inputs; its parameters are options, random_state is set."""
    import sklearn

    kind = _find(estimator)
    _check_parameters(estimator, kind, parameters)
    seeded = SEED in kind().get_params()

    def fit(X: npt.NDArray[np.float32], y: npt.NDArray[np.int64], seed: int, _budget: int) -> Predict:
        """Fit a fresh classifier; samples of one class need none, and many classifiers refuse them."""
        if (y == y[0]).all():
            return lambda inputs: y[:1].repeat(len(inputs))
        made = kind(**parameters, **({SEED: seed} if seeded else {}))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=_convergence_warning())  # its own stop is its outcome
            warnings.filterwarnings("ignore", message="The number of unique classes")  # they are classes
            with _refusals(estimator, len(X)):
                made.fit(X.reshape(len(X), -1), y)

        def predict(inputs: npt.NDArray[np.float32]) -> Any:
            with _refusals(estimator, len(X)):
                return made.predict(inputs.reshape(len(inputs), -1))

        return predict

    return NamedTraining(fit, f"scikit-learn {sklearn.__version__}")


@contextmanager
def _refusals(estimator: str, n: int) -> Iterator[None]:
    """Tell what a classifier refuses, which often is too few samples.

    Raises:
        TrainingError: it refused.
    """
    try:
        yield
    except ValueError as error:
        raise TrainingError(
            f"{estimator} must take {n} samples, got ValueError: {' '.join(str(error).split())}; change its "
            "parameters, or begin at more samples with --n-start"
        ) from error


def _find(name: str) -> type[Any]:
    """The classifier of that name.

    Raises:
        UnknownNameError: scikit-learn lists no such classifier.
        SpecError: it is made of other classifiers, which a text cannot name.
    """
    from sklearn.utils import all_estimators

    known: dict[str, type[Any]] = dict(all_estimators(type_filter="classifier"))
    if name not in known:
        raise UnknownNameError(f'scikit-learn has no classifier "{name}"; {did_you_mean(name, known)}')
    parameters = inspect.signature(known[name]).parameters.values()
    needed = [parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty]
    if needed:
        raise SpecError(
            f"training sklearn takes classifiers that need nothing, got {name}, which needs {', '.join(needed)}; "
            "write a function and name it by --train file.py:name"
        )
    return known[name]


def _check_parameters(name: str, kind: type[Any], given: dict[str, Value]) -> None:
    """Refuse parameters that the classifier does not have, or not with such values.

    Raises:
        UnknownNameError, SpecError: such a parameter, or `random_state`, which is every probe's own.
    """
    from sklearn.utils._param_validation import InvalidParameterError

    if SEED in given:
        raise SpecError(
            f"{SEED} is set from the seed of every probe, got {SEED}={given[SEED]} for {name}; leave it out, --seed "
            "chooses other seeds"
        )
    known = kind().get_params()
    for key in given:
        if key not in known:
            raise UnknownNameError(f'{name} has no parameter "{key}"; {did_you_mean(key, set(known) - {SEED})}')
    try:
        kind(**given)._validate_params()
    except InvalidParameterError as error:
        raise SpecError(f"{name} takes other values: {' '.join(str(error).split())}") from error


def _convergence_warning() -> type[Warning]:
    from sklearn.exceptions import ConvergenceWarning

    found: type[Warning] = ConvergenceWarning
    return found
