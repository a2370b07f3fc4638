"""What an analysis script calls: `measure`, and `prepare` for whoever wants to look before running."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emc.data.dataset import Dataset
from emc.data.regimes import LABELS, check_classes
from emc.engine import Observer, Sought
from emc.errors import UnknownNameError, did_you_mean
from emc.estimators import make_estimator
from emc.resolve import (
    ModelFactory,
    load_data,
    make_setup,
    pick_device,
    resolve_names,
    resolve_sizes,
    shared_key,
    with_procedure,
)
from emc.results import EmcResult, cost
from emc.search.base import AskTell
from emc.session import Driven, drive
from emc.specs import Execution, Measurement, digest, flat_settings
from emc.training.setup import Setup
from emc.tuning import Tuning, choose, tune


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
        tuning: how the learning rate was chosen; None where it was named, or is yet to be chosen.
    """

    measurement: Measurement
    dataset: Dataset
    setup: Setup
    execution: Execution
    num_classes: int
    tuning: Tuning | None = None

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
        """Identity of the measurement: its probes' base, search, replicates and confidence; its tuner until tuned."""
        tuner = self.measurement.tune
        return digest(
            {
                "base": self.base,
                "search": self.measurement.search.to_dict(),
                "replicates": self.measurement.replicates,
                "confidence": self.measurement.confidence,
            }
            | ({} if tuner is None else {"tune": str(tuner)}),
            16,
        )

    def rough_cost(self) -> dict[str, float]:
        """An upper estimate: the dearest EMC the search could find, every training run to its budget, none diverged.

        Returns:
            probes, steps, sample_steps, and flops (6 a parameter and sample: forward and backward of dense layers).
        """
        setup, paths = self.setup, make_estimator(self.measurement).worst_paths()
        sample_steps = max(sum(setup.budget(n) * setup.batch_size(n) for n in path) for path in paths)
        return {
            "probes": max(len(path) for path in paths),
            "steps": max(sum(setup.budget(n) for n in path) for path in paths),
            "sample_steps": sample_steps,
            "flops": 6.0 * self.parameters * sample_steps,
        }

    def tuned(self, observer: Observer | None = None) -> Prepared:
        """The measurement with its tuner's choice written out; itself where there is nothing to tune.

        Ctrl-C leaves the choice open, and `drive` then does nothing but say that it was interrupted.

        Raises:
            JournalError: the journal cannot be read or written.
            TrainingError: a training raised.
        """
        if self.measurement.tune is None or self.tuning is not None:
            return self
        tuning = tune(self.measurement, self.setup, self.num_classes, self.execution, observer)
        if tuning.chosen is None:
            return replace(self, tuning=tuning)
        procedure = choose(self.measurement.procedure, tuning.chosen)
        measurement, setup = with_procedure(replace(self.measurement, tune=None), self.setup, procedure)
        return replace(self, measurement=measurement, setup=setup, tuning=tuning)

    def drive(self, searches: Sequence[AskTell], observer: Observer | None = None) -> Driven:
        """Drive searches to their end over this measurement's probes.

        Raises:
            JournalError: the journal cannot be read or written.
            TrainingError: a training raised.
            RuntimeError: the measurement is yet to be tuned.
        """
        if self.measurement.tune is not None:
            if self.tuning is None:
                raise RuntimeError("a measurement with a tuner is tuned before its searches are driven")
            return replace(drive({self.base: self.setup}, self.execution, []), interrupted=True)
        sought = [Sought(self.base, search) for search in searches]
        return drive({self.base: self.setup}, self.execution, sought, observer)

    def run(self, observer: Observer | None = None) -> EmcResult:
        """Run the measurement, its tuning first; Ctrl-C returns what is known by then.

        Raises:
            JournalError: the journal cannot be read or written.
            TrainingError: a training raised.
        """
        return self.tuned(observer)._measure(observer)

    def _measure(self, observer: Observer | None) -> EmcResult:
        estimator = make_estimator(self.measurement)
        driven = self.drive(estimator.searches, observer)
        found = estimator.conclude()
        parameters = self.parameters
        uniform = LABELS.get(self.measurement.task.labels.name).facts.get("uniform")
        known = uniform and self.measurement.search.goal.kind == "fit"  # else labels are missed
        bits = found.emc * float(np.log2(self.num_classes)) / parameters if known else None
        return EmcResult(
            emc=found.emc,
            censored=found.censored,
            status=found.status,
            lower=found.lower,
            upper=found.upper,
            interval=found.interval,
            interval_method=found.interval_method,
            confidence=self.measurement.confidence,
            estimand=self.measurement.estimand,
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
            warnings=found.warnings,
            tuning=None if self.tuning is None else self.tuning.to_dict(),
            unused=driven.unused(found.probes),
        )
