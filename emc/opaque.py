"""From a user's whole training to what trains: functions, files, programs, and trainings by name."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any, NoReturn

from emc.errors import SpecError
from emc.optimizers import OPTIMIZERS
from emc.own import OwnObject, is_own, known_by, load_own, resolve_own
from emc.registry import PluginSpec
from emc.specs import BUDGET, Measurement, Procedure, option_name
from emc.training.commands import Command
from emc.training.functions import Function
from emc.training.opaque import Opaque
from emc.training.samples import Pool
from emc.training.schedules import SCHEDULES
from emc.training.setup import Setup
from emc.trainings import TRAININGS, TrainFunction

#: What a function that trains is called with.
TRAIN_TAKES = ("X", "y", "seed", "budget")

#: What stands for a function where its name would stand.
CALLABLE = "callable"


def spec_of_function(train: TrainFunction) -> PluginSpec:
    """What a record names a function by."""
    return PluginSpec(CALLABLE, (("name", getattr(train, "__qualname__", type(train).__name__)),))


def resolve_training(procedure: Procedure) -> Procedure:
    """The procedure with the options of its training filled in.

    Raises:
        UnknownNameError, SpecError: there is no such training or file, or it has no such option.
    """
    spec = procedure.train
    if spec is None:
        Command.parse(procedure.command or "")
        return procedure
    if is_own(spec):
        return replace(procedure, train=resolve_own(spec, "--train", TRAIN_TAKES))
    spec = TRAININGS.resolve(spec)
    TRAININGS.build(spec)  # options out of range are told before data are loaded
    default = Procedure()
    for name in BUDGET:
        if not TRAININGS.get(spec.name).facts.get("budget") and getattr(procedure, name) != getattr(default, name):
            raise SpecError(
                f"training {spec.name} has no budget of steps, got {option_name(name)} {getattr(procedure, name)}; "
                "leave it out"
            )
    return replace(procedure, train=spec)


def check_opaque(measurement: Measurement) -> None:
    """Refuse what a training that emc cannot look into does not tell.

    Raises:
        SpecError: there is such a setting.
    """
    if measurement.tune is not None:
        raise SpecError(f"--tune tunes optimizers of emc's own, got {measurement.tune} for your training; leave it out")
    if measurement.search.goal.kind == "loss":
        raise SpecError(
            f"a training of yours tells no loss, got --criterion {measurement.search.criterion}; use fit or error<=..."
        )
    if measurement.procedure.command is not None and measurement.task.test_split > 0:
        raise SpecError(
            f"--command is given no held-out samples, got --test-split {measurement.task.test_split}; leave it out or "
            "use --train"
        )


def opaque_setup(measurement: Measurement, pool: Pool, train: TrainFunction | None) -> tuple[Measurement, Setup]:
    """What the trainer uses; the measurement comes back with what the training is known by.

    Args:
        measurement: its names resolved.
        pool: the samples.
        train: a function instead of the training that is named.

    Raises:
        SpecError: the training is not the one that `content` says.
    """
    training, content = _find(measurement.procedure, train)
    procedure = measurement.procedure if content is None else with_content(measurement.procedure, content)
    setup = Setup(
        procedure=procedure,
        pool=pool,
        seed=measurement.seed,
        make_model=_no_model,
        plan=OPTIMIZERS.build(procedure.optimizer),
        make_schedule=lambda: SCHEDULES.build(procedure.schedule),
        trains_conflicts=measurement.search.goal.kind != "fit",
        identified=content is not None,
        training=training,
    )
    return replace(measurement, procedure=procedure), setup


def _find(procedure: Procedure, train: TrainFunction | None) -> tuple[Opaque, str | None]:
    """The training, and what it is known by; None where nothing is."""
    if procedure.command is not None:
        command = Command.parse(procedure.command)
        return command, command.content()
    spec = procedure.train
    if spec is None:
        raise RuntimeError("the procedure is emc's own")
    if train is not None:
        _check_call(train, str(spec.get("name")))
        return Function(str(spec.get("name")), train), known_by(train)
    if is_own(spec):
        found = load_own(spec, "--train", TRAIN_TAKES)
        return Function(str(spec), _with_options(found)), known_by(found.source)
    named = TRAININGS.build(spec)
    return Function(str(spec), named.fit), named.made_with or "named"


def _with_options(found: OwnObject) -> TrainFunction:
    """The training of a file; what it returns may import from the folder too."""

    def fit(X: Any, y: Any, seed: int, budget: int) -> Any:
        predict = found.value(X, y, seed, budget, **found.options)
        return replace(found.value, function=predict) if callable(predict) else predict

    return fit


def _check_call(train: TrainFunction, name: str) -> None:
    """Refuse a function that cannot be called as a training."""
    try:
        inspect.signature(train).bind(*TRAIN_TAKES)
    except TypeError as error:
        raise SpecError(
            f"train is a function of ({', '.join(TRAIN_TAKES)}), got {name}, which cannot be called so ({error}); "
            "write one that can"
        ) from None
    except ValueError:  # a builtin without a signature
        return


def _no_model() -> NoReturn:
    raise RuntimeError("a training that emc cannot look into has no model")


def with_content(procedure: Procedure, content: str) -> Procedure:
    """The procedure with what a user's own part of it is known by.

    Raises:
        SpecError: another content was asked for.
    """
    if procedure.content not in (None, content):
        raise SpecError(
            f'--content must be that of what is measured, "{content}", got "{procedure.content}"; take the files of '
            "that time, or leave it out"
        )
    return replace(procedure, content=content)


def check_no_content(procedure: Procedure) -> None:
    """Refuse a content where nothing is a user's own.

    Raises:
        SpecError: there is one.
    """
    if procedure.content is not None:
        raise SpecError(
            f'--content is for files, functions and commands of yours, got "{procedure.content}"; leave it out'
        )
