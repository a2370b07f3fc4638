"""What an analysis script calls: `measure`, and `prepare` for whoever wants to look before running."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emc.data.dataset import Dataset
from emc.data.regimes import LABELS, check_classes
from emc.engine import Observer
from emc.errors import UnknownNameError, did_you_mean
from emc.estimators import make_estimator
from emc.resolve import ModelFactory, load_data, make_setup, pick_device, resolve_names, resolve_sizes, shared_key
from emc.results import EmcResult, cost
from emc.search.base import AskTell
from emc.search.path import asked_at
from emc.session import Driven, drive
from emc.specs import Execution, Measurement, digest, flat_settings
from emc.training.setup import Setup

#: EMCs tried by `Prepared.rough_cost`.
THRESHOLDS = 32


def measure(
    *,
    model: str | ModelFactory = "mlp",
    data: str | tuple[Any, Any] = "digits",
    observer: Observer | None = None,
    journal: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> EmcResult:
    """Measure the effective model complexity of a training procedure.

    Args:
        model: a model by name, such as "mlp:width=32", or a callable (input shape, classes) -> fresh `nn.Module`.
        data: a dataset by name, or a pair X: (rows, ...) numbers, y: (rows,) classes.
        observer: called a few times a second with a `Progress`.
        journal: file that keeps every verdict, so that the same call continues after a crash; None keeps none.
        settings: any other setting of `Task`, `Procedure`, `Search`, `Measurement` or `Execution` by name, such as
            labels="random", replicates=6, device="cpu".

    Returns:
        The EMC with status, interval, evidence and cost.

    Raises:
        EmcError: a setting, the data or the journal is wrong, or a training raised; the message says the remedy.
    """
    return prepare_named(model, data, journal, settings).run(observer)


def prepare_named(
    model: str | ModelFactory,
    data: str | tuple[Any, Any],
    journal: str | os.PathLike[str] | None,
    settings: Mapping[str, Any],
) -> Prepared:
    """`prepare` from what `measure` takes.

    Raises:
        UnknownNameError, SpecError, DataError: see `prepare`.
    """
    _check_names(settings)
    names = Execution.__dataclass_fields__
    execution = {key: value for key, value in settings.items() if key in names}
    what = {key: value for key, value in settings.items() if key not in names}
    if journal is not None:
        execution["journal"] = os.fspath(journal)
    if isinstance(model, str):
        what["model"] = model
    if isinstance(data, str):
        what["data"] = data
    return prepare(
        Measurement.from_flat(what),
        dataset=None if isinstance(data, str) else data,
        model=None if isinstance(model, str) else model,
        execution=Execution(**execution),
    )


def _check_names(settings: Iterable[str]) -> None:
    """Of an unknown name say which one of all that `measure` takes may have been meant."""
    known = {*flat_settings(), *Execution.__dataclass_fields__, "observer"}
    for name in settings:
        if name not in known:
            raise UnknownNameError(f'there is no setting "{name}"; {did_you_mean(name, known)}')


def prepare(
    measurement: Measurement,
    *,
    dataset: Dataset | tuple[Any, Any] | None = None,
    model: ModelFactory | None = None,
    execution: Execution | None = None,
) -> Prepared:
    """Load the data and resolve every plug-in, so that a measurement can be looked at and run.

    Args:
        measurement: what to measure.
        dataset: a pool, or arrays (X, y), instead of the named one.
        model: a callable instead of the named model.
        execution: where and how.

    Raises:
        EmcError: an unknown name, an option out of range, data that cannot be read, a device that is not there.
    """
    execution = Execution() if execution is None else execution
    measurement = resolve_names(measurement, own_model=model is not None, own_data=dataset is not None)
    device = pick_device(execution.device)
    pool = load_data(measurement.task, dataset)
    K = check_classes(len(pool.facts.classes), measurement.task.labels, measurement.task.classes)
    measurement = replace(measurement, search=resolve_sizes(measurement.search, K, pool.facts.rows))
    measurement, setup = make_setup(measurement, pool, K, model, device)
    return Prepared(measurement, pool, setup, execution, K)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A measurement whose every name and default is resolved.

    Attributes:
        measurement: with all options written out.
        dataset: the pool.
        setup: what trainers use.
        execution: where and how.
        num_classes: K.
    """

    measurement: Measurement
    dataset: Dataset
    setup: Setup
    execution: Execution
    num_classes: int

    @property
    def parameters(self) -> int:
        """Trainable parameters."""
        return sum(p.numel() for p in self.setup.make_model().parameters() if p.requires_grad)

    @property
    def base(self) -> str:
        """Digest of what all probes share: task by content, procedure, seed, device type, precision, versions."""
        return shared_key(self.measurement, self.dataset, self.num_classes, self.setup.pool.device)

    @property
    def fingerprint(self) -> str:
        """Identity of the measurement: its probes' base, search, replicates and confidence."""
        return digest(
            {
                "base": self.base,
                "search": self.measurement.search.to_dict(),
                "replicates": self.measurement.replicates,
                "confidence": self.measurement.confidence,
            },
            16,
        )

    def rough_cost(self) -> dict[str, float]:
        """An upper estimate: the dearest EMC the search could find, every training run to its budget, none diverged.

        Returns:
            probes, steps, sample_steps, and flops (6 a parameter and sample: forward and backward of dense layers).
        """
        search, setup = self.measurement.search, self.setup
        *_, n_max = search.sizes
        thresholds = {round(n_max ** (part / THRESHOLDS)) for part in range(THRESHOLDS)} | {0, n_max - 1, n_max}
        paths = [asked_at(search, *search.sizes, k) for k in thresholds]
        R = self.measurement.replicates
        sample_steps = R * max(sum(setup.budget(n) * setup.batch_size(n) for n in path) for path in paths)
        return {
            "probes": R * max(len(path) for path in paths),
            "steps": R * max(sum(setup.budget(n) for n in path) for path in paths),
            "sample_steps": sample_steps,
            "flops": 6.0 * self.parameters * sample_steps,
        }

    def drive(self, searches: Sequence[AskTell], observer: Observer | None = None) -> Driven:
        """Drive searches to their end over this measurement's probes.

        Raises:
            JournalError: the journal cannot be read or written.
            TrainingError: a training raised.
        """
        return drive(self.setup, self.execution, [(self.base, search) for search in searches], observer)

    def run(self, observer: Observer | None = None) -> EmcResult:
        """Run the measurement; Ctrl-C returns what is known by then.

        Raises:
            JournalError: the journal cannot be read or written.
            TrainingError: a training raised.
        """
        estimator = make_estimator(self.measurement)
        driven = self.drive(estimator.searches, observer)
        found = estimator.conclude()
        parameters = self.parameters
        uniform = LABELS.get(self.measurement.task.labels.name).facts.get("uniform")
        bits = found.emc * float(np.log2(self.num_classes)) / parameters if uniform else None
        return EmcResult(
            emc=found.emc,
            censored=found.censored,
            status=found.status,
            lower=found.lower,
            upper=found.upper,
            interval=found.interval,
            interval_method=found.interval_method,
            confidence=self.measurement.confidence,
            estimand=self.measurement.search.estimand,
            replicates=found.replicates,
            parameters=parameters,
            bits_per_parameter=bits,
            task=self.measurement.task.to_dict(),
            procedure=self.measurement.procedure.to_dict(),
            search=self.measurement.search.to_dict(),
            dataset=self.dataset.facts.to_dict(),
            seed=self.measurement.seed,
            fingerprint=self.fingerprint,
            probes=found.probes,
            cost=cost(found.probes),
            versions=driven.versions,
            detail=found.detail,
        )
