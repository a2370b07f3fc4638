"""What comes back: ProbeResult, Replicate and EmcResult, and the sentences that say what they mean."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from emc.errors import EmcError
from emc.specs import Probe, procedure_text

if TYPE_CHECKING:
    import pandas as pd

#: What the record of a curve or an estimate says it is; that of an EMC result says nothing.
CURVE_KIND = "curve"
ESTIMATE_KIND = "estimate"


class Verdict(Enum):
    """What one probe showed; `DIVERGED` and `FAILED` are no evidence."""

    FITTED = "fitted"
    NOT_FITTED = "not_fitted"
    DIVERGED = "diverged"
    FAILED = "failed"


class Evidence(Enum):
    """Why a failure is believed, or is not. The name is what the record holds, the value what a user reads."""

    BUDGET = "the budget ended while the training still gained, or full-batch descent could still gain: undertrained"
    UNSTABLE = "the loss rose far above its best and stayed there, so that a lower learning rate may fit: undertrained"
    NOISE_FLOOR = (
        "the procedure itself gained nothing over a doubling of its steps, though descent may gain: its own limit"
    )
    STATIONARY = "no descent is left within tolerance; its curvature is not decided"
    SADDLE = "stationary with negative curvature: undertrained"
    MINIMUM = "stationary without negative curvature"
    INFEASIBLE = "proved impossible to fit"
    OWN_STOP = "the training ended by its own rule; what more of it would gain cannot be seen from outside"

    @property
    def key(self) -> str:
        """The kind as it stands in records."""
        return self.name.lower()

    @property
    def undertrained(self) -> bool:
        """Whether a failure of this kind only bounds the EMC from below."""
        return self in (Evidence.BUDGET, Evidence.UNSTABLE, Evidence.SADDLE)


class Status(Enum):
    """How a search ended; the value is the sentence a user reads."""

    BRACKETED = "both ends of the bracket are verified probes"
    CENSORED_ABOVE = (
        "everything asked for was fitted, so the EMC is at least the value shown; "
        "use a larger pool (or --n-max) or a smaller model"
    )
    CENSORED_BELOW = "not even one sample was fitted, so the EMC is below 1; check the optimizer and its learning rate"
    UNDERTRAINED = (
        "the deciding failure may be a lack of training, so the EMC is at least the value shown; "
        "raise --min-steps and --max-epochs, lower the learning rate of unstable ones, "
        "or use an optimizer that converges (--optimizer lbfgs for small nets)"
    )
    DIVERGED = "every fresh seed diverged above the value shown, a lower bound; lower the learning rate"
    NON_MONOTONE = "a size above the bracket was fitted too; the fits do not fall off at one size"
    RESOLVED = "the interval of n50 is as narrow as was asked for"
    UNRESOLVED = "all probes allowed were done before the interval was as narrow as asked for; raise max_probes"
    FAILED = "a training came to no verdict, so nothing is known above the value shown"
    INTERRUPTED = "the search was stopped early, so the value shown is a lower bound; run the same command to continue"

    @property
    def key(self) -> str:
        """The status as it stands in records."""
        return self.name.lower()

    @property
    def right_censored(self) -> bool:
        """Whether the EMC is only known to be at least `lo`."""
        return self in (Status.CENSORED_ABOVE, Status.UNDERTRAINED, Status.DIVERGED, Status.FAILED, Status.INTERRUPTED)


@dataclass(frozen=True)
class ProbeResult:
    """The verdict of one probe with its evidence and cost.

    Attributes:
        key: the probe's identity.
        n, replicate, attempt: which probe of its measurement.
        verdict: what it showed.
        evidence: why a failure is believed; None for other verdicts.
        correct: samples of the n with the right class strictly on top, at the last exact count.
        loss: mean training loss over the n samples at that count.
        gradient_norm: full-batch gradient norm relative to its value at init, where it was examined.
        steps: optimizer steps done.
        sample_steps: samples seen in those steps.
        seconds: wall time charged to the probe (a stack's time is shared out over its members).
        detail: numbers behind the evidence, and settings that decided it.
    """

    key: str
    n: int
    replicate: int
    attempt: int
    verdict: Verdict
    evidence: Evidence | None = None
    correct: int = 0
    loss: float | None = None
    gradient_norm: float | None = None
    steps: int = 0
    sample_steps: int = 0
    seconds: float = 0.0
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trained(self) -> bool:
        """Whether there was a training: a conflict among the samples is a verdict without one, and has no accuracy."""
        return self.steps > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "verdict": self.verdict.value,
            "evidence": None if self.evidence is None else self.evidence.key,
            "detail": dict(self.detail),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProbeResult:
        """The inverse of `to_dict`."""
        evidence = values["evidence"]
        return cls(
            **{
                **values,
                "verdict": Verdict(values["verdict"]),
                "evidence": None if evidence is None else Evidence[evidence.upper()],
            }
        )


@dataclass(frozen=True)
class Replicate:
    """One independent EMC.

    Attributes:
        replicate: its number.
        lower: largest verified fitted n below the deciding failure (0 if none was fitted).
        upper: the deciding failure's n; None where nothing failed.
        status: how its search ended.
        deciding: key of the deciding failure's probe.
        also_fitted: sizes above `upper` that a `verify` probe fitted.
    """

    replicate: int
    lower: int
    upper: int | None
    status: Status
    deciding: str | None = None
    also_fitted: tuple[int, ...] = ()

    @property
    def emc(self) -> int:
        """The replicate's EMC, or its lower bound."""
        return self.lower

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "emc": self.emc, "status": self.status.key, "also_fitted": list(self.also_fitted)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Replicate:
        """The inverse of `to_dict`."""
        kept = {key: value for key, value in values.items() if key != "emc"}
        kept |= {"status": Status[values["status"].upper()], "also_fitted": tuple(values["also_fitted"])}
        return cls(**kept)


class Tabular:
    """Prints itself as its `rows`: aligned text, or a table in a notebook."""

    def rows(self) -> list[tuple[str, str]]:
        """The table a user reads, as (name, text) pairs."""
        raise NotImplementedError

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.rows())
        return "\n".join(f"{name:<{width}}  {text}" for name, text in self.rows())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self.rows()
        )
        return f"<table>{body}</table>"


def differences_row(differences: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """The row that tells in which settings results differ, with each one's value."""
    texts = [f"{name} {' | '.join(values)}" for name, values in differences.items()]
    return "differ in", "; ".join(texts) or "nothing"


@dataclass(frozen=True, repr=False)
class EmcResult(Tabular):
    """The answer to one measurement: the EMC with status, interval, evidence and cost.

    Attributes:
        emc: lower median of the replicates' EMCs, right-censored ones ranked as infinite; without replicates the
            estimator's own.
        censored: whether the EMC is at least `emc` only.
        status: of the replicate that holds the median (of the censored ones if the median is censored).
        lower, upper: the EMC, and the lower median of the replicates' upper ends, None where that is not known.
            Without replicates the interval's ends, rounded outwards.
        interval: confidence interval for n50, conditional on the pool; None where none can be given.
        interval_method: how it was made, or why there is none.
        confidence: asked for the interval.
        estimand: what the number estimates.
        replicates: one EMC each; none where the estimator has none (`--search threshold`, `--criterion error`).
        parameters: numbers that the optimizer changes; None of a training that emc cannot look into.
        bits_per_parameter: emc * log2(K) / parameters for label regimes that are random; None otherwise.
        task, procedure, search: the resolved specification.
        dataset: what was loaded: rows, repeats, conflicts, classes, content hash, ...
        seed: of the measurement.
        fingerprint: identity of the measurement.
        probes: all probes the searches used, in the order of replicate, n, attempt.
        cost: probes, steps, sample_steps, seconds of those probes.
        unused: what this run trained beside them (see `unused`); empty where that was nothing.
        versions: of emc, torch, numpy, Python; device type, threads, trainer.
        detail: further numbers of the estimator; of those, `table` holds rows for the reader and `deciding` the keys of
            probes that decided.
        warnings: sentences a reader of the number should see.
        tuning: how the learning rate was chosen (`emc.tuning.Tuning.to_dict`); None where it was named.
        matched: how the model was found by its size: asked, parameters, ratio of the two, recipe, family (where the
            recipe starts); None where it was named.
        stored: numbers of the network that is evaluated, without those that are zero whatever is trained; None in
            earlier records.
        bits: that store what was trained, everything that is drawn from the seed being free; None in earlier records,
            and where numbers that stay as they are come from a file.
        bits_per_bit: emc * log2(K) / bits, where there is bits_per_parameter; None where there is no bits.
    """

    emc: int
    censored: bool
    status: Status
    lower: int
    upper: int | None
    interval: tuple[float, float] | None
    interval_method: str
    confidence: float
    estimand: str
    replicates: tuple[Replicate, ...]
    parameters: int | None
    bits_per_parameter: float | None
    task: Mapping[str, Any]
    procedure: Mapping[str, Any]
    search: Mapping[str, Any]
    dataset: Mapping[str, Any]
    seed: int
    fingerprint: str
    probes: tuple[ProbeResult, ...]
    cost: Mapping[str, float]
    versions: Mapping[str, Any]
    detail: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    tuning: Mapping[str, Any] | None = None
    unused: Mapping[str, float] = field(default_factory=dict)
    matched: Mapping[str, Any] | None = None
    stored: int | None = None
    bits: int | None = None
    bits_per_bit: float | None = None

    @property
    def emc_per_parameter(self) -> float | None:
        """Samples fitted per trainable parameter; None where those are not known."""
        return None if self.parameters is None else self.emc / self.parameters

    @property
    def deciding_evidence(self) -> dict[str, int]:
        """How often each kind of evidence decided a replicate, or the probes that decided where there are none.

        A replicate whose size was tried several times is decided by its weakest failure.
        """
        deciding = {replicate.deciding for replicate in self.replicates} | set(self.detail.get("deciding", ()))
        kinds = Counter(probe.evidence.key for probe in self.probes if probe.key in deciding and probe.evidence)
        return dict(sorted(kinds.items()))

    @property
    def test_accuracy(self) -> tuple[float | None, ...]:
        """Each replicate's accuracy on the test split at its largest fitted n; empty without a split, None at n = 0."""
        if not any("test_rows" in probe.detail for probe in self.probes):
            return ()
        at = {(p.replicate, p.n): p.detail for p in self.probes if p.verdict is Verdict.FITTED}
        found = (at.get((replicate.replicate, replicate.lower)) for replicate in self.replicates)
        return tuple(None if detail is None else detail["test_correct"] / detail["test_rows"] for detail in found)

    def to_dict(self) -> dict[str, Any]:
        """The record that `--json` writes."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **plain,
            "test_accuracy": list(self.test_accuracy),
            "status": self.status.key,
            "interval": None if self.interval is None else list(self.interval),
            "warnings": list(self.warnings),
            "emc_per_parameter": self.emc_per_parameter,
            "replicates": [replicate.to_dict() for replicate in self.replicates],
            "probes": [probe.to_dict() for probe in self.probes],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EmcResult:
        """The inverse of `to_dict`."""
        kept = {key: value for key, value in values.items() if key in cls.__dataclass_fields__}
        kept |= {
            "status": Status[values["status"].upper()],
            "interval": None if values["interval"] is None else tuple(values["interval"]),
            "warnings": tuple(values.get("warnings", ())),
            "replicates": tuple(Replicate.from_dict(entry) for entry in values["replicates"]),
            "probes": tuple(ProbeResult.from_dict(entry) for entry in values["probes"]),
        }
        result = cls(**kept)
        _require(Mapping, result, "task", "procedure", "search", "dataset", "cost", "versions", "detail", "unused")
        _require(int, result, "emc", "lower", "seed", *(() if result.parameters is None else ("parameters",)))
        _require(int, result.dataset, "rows")
        _require(int, result, *(name for name in ("stored", "bits") if getattr(result, name) is not None))
        for replicate in result.replicates:
            _require(int, replicate, "replicate", "lower", *(() if replicate.upper is None else ("upper",)))
        return result

    def to_json(self) -> str:
        """The record as JSON text; never NaN or infinity."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_frame(self) -> pd.DataFrame:
        """One row a probe: n, replicate, attempt, verdict, evidence, correct, accuracy, loss, steps, seconds (s)."""
        import pandas as pd

        frame = pd.DataFrame([probe.to_dict() for probe in self.probes]).drop(columns=["detail"], errors="ignore")
        if not len(frame):
            return frame
        return frame.assign(accuracy=(frame["correct"] / frame["n"]).where(frame["steps"] > 0))

    def rows(self) -> list[tuple[str, str]]:
        """The table a user reads, as (name, text) pairs."""
        at_least = ">= " if self.censored else ""
        lines = [
            ("EMC", f"{at_least}{self.emc}"),
            (f"{100 * self.confidence:.4g} % interval", self._interval_text()),
            ("status", f"{self.status.key}: {self.status.value}"),
            *(("warning", text) for text in self.warnings),
            *([("replicates", self._replicates_text())] if self.replicates else []),
            *self.detail.get("table", {}).items(),
            ("estimand", self.estimand),
            ("parameters", sizes_text(self.parameters, self.stored, self.bits)),
            *([] if self.matched is None else [("matched", matched_text(self.matched))]),
        ]
        if self.emc_per_parameter is not None:
            lines.append(("EMC per parameter", f"{at_least}{self.emc_per_parameter:.4g}"))
        if self.bits_per_parameter is not None:
            lines.append(("bits per parameter", f"{at_least}{self.bits_per_parameter:.4g}"))
        if self.bits_per_bit is not None:
            lines.append(("label bits per bit", f"{at_least}{self.bits_per_bit:.4g}"))
        if self.test_accuracy:
            lines.append(("test accuracy", self._test_text()))
        evidence = ", ".join(f"{count} {kind}" for kind, count in self.deciding_evidence.items()) or "no failure"
        lines += [
            ("deciding evidence", evidence),
            ("procedure", procedure_text(self.procedure)),
            *([] if self.tuning is None else [("tuned", tuning_text(self.tuning))]),
            ("data", self._data_text()),
            ("cost", f"{cost_text(self.cost)}{unused_text(self.unused)}"),
            ("fingerprint", self.fingerprint),
        ]
        return lines

    def _interval_text(self) -> str:
        if self.interval is None:
            return f"none ({self.interval_method})"
        return f"{self.interval[0]:.5g} to {self.interval[1]:.5g} ({self.interval_method})"

    def _replicates_text(self) -> str:
        marks = [
            (">=" if replicate.status.right_censored else "") + str(replicate.emc) for replicate in self.replicates
        ]
        kinds = Counter(replicate.status.key for replicate in self.replicates)
        return " ".join(marks) + " (" + ", ".join(f"{count} {kind}" for kind, count in kinds.items()) + ")"

    def _test_text(self) -> str:
        known = [accuracy for accuracy in self.test_accuracy if accuracy is not None]
        if not known:
            return "none (no replicate fitted anything)"
        marks = " ".join("none" if accuracy is None else f"{accuracy:.4f}" for accuracy in self.test_accuracy)
        mean = sum(known) / len(known)
        return f"{mean:.4f} on {self.dataset['test_rows']:,} held-out rows, at each replicate's EMC ({marks})"

    def _data_text(self) -> str:
        facts = self.dataset
        text = (
            f"{self.task['data']}, {self.task['labels']} labels, {self.task['inputs']} inputs; {facts['rows']:,} rows"
        )
        if facts["repeats"] is None:
            return text + ", repeats not looked for"
        return text + f", {facts['repeats']:,} repeats ({facts['conflicts']:,} with another label)"


def parameters_text(parameters: int | None) -> str:
    """A number of parameters as a user reads it."""
    return "not known" if parameters is None else f"{parameters:,}"


def sizes_text(trained: int | None, stored: int | None, bits: int | None) -> str:
    """How large a model is, as a user reads it; earlier records know only what is trained.

    >>> sizes_text(1210, 1210, 38720)
    '1,210 trained, 1,210 stored, 38,720 bits'
    """
    if trained is None or stored is None:
        return parameters_text(trained)
    told = "bits not known with weights from a file" if bits is None else f"{bits:,} bits"
    return f"{trained:,} trained, {stored:,} stored, {told}"


#: What a journal's record of a measurement, or of one that could not be made, says it is.
MEASUREMENT_KIND, FAILED_KIND = "measurement", "failed"


def measurement_record(result: EmcResult, cell: Mapping[str, Any], untuned: str | None = None) -> dict[str, Any]:
    """The record of a result for the journal, which holds its probes already: their keys stand for them.

    Args:
        result: of the measurement.
        cell: its settings as the user gave them.
        untuned: its fingerprint before it was tuned.
    """
    record = {"kind": MEASUREMENT_KIND, **result.to_dict(), "cell": dict(cell), "untuned": untuned}
    del record["unused"]  # of the run, not of the measurement
    return record | {"probes": [probe.key for probe in result.probes], "evidence": result.deciding_evidence}


def failed_record(fingerprint: str, cell: Mapping[str, Any], error: EmcError) -> dict[str, Any]:
    """The record of a measurement that came to no end."""
    sentence = " ".join(str(error).split())
    return {"kind": FAILED_KIND, "fingerprint": fingerprint, "cell": dict(cell), "error": sentence}


def _require(kind: type, holder: Any, *names: str) -> None:
    """Refuse what a file holds in the place of numbers or mappings.

    Raises:
        TypeError, ValueError: a field or key is of another type, or a number below 0.
    """
    for name in names:
        value = holder[name] if isinstance(holder, Mapping) else getattr(holder, name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{name} is no {'number' if kind is int else 'mapping'}")
        if isinstance(value, int) and value < 0:
            raise ValueError(f"{name} is below 0")


def matched_text(matched: Mapping[str, Any]) -> str:
    """How near the parameters are to those asked for, and where the model comes from."""
    return (
        f"{matched['parameters']:,} of {matched['asked']:,} parameters asked for (ratio {matched['ratio']:.4g}), by "
        f"recipe {matched['recipe']} from {matched['family']}"
    )


def tuning_text(tuning: Mapping[str, Any]) -> str:
    """What tuning chose, of how many candidates and at what cost."""
    rates = sorted({trial["candidate"]["lr"] for trial in tuning["trials"]})
    chosen = tuning["chosen"]
    if chosen is None:
        return "interrupted before the choice; nothing was measured"
    first = [trial for trial in tuning["trials"] if trial["rung"] == 0]
    sizes = {trial["candidate"]["batch_size"] for trial in first}
    size = f", batch size {chosen['batch_size']}" if len(sizes) > 1 else ""
    spent = tuning["cost"]
    text = (
        f"lr {chosen['lr']:.4g}{size} of {len(first)} candidates from {rates[0]:.4g} to {rates[-1]:.4g}, on seeds of "
        f"its own: {cost_text(spent)}{unused_text(tuning.get('unused', {}))}"
    )
    edge = "; the chosen rate is at an end of those tried, a better one may lie beyond (raise widen or rates)"
    return text + (edge if tuning["at_edge"] else "")


def cost(probes: Iterable[ProbeResult | Trained]) -> dict[str, float]:
    """What probes took: probes, steps, sample_steps, seconds."""
    probes = list(probes)
    return {
        "probes": len(probes),
        "steps": sum(probe.steps for probe in probes),
        "sample_steps": sum(probe.sample_steps for probe in probes),
        "seconds": sum(probe.seconds for probe in probes),
    }


def cost_text(cost: Mapping[str, float]) -> str:
    """A cost as a user reads it."""
    return f"{cost['probes']:,.0f} probes, {cost['steps']:,.0f} steps, {cost['seconds']:,.1f} s"


def unused(
    used: Iterable[ProbeResult], trained: Iterable[Trained], unfinished: Sequence[RunningProbe]
) -> dict[str, float]:
    """What was trained beside the probes that a result uses: asked ahead in vain, or broken off.

    Args:
        used: the result's probes.
        trained: all verdicts that were trained for.
        unfinished: trainings that were broken off.

    Returns:
        probes (with a verdict), unfinished, and the steps, sample_steps, seconds of both; empty where there are none.
    """
    keys = {probe.key for probe in used}
    beside = []
    for probe in trained:
        if probe.key in keys:
            keys.remove(probe.key)  # without a journal a later drive may train it once more
        else:
            beside.append(probe)
    if not beside and not unfinished:
        return {}
    broken_off = {
        "probes": 0,
        "steps": sum(run.steps for run in unfinished),
        "sample_steps": sum(run.sample_steps for run in unfinished),
        "seconds": sum(run.seconds for run in unfinished),
    }
    total = {name: value + broken_off[name] for name, value in cost(beside).items()}
    return {**total, "unfinished": len(unfinished)}


def unused_text(unused: Mapping[str, float]) -> str:
    """The same as a user reads it, behind the cost of what was used."""
    if not unused:
        return ""
    count = unused["probes"]
    kinds = [f"{count:,.0f} {'probe' if count == 1 else 'probes'}"] if count else []
    kinds += [f"{unused['unfinished']:,.0f} broken off"] if unused["unfinished"] else []
    return f"; also trained and not used: {', '.join(kinds)}, {unused['steps']:,.0f} steps, {unused['seconds']:,.1f} s"


class Trained(NamedTuple):
    """What is remembered of a probe that was trained: its key and cost."""

    key: str
    steps: int
    sample_steps: int
    seconds: float

    @classmethod
    def of(cls, result: ProbeResult) -> Trained:
        """Of a verdict."""
        return cls(result.key, result.steps, result.sample_steps, result.seconds)


@dataclass(frozen=True)
class RunningProbe:
    """One training under way, as a live view shows it, or what became of it when it was broken off.

    Attributes:
        n, replicate, attempt, base: which probe it is (`emc.specs.Probe`).
        correct: samples of the n that were right at the last exact count.
        steps, budget: optimizer steps done, and after which it ends.
        sample_steps: samples seen in those steps.
        seconds: wall time charged to it.
    """

    n: int
    replicate: int
    attempt: int
    correct: int
    steps: int
    budget: int
    sample_steps: int = 0
    seconds: float = 0.0
    base: str = ""


@dataclass(frozen=True)
class ProbeFailure:
    """A training that came to no verdict: it raised, its process died, or it took too long.

    Attributes:
        probe: which one.
        error: what a user is told.
        trace: where it came from, as text.
    """

    probe: Probe
    error: EmcError
    trace: str = ""


#: Of a search: its lower end, its upper end or None, how it ended or None while it runs.
Bracket = tuple[int, int | None, Status | None]


@dataclass(frozen=True)
class Progress:
    """A measurement under way.

    Attributes:
        brackets: for each replicate (lower, upper or None, status or None while it runs).
        running: the trainings under way.
        probes: probes that have a verdict, those from the journal included.
        steps: optimizer steps done by this process.
        seconds: since this process began to train.
        what: is searched for.
    """

    brackets: tuple[Bracket, ...]
    running: tuple[RunningProbe, ...]
    probes: int
    steps: int
    seconds: float
    what: str = "EMC"


#: Searches whose brackets a line has room for.
MAX_BRACKETS = 20


def brackets_text(brackets: Iterable[Bracket]) -> str:
    """Every search's bracket in one line; of more than `MAX_BRACKETS` how many have ended, and how.

    >>> brackets_text([(16, None, None), (64, 128, None), (100, 104, Status.BRACKETED)])
    '16.. | 64..128 | 100..104 bracketed'
    >>> brackets_text(30 * [(100, 104, Status.BRACKETED)] + 170 * [(16, None, None)])
    '30 bracketed, 170 not ended'
    """
    brackets = list(brackets)
    if len(brackets) > MAX_BRACKETS:
        ended = Counter(status.key for _, _, status in brackets if status is not None)
        counts = {**ended, "not ended": len(brackets) - ended.total()}
        return ", ".join(f"{count} {key}" for key, count in counts.items() if count)
    return " | ".join(
        f"{lower}..{'' if upper is None else upper}" + ("" if status is None else f" {status.key}")
        for lower, upper, status in brackets
    )
