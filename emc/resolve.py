"""From names to what trains: plug-ins looked up, defaults filled in, data loaded, identities made."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from emc.data import DATA, load
from emc.data.dataset import Dataset, make_dataset
from emc.data.own import raw_of
from emc.data.regimes import INPUTS, LABELS
from emc.data.split import hold_out
from emc.errors import EmcError, SpecError
from emc.executors.clusters import find_cluster
from emc.models import MODELS
from emc.models.activations import ACTIVATIONS, own_activation
from emc.models.inits import INITS
from emc.opaque import CALLABLE, check_no_content, check_opaque, opaque_setup, resolve_training, with_content
from emc.optimizers import OPTIMIZERS
from emc.own import is_own, load_own, resolve_own
from emc.registry import PluginSpec, Registry
from emc.reparams import REPARAMS
from emc.scaling import Path
from emc.search.rules import SEARCHES
from emc.specs import RESULTS_VERSION, Measurement, Procedure, Search, Task, digest
from emc.training.augmentations import AUGMENTATIONS
from emc.training.direct import check_direct
from emc.training.samples import Pool
from emc.training.schedules import SCHEDULES
from emc.training.setup import Setup
from emc.trainings import TRAININGS, TrainFunction
from emc.tuners import TUNERS

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")

#: A user's own model: (input shape, number of classes) -> fresh module.
ModelFactory = Callable[[tuple[int, ...], int], "nn.Module"]

#: A dataset by name, a pair (X, y), or a torch or Hugging Face `Dataset`.
OwnData = Any

#: What a model of a user's file is called with.
MODEL_TAKES = ("input_shape", "num_classes")

#: What stands for a user's own arrays where a plug-in's name would stand.
ARRAYS = PluginSpec("arrays")

DEFAULT_TUNER = PluginSpec("halving")
DEFAULT_INIT = "default"

#: A learning rate that is to be tuned.
AUTO = "auto"


def resolve_names(
    measurement: Measurement, *, own_model: bool, own_data: bool, own_training: bool = False
) -> Measurement:
    """Every plug-in's options typed and filled in, before any data are loaded.

    Raises:
        UnknownNameError, SpecError: a wrong name or option.
    """
    measurement = _with_training_named(measurement)
    _check_match(measurement, own_model)
    if not measurement.procedure.opaque:
        measurement = _resolve_tuner(measurement)
    task = replace(
        measurement.task,
        data=ARRAYS if own_data else DATA.resolve(measurement.task.data),
        labels=LABELS.resolve(measurement.task.labels),
        inputs=INPUTS.resolve(measurement.task.inputs),
    )
    LABELS.build(task.labels)  # options out of range are told before data are loaded
    procedure = measurement.procedure
    if not procedure.opaque:
        procedure = _resolve_own_procedure(procedure, own_model)
    elif not own_training:
        procedure = resolve_training(procedure)
    measurement = replace(
        measurement,
        task=task,
        procedure=procedure,
        search=replace(measurement.search, search=SEARCHES.resolve(measurement.search.search)),
    )
    if procedure.opaque:
        check_opaque(measurement)
    SEARCHES.build(measurement.search.search).check(measurement)
    return measurement


def _with_training_named(measurement: Measurement) -> Measurement:
    """A whole training may be named where a model would be: `--model sklearn:...` is `--train sklearn:...`."""
    procedure = measurement.procedure
    if is_own(procedure.model) or procedure.model.name not in TRAININGS.names():
        return measurement
    if procedure.model.name in MODELS.names() or procedure.opaque:
        return measurement
    procedure = replace(procedure, model=Procedure().model, train=procedure.model)
    return replace(measurement, procedure=procedure)


def _resolve_own_procedure(procedure: Procedure, own_model: bool) -> Procedure:
    """The procedure of a training that emc does itself, every plug-in's options filled in."""
    procedure = replace(
        procedure,
        model=_resolve_model(procedure.model, own_model),
        activation=_resolve_activation(procedure, own_model),
        optimizer=OPTIMIZERS.resolve(procedure.optimizer),
        schedule=SCHEDULES.resolve(procedure.schedule),
        init=_resolve_init(procedure.init),
        reparam=None if procedure.reparam is None else REPARAMS.resolve(procedure.reparam),
        augment=None if procedure.augment is None else AUGMENTATIONS.resolve(procedure.augment),
    )
    for registry, spec in _without_data(procedure):
        registry.build(spec)  # options out of range are told before data are loaded
    _check_optimizer(procedure)
    return procedure


def _check_optimizer(procedure: Procedure) -> None:
    """Hold what changes the batches, their loss and their gradients against the optimizer.

    Raises:
        SpecError: it does not suit.
    """
    plan, named = OPTIMIZERS.build(procedure.optimizer), procedure.optimizer.name
    if plan.solve is not None and procedure.loss != "squared":
        raise SpecError(
            f"--optimizer {named} solves the squared loss, got --loss {procedure.loss}; write --loss squared"
        )
    if plan.closure or plan.solve is not None:
        for option, value in (("--clip-norm", procedure.clip_norm), ("--augment", procedure.augment)):
            if value is not None:
                raise SpecError(
                    f"{option} needs an optimizer that takes one step a batch, got --optimizer {named}; "
                    "leave one of them out"
                )


def _resolve_model(spec: PluginSpec, own_model: bool) -> PluginSpec:
    if own_model:
        return PluginSpec(CALLABLE)
    return resolve_own(spec, "--model", MODEL_TAKES) if is_own(spec) else MODELS.resolve(spec)


def _without_data(procedure: Procedure) -> Iterator[tuple[Registry[Any], PluginSpec]]:
    """The plug-ins that can be made before there are data."""
    yield OPTIMIZERS, procedure.optimizer
    yield SCHEDULES, procedure.schedule
    yield INITS, procedure.init
    if procedure.reparam is not None:
        yield REPARAMS, procedure.reparam
    if procedure.augment is not None:
        yield AUGMENTATIONS, procedure.augment


def _resolve_tuner(measurement: Measurement) -> Measurement:
    """`lr=auto` is the optimizer's default with a tuner; a tuner's options filled in and held against the optimizer.

    Raises:
        UnknownNameError, SpecError: a wrong option, or an optimizer that cannot be tuned so.
    """
    named = measurement.procedure.optimizer
    automatic = any(key == "lr" and str(value).lower() == AUTO for key, value in named.options)
    if automatic:
        rest = PluginSpec(named.name, tuple(pair for pair in named.options if pair[0] != "lr"))
        measurement = replace(measurement, procedure=replace(measurement.procedure, optimizer=rest))
    if measurement.tune is None and not automatic:
        return measurement
    asked = "lr=auto" if automatic else "--tune"
    plugin = OPTIMIZERS.get(named.name)
    if all(option.name != "lr" for option in plugin.options):
        raise SpecError(f"{asked} needs an optimizer with a learning rate, got {named.name}; leave it out")
    if plugin.facts.get("line_search"):
        raise SpecError(
            f"{asked} needs an optimizer whose learning rate sets its steps, got {named.name}, whose line search does; "
            "leave it out"
        )
    if measurement.search.goal.kind == "error":
        raise SpecError(
            f"{asked} compares rates by the samples they fit, got --criterion {measurement.search.criterion}; "
            "tune with --criterion fit, then name the rate"
        )
    spec = TUNERS.resolve(measurement.tune or DEFAULT_TUNER)
    if TUNERS.build(spec).batch_sizes and OPTIMIZERS.build(measurement.procedure.optimizer).full_batch:
        raise SpecError(f"batch_sizes are for optimizers of mini-batches, got {named.name}; leave them out")
    return replace(measurement, tune=spec)


def _resolve_activation(procedure: Procedure, own_model: bool) -> PluginSpec | None:
    own_model = own_model or is_own(procedure.model)
    own = None if own_model else own_activation(MODELS.get(procedure.model.name))
    if own is not None:
        return ACTIVATIONS.resolve(procedure.activation or own)
    if procedure.activation is not None:
        name = "a model of your own" if own_model else f"model {procedure.model.name}"
        raise SpecError(
            f"--activation needs a model that takes one, got {procedure.activation} for {name}; leave it out"
        )
    return None


def _check_match(measurement: Measurement, own_model: bool) -> None:
    """Refuse to match the parameters of what has no family, or counts them otherwise."""
    asked, procedure = measurement.match_parameters, measurement.procedure
    if asked is None:
        if measurement.match_recipe is None:
            return
        raise SpecError(
            f"--match-recipe says along what --match-parameters seeks, got {measurement.match_recipe} alone; name a "
            "number of them"
        )
    if own_model or procedure.opaque or is_own(procedure.model):
        own = "training" if procedure.opaque else "model"
        raise SpecError(f"--match-parameters needs a family by name, got {asked} for a {own} of your own; leave it out")
    if procedure.reparam is not None:
        raise SpecError(
            f"--match-parameters counts the parameters of a family, got {asked} with --reparam {procedure.reparam}, "
            "which trains others; leave one of them out"
        )


def match_parameters(
    measurement: Measurement, shape: tuple[int, ...], num_classes: int
) -> tuple[Measurement, dict[str, Any] | None]:
    """The measurement of the member nearest to the number of parameters asked for, and how that was found.

    Raises:
        SpecError: the family does not scale so.
    """
    asked = measurement.match_parameters
    if asked is None:
        return measurement, None
    procedure = measurement.procedure
    path = Path.of(procedure.model, measurement.match_recipe, procedure.activation)
    found = path.nearest(asked, shape, num_classes)
    procedure = replace(procedure, model=MODELS.resolve(found.model))
    matched = {
        "asked": asked,
        "parameters": found.parameters,
        "ratio": found.ratio,
        "recipe": str(path.recipe),
        "family": str(path.spec),
    }
    return replace(measurement, procedure=procedure, match_parameters=None, match_recipe=None), matched


def _resolve_init(spec: PluginSpec) -> PluginSpec:
    """The initialisation with its options filled in, and with what identifies a file's content."""
    spec = INITS.resolve(spec)
    identify: Callable[[PluginSpec], PluginSpec] | None = INITS.get(spec.name).facts.get("identify")
    return spec if identify is None else identify(spec)


def resolve_sizes(search: Search, num_classes: int, rows: int) -> Search:
    """First and largest size: max(classes, 16) and the whole pool where not given, neither above the pool.

    Raises:
        SpecError: more samples asked for than the pool has.
    """
    n_max = rows if search.n_max is None else search.n_max
    if n_max > rows:
        raise SpecError(f"--n-max must be at most the pool's {rows} rows, got {n_max}; lower it or use a larger pool")
    if search.n_start is not None and search.n_start > rows:
        raise SpecError(f"--n-start must be at most the pool's {rows} rows, got {search.n_start}; lower it")
    n_start = min(max(num_classes, 16), n_max) if search.n_start is None else search.n_start
    return replace(search, n_start=n_start, n_max=n_max)


def pick_device(name: str, cluster: str | None = None) -> torch.device:
    """The device to train on; `auto` takes CUDA where there is one.

    Args:
        name: as asked for.
        cluster: where to train; None is this machine.

    Raises:
        UnknownNameError, SpecError: there is no such cluster, or CUDA was asked for and is not there.
        ClusterError: the cluster cannot be reached.
    """
    found = None if cluster is None else find_cluster(cluster)  # a wrong name is told before anything is loaded
    if name == "cpu":
        return torch.device(name)
    there = torch.cuda.is_available() if found is None else found.has_gpus()
    if name == "cuda" and not there:
        seen = "PyTorch sees none" if cluster is None else f"the cluster {cluster} has none"
        raise SpecError(f"--device cuda needs a CUDA device, but {seen}; use --device cpu")
    return torch.device("cuda" if there else "cpu")


def load_data(task: Task, own: Dataset | OwnData | None) -> Dataset:
    """The pool: a named dataset, or a user's own (`emc.data.own`), without the rows of the test split.

    Raises:
        DataError: it cannot be read, or is no classification task.
        SpecError: the test split leaves too little.
    """
    if own is None:
        pool = load(task.data, task.duplicates)
    elif isinstance(own, Dataset):
        pool = own
    else:
        pool = make_dataset(raw_of(own), task.duplicates)
    return hold_out(pool, task.test_split) if task.test_split > 0 else pool


class Stock:
    """What measurements prepared together share: each dataset, pool and trial of a model is made once.

    A dataset that cannot be loaded, and a model that does not suit its data, is told again without another try.
    """

    def __init__(self) -> None:
        self._datasets: dict[Hashable, Dataset | EmcError] = {}
        self._pools: dict[Hashable, Pool] = {}
        self._tried: dict[Hashable, EmcError | None] = {}

    def dataset(self, task: Task) -> Dataset:
        """The pool of a task whose dataset is named; see `load_data`."""
        key = task.data, task.duplicates, task.test_split
        if key not in self._datasets:
            try:
                self._datasets[key] = load_data(task, None)
            except EmcError as error:
                self._datasets[key] = error
        return _unless_error(self._datasets[key])

    def pool(self, dataset: Dataset, task: Task, seed: int, device: torch.device, dtype: torch.dtype) -> Pool:
        """The samples of a task and a seed; those of one dataset share their inputs."""
        kind = dataset.facts.content_hash, task.data, task.duplicates, task.test_split, device, dtype
        regime = task.labels, task.inputs, task.classes
        natural = task.inputs.name
        if (kind, regime, seed) not in self._pools:
            like = self._pools.get((kind, natural))
            made = self._pools[kind, regime, seed] = Pool(dataset, task, seed, device, dtype, like)
            self._pools.setdefault((kind, natural), made)
        return self._pools[kind, regime, seed]

    def try_model(self, key: Hashable, trial: Callable[[], None]) -> None:
        """Try a model once.

        Args:
            key: equal for equal models on equal data.
            trial: raises what is wrong with it.
        """
        if key not in self._tried:
            try:
                trial()
                self._tried[key] = None
            except EmcError as error:
                self._tried[key] = error
        _unless_error(self._tried[key])


def _unless_error(found: T | EmcError) -> T:
    if isinstance(found, EmcError):
        raise type(found)(*found.args)
    return found


def make_setup(
    measurement: Measurement,
    dataset: Dataset,
    num_classes: int,
    model: ModelFactory | None,
    device: torch.device,
    stock: Stock,
    train: TrainFunction | None = None,
) -> tuple[Measurement, Setup]:
    """What trainers use; the measurement comes back with what a user's own model or training is known by."""
    if measurement.procedure.opaque:
        pool = stock.pool(dataset, measurement.task, measurement.seed, device, torch.float32)
        return opaque_setup(measurement, pool, train)
    procedure = measurement.procedure
    shape = dataset.facts.shape
    identified = True
    if not is_own(procedure.model):
        check_no_content(procedure)
    if model is not None:
        make_model = _dressed(procedure, lambda: model(shape, num_classes))
        _try_model(make_model, shape, num_classes, device)
        spec, identified = _identify(model, make_model, shape)
        procedure = replace(procedure, model=spec)
    elif is_own(procedure.model):
        found = load_own(procedure.model, "--model", MODEL_TAKES)
        make_model = _dressed(procedure, lambda: found.value(shape, num_classes, **found.options))
        _try_model(make_model, shape, num_classes, device)
        procedure = with_content(procedure, _digest(found.source, make_model, shape))
    else:
        make_model = _dressed(procedure, _named_model(procedure, shape, num_classes))
        named = procedure.model, procedure.activation, procedure.init, procedure.reparam
        stock.try_model(
            (*named, shape, num_classes, device),
            lambda: _try_model(make_model, shape, num_classes, device),
        )
    measurement = replace(measurement, procedure=procedure)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = procedure.tf32
        torch.backends.cudnn.allow_tf32 = procedure.tf32
        torch.backends.cudnn.deterministic = True  # else two equal trainings of convolutions end apart
    plan = OPTIMIZERS.build(procedure.optimizer)
    if plan.solve is not None:
        check_direct(_make_quietly(make_model), shape)
    else:
        plan.build([p for p in _make_quietly(make_model).parameters() if p.requires_grad])  # it may refuse the model
    if procedure.augment is not None:
        _try_augmentation(procedure.augment, shape)
    goal = measurement.search.goal
    pool = stock.pool(dataset, measurement.task, measurement.seed, device, getattr(torch, procedure.precision))
    setup = Setup(
        procedure=procedure,
        pool=pool,
        seed=measurement.seed,
        make_model=lambda: _make_quietly(make_model),
        plan=plan,
        make_schedule=lambda: SCHEDULES.build(procedure.schedule),
        linear=model is None and _is_linear(procedure),
        loss_goal=goal.bound if goal.kind == "loss" else None,
        trains_conflicts=goal.kind != "fit",
        identified=identified,
    )
    return measurement, setup


def _is_linear(procedure: Procedure) -> bool:
    """Whether the logits of a named model are affine in the inputs and unconstrained."""
    return (
        procedure.reparam is None
        and not is_own(procedure.model)
        and bool(MODELS.get(procedure.model.name).facts.get("linear"))
    )


def with_procedure(measurement: Measurement, setup: Setup, procedure: Procedure) -> tuple[Measurement, Setup]:
    """The measurement and its setup with another optimizer, batch size or budget; the model stays."""
    plan = OPTIMIZERS.build(procedure.optimizer)
    return replace(measurement, procedure=procedure), replace(setup, procedure=procedure, plan=plan)


def _named_model(procedure: Procedure, shape: tuple[int, ...], num_classes: int) -> Callable[[], nn.Module]:
    activation = procedure.activation
    handed: list[Any] = [shape, num_classes]
    if activation is not None:
        handed.append(lambda: ACTIVATIONS.build(activation))
    return lambda: MODELS.build(procedure.model, *handed)


def _dressed(procedure: Procedure, make_model: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Makes the model with the procedure's initialisation and reparameterisation."""
    init = INITS.build(procedure.init)
    wrap = None if procedure.reparam is None else REPARAMS.build(procedure.reparam)

    def make() -> nn.Module:
        module = make_model()
        init(module)
        return module if wrap is None else wrap(module)

    return make


def _make_quietly(make_model: Callable[[], nn.Module]) -> nn.Module:
    """A fresh module; PyTorch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return make_model()


def _try_model(
    make_model: Callable[[], nn.Module], shape: tuple[int, ...], num_classes: int, device: torch.device
) -> None:
    """One forward pass, so that a model that does not suit the data is told before anything is trained.

    Raises:
        SpecError: the model cannot take the inputs, or gives something else than one logit a class.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            here = device if device.type != "cuda" or torch.cuda.is_available() else torch.device("cpu")  # a cluster's
            module = make_model().to(here).eval()
            logits = module(torch.zeros(2, *shape, device=here))
            given = tuple(logits.shape)
        except EmcError:
            raise
        except Exception as error:  # whatever a user's own module may raise
            message = str(error).split("\n")[0]
            raise SpecError(
                f"the model must take inputs of shape {shape}, got {type(error).__name__}: {message}"
            ) from error
    if given != (2, num_classes):
        raise SpecError(f"the model must give (samples, {num_classes}) logits, got {given} for 2 samples")
    if not any(p.requires_grad for p in module.parameters()):
        raise SpecError("the model must have trainable parameters, got none; nothing could be measured")


def _try_augmentation(spec: PluginSpec, shape: tuple[int, ...]) -> None:
    """One batch, so that an augmentation that does not suit the data is told before anything is trained.

    Raises:
        SpecError: it refuses the inputs, or changes their shape.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            given = tuple(AUGMENTATIONS.build(spec)(torch.zeros(2, *shape)).shape)
        except EmcError:
            raise
        except Exception as error:  # whatever a user's own augmentation may raise
            message = str(error).split("\n")[0]
            raise SpecError(
                f"augmentation {spec.name} must take inputs of shape {shape}, got {type(error).__name__}: {message}"
            ) from error
    if given != (2, *shape):
        raise SpecError(f"augmentation {spec.name} must keep the shape of a batch {(2, *shape)}, got {given}")


def _identify(
    model: ModelFactory, make_model: Callable[[], nn.Module], shape: tuple[int, ...]
) -> tuple[PluginSpec, bool]:
    """A callable's identity: its source and a seeded forward pass. Without source it has none, and is not journaled."""
    name = getattr(model, "__qualname__", type(model).__name__)
    try:
        source = inspect.getsource(model)
    except (OSError, TypeError):
        return PluginSpec(CALLABLE, (("name", name),)), False
    return PluginSpec(CALLABLE, (("name", name), ("identity", _digest(source, make_model, shape)))), True


def _digest(source: str, make_model: Callable[[], nn.Module], shape: tuple[int, ...]) -> str:
    """Digest of a model's source and a seeded forward pass."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module = make_model().eval()
        logits = module(torch.randn(4, *shape))
    return hashlib.sha256(source.encode() + logits.numpy().tobytes()).hexdigest()[:16]


def shared_key(measurement: Measurement, dataset: Dataset, num_classes: int, device: torch.device) -> str:
    """Digest of what all probes of a measurement share, seed included.

    The criterion is part of it only where it changes a probe: one of a loss does, for it ends the training; one of the
    error does where there are samples that cannot all be fitted, which are then trained on all the same. A linear model
    with weight decay says that its failures are examined like any other's, since earlier ones were called `budget`
    where the samples were separable.
    """
    task, goal, procedure = measurement.task, measurement.search.goal, measurement.procedure
    changes = goal.kind == "loss" or (goal.kind == "error" and bool(dataset.facts.repeats))
    return digest(
        {
            **({"criterion": str(goal) if goal.kind == "loss" else goal.kind} if changes else {}),
            "results_version": RESULTS_VERSION,
            "content": dataset.facts.content_hash,
            "task": {"labels": str(task.labels), "inputs": str(task.inputs), "classes": num_classes},
            **({"decayed": "examined"} if _is_decayed_linear(procedure) else {}),
            "procedure": replace(procedure, init=_without_place(procedure.init)).identity(),
            "plugins": _plugin_versions(measurement),
            "seed": measurement.seed,
            "device": device.type,
        }
    )


def _without_place(init: PluginSpec) -> PluginSpec:
    """An initialisation as probes know it: by what a file holds, not by where it lies."""
    located = INITS.get(init.name).facts.get("located", ())
    return replace(init, options=tuple(pair for pair in init.options if pair[0] not in located))


def _is_decayed_linear(procedure: Procedure) -> bool:
    if procedure.opaque or procedure.model.name == CALLABLE or is_own(procedure.model):
        return False
    return _is_linear(procedure) and bool(OPTIMIZERS.build(procedure.optimizer).weight_decay)


def _plugin_versions(measurement: Measurement) -> dict[str, int]:
    task, procedure = measurement.task, measurement.procedure
    used: list[tuple[Registry[Any], PluginSpec]] = [(LABELS, task.labels), (INPUTS, task.inputs)]
    if procedure.opaque:
        if procedure.train is not None and procedure.train.name in TRAININGS.names():
            used.append((TRAININGS, procedure.train))
        return _versions(used)
    used += [(OPTIMIZERS, procedure.optimizer), (SCHEDULES, procedure.schedule)]
    if procedure.init.name != DEFAULT_INIT:
        used.append((INITS, procedure.init))
    if procedure.reparam is not None:
        used.append((REPARAMS, procedure.reparam))
    if procedure.augment is not None:
        used.append((AUGMENTATIONS, procedure.augment))
    if procedure.model.name != CALLABLE and not is_own(procedure.model):
        used.append((MODELS, procedure.model))
    if procedure.activation is not None:
        used.append((ACTIVATIONS, procedure.activation))
    return _versions(used)


def _versions(used: Iterable[tuple[Registry[Any], PluginSpec]]) -> dict[str, int]:
    every = [(registry, each) for registry, spec in used for each in (spec, *registry.nested(spec))]
    return {f"{registry.kind} {spec.name}": registry.get(spec.name).version for registry, spec in every}
