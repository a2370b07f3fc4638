"""What an analysis script calls: `measure`, and `prepare` for whoever wants to look before running."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from emc.data.dataset import Dataset
from emc.data.regimes import LABELS, check_classes
from emc.engine import Observer
from emc.errors import EmcError, SpecError, UnknownNameError, did_you_mean
from emc.estimators import make_estimator
from emc.estimators.base import Estimator
from emc.models.inits import INITS
from emc.opaque import spec_of_function
from emc.registry import PluginSpec
from emc.reparams.modules.wrapped import Sizes, sizes_of, steps_before
from emc.resolve import (
    ARRAYS,
    ModelFactory,
    OwnData,
    Stock,
    load_data,
    make_setup,
    match_parameters,
    pick_device,
    resolve_names,
    resolve_sizes,
    shared_key,
    with_procedure,
)
from emc.results import Bracket, EmcResult, cost, failed_record, measurement_record
from emc.search.base import AskTell
from emc.session import Driven, Ended, drive
from emc.sought import Sought
from emc.specs import Execution, Measurement, digest, flat_settings
from emc.stopping import stoppable
from emc.training.setup import Setup
from emc.trainings import TrainFunction
from emc.tuning import Tuning, choose, tune


def measure(
    *,
    model: str | ModelFactory = "mlp",
    data: OwnData = "digits",
    train: str | TrainFunction | None = None,
    observer: Observer | None = None,
    journal: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> EmcResult:
    """Measure the effective model complexity of a training procedure.

    Args:
        model: a model by name, such as "mlp:width=32" or "net.py:Net,width=32", or a callable (input shape, classes)
            -> fresh `nn.Module`.
        data: a dataset by name; a pair X: (rows, ...) numbers, y: (rows,) classes; a map-style torch `Dataset` of pairs
            (input, class); or a Hugging Face `Dataset`.
        train: a whole training in place of model and optimizer, by name or as a function (X, y, seed, budget) ->
            predict (`emc.trainings`).
        observer: called a few times a second with a `Progress`.
        journal: file that keeps every verdict, so that the same call continues after a crash; None keeps none.
        settings: any other setting of `Task`, `Procedure`, `Search`, `Measurement` or `Execution` by name, such as
            labels="random", replicates=6, device="cpu".

    Returns:
        The EMC with status, interval, evidence and cost.

    Raises:
        EmcError: a setting, the data or the journal is wrong, or a training raised; the message says the remedy.
    """
    return prepare_named(model, data, journal, settings, train).run(observer)


def prepare_named(
    model: str | ModelFactory,
    data: OwnData,
    journal: str | os.PathLike[str] | None,
    settings: Mapping[str, Any],
    train: str | TrainFunction | None = None,
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
    if train is not None:
        what["train"] = train if isinstance(train, str) else spec_of_function(train)
    return prepare(
        Measurement.from_flat(what),
        dataset=None if isinstance(data, str) else data,
        model=None if isinstance(model, str) else model,
        train=None if isinstance(train, str) else train,
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
    dataset: Dataset | OwnData | None = None,
    model: ModelFactory | None = None,
    train: TrainFunction | None = None,
    execution: Execution | None = None,
    cell: Mapping[str, Any] | None = None,
    stock: Stock | None = None,
) -> Prepared:
    """Load the data and resolve every plug-in, so that a measurement can be looked at and run.

    Args:
        measurement: what to measure.
        dataset: a pool, or arrays (X, y), instead of the named one.
        model: a callable instead of the named model.
        train: a function instead of the named training.
        execution: where and how.
        cell: the settings as the user gave them, for the record; None takes those of `measurement` that are no default.
        stock: what measurements prepared together share.

    Raises:
        EmcError: an unknown name, an option out of range, data that cannot be read, a device that is not there.
    """
    execution = Execution() if execution is None else execution
    stock = Stock() if stock is None else stock
    given = measurement
    own = {"own_model": model is not None, "own_data": dataset is not None, "own_training": train is not None}
    measurement = resolve_names(measurement, **own)
    opaque = measurement.procedure.opaque
    if opaque and model is not None:
        raise SpecError("a training of yours makes its own model, got model= too; leave one of them out")
    device = pick_device(_device_name(execution, opaque), execution.cluster)
    pool = stock.dataset(measurement.task) if dataset is None else load_data(measurement.task, dataset)
    K = check_classes(len(pool.facts.classes), measurement.task.labels, measurement.task.classes)
    measurement = replace(measurement, search=resolve_sizes(measurement.search, K, pool.facts.rows))
    measurement, matched = match_parameters(measurement, pool.facts.shape, K)
    measurement, setup = make_setup(measurement, pool, K, model, device, stock, train)
    if cell is None:
        arrays = {"data": str(ARRAYS)} if dataset is not None else {}
        cell = _changed(given) | arrays | ({} if model is None else {"model": str(measurement.procedure.model)})
    return Prepared(measurement, pool, setup, execution, K, cell, matched)


def _device_name(execution: Execution, opaque: bool) -> str:
    """A training that emc cannot look into is handed arrays, and picks its device itself."""
    if not opaque:
        return execution.device
    if execution.device == "cuda":
        raise SpecError("a training of yours picks its device itself, got --device cuda; leave it out")
    return "cpu"


def _changed(measurement: Measurement) -> dict[str, Any]:
    """The settings that differ from their defaults, as plain values."""
    found, defaults = {}, Measurement()
    for name, (part, _) in flat_settings().items():
        value, default = (getattr(getattr(of, part) if part else of, name) for of in (measurement, defaults))
        if value != default:
            found[name] = str(value) if isinstance(value, PluginSpec) else value
    return found


@dataclass(frozen=True, eq=False)
class Prepared:
    """A measurement whose every name and default is resolved.

    Attributes:
        measurement: with all options written out.
        dataset: the pool.
        setup: what trainers use.
        execution: where and how.
        num_classes: K.
        cell: the settings as the user gave them.
        matched: how the model was found by its size (`EmcResult.matched`); None where it was named.
        tuning: how the learning rate was chosen; None where it was named, or is yet to be chosen.
        untuned: the fingerprint before the tuning; None where there was none.
    """

    measurement: Measurement
    dataset: Dataset
    setup: Setup
    execution: Execution
    num_classes: int
    cell: Mapping[str, Any]
    matched: Mapping[str, Any] | None = None
    tuning: Tuning | None = None
    untuned: str | None = None

    @cached_property
    def sizes(self) -> Sizes | None:
        """How large the model is: numbers trained and stored, and bits; None of a training emc cannot look into."""
        if self.setup.training is not None:
            return None
        drawn = "identify" not in INITS.get(self.measurement.procedure.init.name).facts
        return sizes_of(self.setup.make_model(), torch.finfo(self.setup.pool.dtype).bits, drawn)

    @property
    def parameters(self) -> int | None:
        """Trainable parameters; None of a training that emc cannot look into."""
        return None if self.sizes is None else self.sizes.trained

    @cached_property
    def base(self) -> str:
        """Digest of what all probes share: task by content, procedure, seed, device type, precision, versions."""
        return shared_key(self.measurement, self.dataset, self.num_classes, self.setup.pool.device)

    @cached_property
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
            probes, steps, sample_steps, and flops (6 a parameter and sample: forward and backward of dense layers; of
            a reparameterised model those of the network), which are not known of a training that emc cannot look into.
        """
        setup, paths, sizes = self.setup, make_estimator(self.measurement).worst_paths(), self.sizes
        before = 0 if sizes is None else steps_before(setup.make_model())
        sample_steps = max(sum((before + setup.budget(n)) * setup.step_size(n) for n in path) for path in paths)
        flops = {} if sizes is None else {"flops": 6.0 * max(sizes.trained, sizes.stored) * sample_steps}
        return {
            "probes": max(len(path) for path in paths),
            "steps": max(sum(setup.budget(n) for n in path) for path in paths),
            "sample_steps": sample_steps,
            **flops,
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
        return replace(self, measurement=measurement, setup=setup, tuning=tuning, untuned=self.fingerprint)

    def drive(
        self, searches: Sequence[AskTell], observer: Observer | None = None, ended: Ended | None = None
    ) -> Driven:
        """Drive searches to their end over this measurement's probes.

        Raises:
            JournalError: the journal cannot be read or written.
            TrainingError: a training raised.
            RuntimeError: the measurement is yet to be tuned.
        """
        setups = {self.base: self.setup}
        if self.measurement.tune is not None:
            if self.tuning is None:
                raise RuntimeError("a measurement with a tuner is tuned before its searches are driven")
            return replace(drive(setups, self.execution, []), interrupted=True)
        sought = [Sought(self.base, search) for search in searches]
        return drive(setups, self.execution, sought, observer, ended=ended)

    @stoppable()
    def run(self, observer: Observer | None = None) -> EmcResult:
        """Run the measurement, its tuning first; Ctrl-C returns what is known by then.

        Raises:
            JournalError: the journal cannot be read or written.
            TrainingError: a training raised.
        """
        return self.tuned(observer)._measure(observer)

    def _measure(self, observer: Observer | None) -> EmcResult:
        group = Group([self])
        driven = self.drive([sought.search for sought in group.searches], observer, group.ended)
        result = group.result(0, driven.versions)
        return replace(result, unused=driven.unused(result.probes))

    def conclude(self, estimator: Estimator, versions: Mapping[str, Any]) -> EmcResult:
        """What the searches of its estimator know by now; `versions` say what that was made with."""
        found, sizes = estimator.conclude(), self.sizes
        bits = None if sizes is None else sizes.bits
        uniform = LABELS.get(self.measurement.task.labels.name).facts.get("uniform")
        known = uniform and self.measurement.search.goal.kind == "fit"  # else labels are missed
        label_bits = found.emc * float(np.log2(self.num_classes)) if known else None
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
            parameters=self.parameters,
            stored=None if sizes is None else sizes.stored,
            bits=bits,
            bits_per_parameter=None if label_bits is None or sizes is None else label_bits / sizes.trained,
            bits_per_bit=None if label_bits is None or bits is None else label_bits / bits,
            task=self.measurement.task.to_dict(),
            procedure=self.measurement.procedure.to_dict(),
            search=self.measurement.search.to_dict(),
            dataset=self.dataset.facts.to_dict(),
            seed=self.measurement.seed,
            fingerprint=self.fingerprint,
            probes=found.probes,
            cost=cost(found.probes),
            versions=versions,
            detail=found.detail,
            warnings=found.warnings,
            tuning=None if self.tuning is None else self.tuning.to_dict(),
            matched=self.matched,
        )


class Group:
    """Measurements that are driven together, each concluded when its last search has ended.

    Args:
        measurements: tuned where they have a tuner; one that is not, since its tuning was interrupted, has no searches.

    Attributes:
        searches: of all of them, for `drive`.
        members: the searches of each, as places in `searches`.
        concluded: results of those that have ended, by place among the measurements.
        failures: why others came to no end, by place.
    """

    def __init__(self, measurements: Sequence[Prepared]) -> None:
        self._measurements = measurements
        self._estimators = [make_estimator(prepared.measurement) for prepared in measurements]
        self.searches: list[Sought] = []
        self.members: list[range] = []
        for place, (prepared, estimator) in enumerate(zip(measurements, self._estimators, strict=True)):
            own = [] if prepared.measurement.tune is not None else estimator.searches
            self.members.append(range(len(self.searches), len(self.searches) + len(own)))
            self.searches += [Sought(prepared.base, search, place) for search in own]
        self._left = [len(members) for members in self.members]
        self.concluded: dict[int, EmcResult] = {}
        self.failures: dict[int, EmcError] = {}

    def ended(self, search: int, error: EmcError | None, versions: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take note that a search has ended (`Ended`); with the last of a measurement's its record for the journal."""
        place = self.searches[search].cell
        prepared = self._measurements[place]
        self._left[place] -= 1
        if place in self.failures:
            return None
        if error is not None:
            self.failures[place] = error
            return failed_record(prepared.fingerprint, prepared.cell, error)
        if self._left[place] > 0:
            return None
        result = self.concluded[place] = prepared.conclude(self._estimators[place], versions)
        return measurement_record(result, prepared.cell, prepared.untuned)

    def result(self, place: int, versions: Mapping[str, Any]) -> EmcResult:
        """The result of a measurement, or what is known of it by now."""
        found = self.concluded.get(place)
        return self._measurements[place].conclude(self._estimators[place], versions) if found is None else found

    def brackets(self, place: int) -> list[Bracket]:
        """What each search of a measurement knows by now, as in `Progress`."""
        searches = (self.searches[number].search for number in self.members[place])
        return [(*search.bounds(), search.status()) for search in searches]
