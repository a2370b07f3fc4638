"""What a user asks for, as one tree of frozen dataclasses: Task, Procedure, Search, Measurement.

Each setting is declared once, here, with its default, its range and its one-line help; the command line, the
configuration file and the record derive from these fields. Plug-ins stay names until `emc.api` resolves them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from functools import cached_property
from json.encoder import encode_basestring_ascii
from typing import Any, ClassVar, TypeVar

from emc.errors import SpecError, UnknownNameError, did_you_mean, shown
from emc.registry import PluginSpec, Registry

S = TypeVar("S", bound="Spec")

#: Raised whenever the same keys come to mean other numbers (CHANGELOG, "Changes results").
RESULTS_VERSION = 5


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Any = None,
    alone: str | None = None,
    added: bool | None = None,
) -> Any:
    """A dataclass field with its help, its range (bounds included), its closed choices, what its option alone means.

    One that was added after results were published is no part of a probe's identity while it has its default, so that
    their keys stay.
    """
    facts = {"help": help, "low": low, "high": high, "choices": choices, "alone": alone, "added": added}
    return field(default=default, metadata={key: value for key, value in facts.items() if value is not None})


class Spec:
    """Validation and dict round trip shared by the four specs; `KIND` names the spec in messages."""

    KIND: ClassVar[str]

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            value = _coerce(getattr(self, item.name), item)
            object.__setattr__(self, item.name, value)
            _check_range(value, item)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; plug-ins as their text."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
        """The inverse of `to_dict`.

        Raises:
            UnknownNameError: a key that is no field.
            SpecError: a value out of range or of the wrong type.
        """
        names = [item.name for item in fields(cls)]  # type: ignore[arg-type]
        for key in values:
            if key not in names:
                raise UnknownNameError(f'a {cls.KIND} has no setting "{key}"; {did_you_mean(key, names)}')
        return cls(**values)


def option_name(name: str) -> str:
    """A field's name as its command-line option."""
    return "--" + name.replace("_", "-")


def _coerce(value: Any, item: Field[Any]) -> Any:
    """The value as the field's declared type; text is read as a user would write it."""
    declared = str(item.type)
    kind = declared.removesuffix(" | None")
    if value is None and kind != declared:
        return None
    if isinstance(value, str) and "\0" in value:
        raise SpecError(f"{option_name(item.name)} takes text without NUL characters, got {shown(value)}")
    wrong = SpecError(f"{option_name(item.name)} takes {_describe(kind)}, got {shown(value)}")
    if kind == "PluginSpec":
        if isinstance(value, PluginSpec):
            return value
        if isinstance(value, str):
            return PluginSpec.parse(value)
    elif (kind == "bool" and isinstance(value, bool)) or (kind == "str" and isinstance(value, str)):
        return value
    elif kind in ("int", "float") and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond every float
            raise wrong from None
        if kind == "float":
            return number
        if number.is_integer():
            return int(value)
    elif kind in ("Task", "Procedure", "Search"):
        part: type[Task] | type[Procedure] | type[Search] = {"Task": Task, "Procedure": Procedure, "Search": Search}[
            kind
        ]
        if isinstance(value, Mapping):
            return part.from_dict(value)
        if isinstance(value, part):
            return value
    raise wrong


def _describe(kind: str) -> str:
    return {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "str": "a text",
        "PluginSpec": "a name or name:key=value,key=value",
    }.get(kind, f"a {kind}")


def _check_range(value: Any, item: Field[Any]) -> None:
    choices = item.metadata.get("choices")
    if choices is not None and value is not None and value not in choices:
        remedy = did_you_mean(str(value), choices)
        raise SpecError(f'{option_name(item.name)} is one of {", ".join(choices)}, got "{value}"; {remedy}')
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    low, high = item.metadata.get("low"), item.metadata.get("high")
    if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise SpecError(f"{option_name(item.name)} must be {bounds}, got {value}")


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_dict()
    return str(value) if isinstance(value, PluginSpec) else value


@dataclass(frozen=True)
class Task(Spec):
    """Where samples come from."""

    KIND: ClassVar[str] = "task"

    data: PluginSpec = setting(PluginSpec("digits"), "dataset (emc list data)")
    labels: PluginSpec = setting(PluginSpec("semantic"), "label regime (emc list labels)")
    inputs: PluginSpec = setting(PluginSpec("natural"), "input regime (emc list inputs)")
    classes: int | None = setting(None, "number of classes K; default: the dataset's own", low=2)
    duplicates: str = setting(
        "drop", "what to do with repeated inputs: drop all but the first, or keep", choices=("drop", "keep")
    )
    test_split: float = setting(
        0.0, "share of the rows held out to report test accuracy at each replicate's largest fitted n", low=0, high=0.9
    )


#: Settings that make the budget of a probe.
BUDGET = ("min_steps", "max_epochs", "batch_size")


@dataclass(frozen=True)
class Procedure(Spec):
    """What maps samples to a classifier. docs/decisions.md says what each default rests on."""

    KIND: ClassVar[str] = "procedure"

    model: PluginSpec = setting(PluginSpec("mlp"), "model (emc list models)")
    activation: PluginSpec | None = setting(
        None, "activation, where the model takes one (emc list activations); default: relu, or the model's own"
    )
    optimizer: PluginSpec = setting(PluginSpec("adam"), "optimizer (emc list optimizers)")
    loss: str = setting(
        "cross_entropy",
        "training loss; squared is the mean over samples of |logits - one-hot target|^2, summed over the classes",
        choices=("cross_entropy", "squared"),
    )
    schedule: PluginSpec = setting(PluginSpec("reactive"), "learning-rate schedule (emc list schedules)")
    batch_size: int = setting(128, "mini-batch size; a batch has min(n, batch size) samples", low=2)
    min_steps: int = setting(25_000, "budget: at least this many optimizer steps a probe", low=1)
    max_epochs: int = setting(500, "budget: at least this many passes over the n samples", low=1)
    check_steps: int = setting(100, "training accuracy is counted exactly every this many steps", low=1)
    check_epochs: int = setting(2, "... but not more often than every this many passes over the n samples", low=0)
    stall_share: float = setting(
        0.2, "a probe may stop for lack of progress from this share of its budget on", low=0, high=1
    )
    stall_tolerance: float = setting(
        1e-3,
        "a doubling of steps that lowers the best training loss by less than this share gained nothing",
        low=0,
        high=1,
    )
    polish_steps: int = setting(200, "iterations of full-batch descent that examine a stalled probe", low=1)
    polish_tolerance: float = setting(
        1e-3, "descent that lowers the loss by less than this share over a doubling of its steps is none", low=0, high=1
    )
    gradient_tolerance: float = setting(
        1e-3, "full-batch gradient norm, relative to its value at init, that counts as stationary", low=0, high=1
    )
    certify: str = setting(
        "hessian",
        "how far a stalled failure is examined: not at all, for descent, or for negative curvature too",
        choices=("none", "stationary", "hessian"),
    )
    curvature_tolerance: float = setting(
        1e-3,
        "smallest Hessian eigenvalue, relative to the largest magnitude, below whose negative a failure is a saddle; "
        "a minimum is above the hundredth",
        low=1e-4,
        high=1,
    )
    escape: bool = setting(
        False, "from a failure at a saddle, go on with the training, perturbed along the negative curvature"
    )
    precision: str = setting("float32", "floating-point type of training", choices=("float32", "float64"))
    tf32: bool = setting(False, "let CUDA round matrix products to TF32")
    init: PluginSpec = setting(PluginSpec("default"), "initialisation of the model (emc list inits)", added=True)
    reparam: PluginSpec | None = setting(
        None, "reparameterisation of the model (emc list reparams); default: none", added=True
    )
    augment: PluginSpec | None = setting(
        None, "random changes of every batch's inputs (emc list augmentations); default: none", added=True
    )
    clip_norm: float | None = setting(
        None, "largest Euclidean norm of a batch's gradient; default: no clipping", low=1e-12, added=True
    )
    label_smoothing: float = setting(
        0.0, "share of each target spread evenly over all classes, in the cross-entropy", low=0, high=0.99, added=True
    )
    flatness: bool = setting(
        False,
        "record largest eigenvalue and trace of the training loss's Hessian where a training ended (emc show --probes)",
        added=True,
    )
    train: PluginSpec | None = setting(
        None,
        "a whole training in place of model, optimizer and all else: file.py:name of a function (X, y, seed, budget) "
        "-> predict, or one of emc list trainings",
        added=True,
    )
    command: str | None = setting(
        None,
        'a whole training as a program: "python train.py --data {data} --n {n} --seed {seed}", also {classes} and '
        '{budget}; its last line says {"correct": 123}',
        added=True,
    )
    content: str | None = setting(
        None,
        "digest of your own file, function or command as an earlier result tells it; others are refused",
        added=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.escape and self.certify != "hessian":
            raise SpecError(
                f"--escape needs the curvature of --certify hessian, got {self.certify}; leave one of them out"
            )
        if self.label_smoothing and self.loss != "cross_entropy":
            raise SpecError(f"--label-smoothing is of the cross-entropy, got --loss {self.loss}; leave one of them out")
        if self.opaque:
            self._check_opaque()

    @property
    def opaque(self) -> bool:
        """Whether the training is one that emc cannot look into."""
        return self.train is not None or self.command is not None

    def _check_opaque(self) -> None:
        """Refuse settings of a training of emc's own beside one that is not."""
        option = "--train" if self.command is None else "--command"
        if self.train is not None and self.command is not None:
            raise SpecError(f'a training is one, got --train {self.train} and --command "{self.command}"; keep one')
        budget = self.command is None or "{budget}" in self.command
        for item in fields(self):
            if item.name in ("train", "command", "content") or (budget and item.name in BUDGET):
                continue
            value = getattr(self, item.name)
            if value != item.default:
                raise SpecError(
                    f"{option} is the whole training, which emc cannot set, got {option_name(item.name)} "
                    f"{_plain(value)} too; leave it out"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; of a training that emc cannot look into only what it is given."""
        found = super().to_dict()
        kept = ("train", "command", "content", *BUDGET)
        return {name: found[name] for name in kept} if self.opaque else found

    def identity(self) -> dict[str, Any]:
        """What tells its probes from others: `to_dict` without the settings added later that have their default."""
        added = (item for item in fields(self) if item.metadata.get("added"))
        quiet = {item.name for item in added if getattr(self, item.name) == item.default}
        if self.command is not None and "{budget}" not in self.command:
            quiet |= set(BUDGET)
        return {name: value for name, value in self.to_dict().items() if name not in quiet}

    def budget(self, n: int, batch_size: int) -> int:
        """Steps after which a probe of n samples ends, max(min_steps, max_epochs * ceil(n / B)).

        >>> Procedure().budget(1_000, 128)
        25000
        >>> Procedure().budget(50_000, 128)
        195500
        """
        return max(self.min_steps, self.max_epochs * math.ceil(n / batch_size))

    def check_every(self, n: int, batch_size: int) -> int:
        """Steps between exact counts at n samples."""
        return max(self.check_steps, self.check_epochs * math.ceil(n / batch_size))


def later_settings(procedure: Mapping[str, Any]) -> dict[str, Any]:
    """The settings added to a recorded procedure after results were published; their defaults where it is older."""
    added = [item for item in fields(Procedure) if item.metadata.get("added")]
    return {item.name: procedure.get(item.name, _plain(item.default)) for item in added}


def procedure_text(procedure: Mapping[str, Any]) -> str:
    """A recorded procedure in one line: model, optimizer, and what else is on; or the training that is all of it.

    >>> procedure_text({"model": "mlp:width=16", "optimizer": "sgd:lr=0.1", "clip_norm": 1.0})
    'mlp:width=16, sgd:lr=0.1, clip norm 1.0'
    """
    for name, said in (("command", "command"), ("train", "training")):
        if procedure.get(name) is not None:
            return f"{said} {procedure[name]}"
    usual = later_settings({})
    extra = [f"{name.replace('_', ' ')} {v}" for name, v in later_settings(procedure).items() if v != usual[name]]
    return ", ".join([str(procedure["model"]), str(procedure["optimizer"]), *extra])


#: How the search grows: by a factor, then bisection; or the paper's linear scan.
GROWTHS: Registry[tuple[str, float]] = Registry("growth")

#: Keeps sizes finite.
MAX_FACTOR = 1_000_000


@GROWTHS.register("geometric")
def _geometric(*, factor: float = 2.0) -> tuple[str, float]:
    """Grow n by a factor until a probe fails, then bisect: estimates n50."""
    if not 1 < factor <= MAX_FACTOR:
        raise SpecError(f"growth geometric needs a factor above 1 and at most {MAX_FACTOR:,}, got {factor}")
    return "geometric", factor


@GROWTHS.register("linear")
def _linear(*, step: int = 16) -> tuple[str, float]:
    """Grow n by a step and stop at the first failure (the paper's scan): biased low, another estimand."""
    if step < 1:
        raise SpecError(f"growth linear needs a step of at least 1, got {step}")
    return "linear", step


@dataclass(frozen=True)
class Criterion:
    """When a size counts as fitted.

    Attributes:
        kind: "fit", every sample of a probe is right; "error", the mean training error of a size's probes is at most
            the bound; "loss", the mean training loss of a probe is.
        bound: of the error or loss; 0 for "fit".
    """

    kind: str
    bound: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """The criterion that a text names.

        Raises:
            SpecError: it names none, or a bound out of range.

        >>> Criterion.parse("error <= 0.1")
        Criterion(kind='error', bound=0.1)
        """
        if text.strip() == "fit":
            return cls("fit")
        found = re.fullmatch(r"\s*(error|loss)\s*<=\s*(\S+)\s*", text)
        try:
            bound = float(found[2]) if found else math.nan
        except ValueError:
            bound = math.nan
        if found is None or math.isnan(bound):
            raise SpecError(f'--criterion is fit, "error<=0.1" or "loss<=1e-6", got "{text}"; write one of these')
        if found[1] == "error" and not 0 <= bound < 1:
            raise SpecError(f"--criterion error takes a bound from 0 to below 1, got {found[2]}; write error<=0.1")
        if found[1] == "loss" and not 0 < bound < math.inf:
            raise SpecError(f"--criterion loss takes a bound above 0 and finite, got {found[2]}; write loss<=1e-6")
        return cls(found[1], bound)

    def __str__(self) -> str:
        return self.kind if self.kind == "fit" else f"{self.kind}<={self.bound!r}"


@dataclass(frozen=True)
class Search(Spec):
    """The rule that chooses the next n from the verdicts so far."""

    KIND: ClassVar[str] = "search"

    search: PluginSpec = setting(
        PluginSpec("bisection"),
        "bisection by every replicate, or threshold:width=1.1, a posterior of n50 over fresh probes "
        "(emc list searches)",
    )
    n_start: int | None = setting(None, "first n; default: max(classes, 16)", low=1)
    n_max: int | None = setting(None, "largest n; default: the whole pool", low=1)
    growth: PluginSpec = setting(PluginSpec("geometric"), "geometric:factor=2, or linear:step=16 (the paper's scan)")
    tolerance: float = setting(
        0.05, "bisect until hi/lo - 1 is at most this, or hi - lo = 1 (search threshold: its width)", low=0, high=10
    )
    sections: int = setting(2, "parts a bracket is cut into; 2 is bisection", low=2)
    attempts: int = setting(1, "fresh inits a size may try; it is fitted if any fits (another estimand above 1)", low=1)
    verify: int = setting(0, "further probes above the bracket", low=0)
    retries: int = setting(2, "fresh seeds tried where a training diverged", low=0)
    criterion: str = setting(
        "fit",
        "when a size is fitted: fit, all samples of a probe are right; error<=0.1, the mean error of its probes is at "
        "most that; loss<=1e-6, the loss of a probe is (other estimands)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "growth", GROWTHS.resolve(self.growth))
        GROWTHS.build(self.growth)
        if self.n_max is not None and self.n_start is not None and self.n_max < self.n_start:
            raise SpecError(
                f"n_max must be at least n_start, got n_max={self.n_max}, n_start={self.n_start}; raise --n-max"
            )
        object.__setattr__(self, "criterion", str(self.goal))
        if self.goal.kind == "error" and self.attempts > 1:
            raise SpecError(
                f"--criterion {self.goal} averages over single inits, got --attempts {self.attempts}; leave it out"
            )

    @property
    def goal(self) -> Criterion:
        """The criterion, read."""
        return Criterion.parse(self.criterion)

    @property
    def sizes(self) -> tuple[int, int]:
        """First and largest size of a search whose defaults are resolved.

        Raises:
            SpecError: they are not, since only the pool tells them.
        """
        if self.n_start is None or self.n_max is None:
            raise SpecError(f"a search runs with n_start and n_max resolved, got {self.n_start} and {self.n_max}")
        return self.n_start, self.n_max

    @property
    def estimand(self) -> str:
        """What the resulting number estimates, as one phrase; results of other estimands are never compared."""
        kind, amount = GROWTHS.build(self.growth)
        size = "n50" if kind == "geometric" else f"first failure of a linear scan by {amount}"
        if self.goal.kind == "error":
            size = "largest n" if kind == "geometric" else size
            return f"{size} of mean training {self.criterion}"
        if self.goal.kind == "loss":
            size = f"{size} of training {self.criterion}"
        return size if self.attempts == 1 else f"{size}, best of {self.attempts} inits"


@dataclass(frozen=True)
class Measurement(Spec):
    """Task, procedure, seed, search and replicates: all that one EmcResult answers."""

    KIND: ClassVar[str] = "measurement"

    task: Task = field(default_factory=Task)
    procedure: Procedure = field(default_factory=Procedure)
    search: Search = field(default_factory=Search)
    seed: int = setting(0, "everything random derives from it", low=0)
    replicates: int = setting(
        6, "independent draws of samples, labels and inits (search threshold: each probe is one)", low=1
    )
    confidence: float = setting(0.95, "confidence of the interval", low=0.5, high=0.9999)
    tune: PluginSpec | None = setting(
        None,
        "first search the learning rate, and batch sizes on request, on seeds of its own (emc list tuners)",
        alone="halving",
    )
    match_parameters: int | None = setting(
        None, "measure the member of the model's family that is nearest to so many parameters", low=1, high=10**12
    )
    match_recipe: PluginSpec | None = setting(
        None,
        "scaling recipe along which that member is sought (emc list recipes); default: the family's width, or its only "
        "dimension",
    )

    @property
    def estimand(self) -> str:
        """The search's estimand; where a loss decides, with its name."""
        kind = self.search.goal.kind
        return self.search.estimand + (f" ({self.procedure.loss})" if kind == "loss" else "")

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> Measurement:
        """A measurement from one flat mapping of setting names, as the command line and the library have it.

        Raises:
            UnknownNameError: a name that is no setting of task, procedure, search or measurement.
        """
        parts: dict[str, dict[str, Any]] = {"task": {}, "procedure": {}, "search": {}, "": {}}
        homes = flat_settings()
        for key, value in values.items():
            if key not in homes:
                raise UnknownNameError(f'there is no setting "{key}"; {did_you_mean(key, homes)}')
            parts[homes[key][0]][key] = value
        return cls(Task(**parts["task"]), Procedure(**parts["procedure"]), Search(**parts["search"]), **parts[""])


def flat_settings() -> dict[str, tuple[str, Field[Any]]]:
    """Every setting by name: the part it lives in ("" for the measurement itself) and its field."""
    found: dict[str, tuple[str, Field[Any]]] = {}
    for part, spec in (("task", Task), ("procedure", Procedure), ("search", Search), ("", Measurement)):
        for item in fields(spec):
            if item.metadata:
                found[item.name] = (part, item)
    return found


def digest(value: Any, length: int = 24) -> str:
    """Hexadecimal SHA-256 of a JSON value, shortened; equal values give equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@dataclass(frozen=True)
class Probe:
    """One fresh training on n samples; knows nothing of the search that asked for it.

    Attributes:
        base: digest of everything the probes of one measurement share: task (by content), procedure, seed, device type.
        n: samples.
        replicate: independent draw of order, labels, noise.
        attempt: fresh init and batches at the same samples.
    """

    base: str
    n: int
    replicate: int
    attempt: int = 0

    @cached_property
    def key(self) -> str:
        """The probe's identity in the journal: the `digest` of its fields, by hand since it is asked for so often."""
        base = encode_basestring_ascii(self.base)
        text = f'{{"attempt":{self.attempt},"base":{base},"n":{self.n},"replicate":{self.replicate}}}'
        return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Execution(Spec):
    """How probes are run, never what they are: no part of any key or fingerprint."""

    KIND: ClassVar[str] = "execution"

    device: str = setting("auto", "where to train; auto takes CUDA where there is one", choices=("auto", "cpu", "cuda"))
    trainer: str = setting(
        "auto",
        "one training at a time by PyTorch's modules, many stacked in lockstep, or compiled loops (chains, CPU)",
        choices=("auto", "single", "lockstep", "compiled"),
    )
    stack: int = setting(32, "trainings under way at once, at most", low=1)
    speculation: int | None = setting(
        None,
        "sizes asked at once along a replicate's path, at most; 1 asks none ahead; default: as many as there is idle "
        "room for",
        low=1,
    )
    threads: int | None = setting(
        None, "CPU threads of one training, which trainer compiled leaves at 1; default: 1", low=1
    )
    workers: int | None = setting(
        None,
        "trainings at once on the CPU: threads of trainer compiled, processes of single; default: the cores, for "
        "processes where that pays",
        low=1,
    )
    cluster: str | None = setting(
        None,
        "train on a cluster: auto (Ray, found or started here), ray://host:port, or slurm:partition=NAME",
    )
    probe_timeout: float | None = setting(
        None, "seconds after which a training is broken off and its measurement fails; default: never", low=0.001
    )
    checkpoint_every: float | None = setting(
        None, "seconds between checkpoints of a training, kept beside the journal; default: none", low=0
    )
    journal: str | None = setting(None, "file that keeps every verdict")
    fresh: bool = setting(False, "train anew, whatever the journal holds")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fresh and self.checkpoint_every is not None:
            raise SpecError("--checkpoint-every is for runs that continue, got --fresh too; leave one of them out")
