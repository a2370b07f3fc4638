"""Why each failing probe failed, in words: the numbers of its record, labelled, with units, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emc.results import ProbeResult

Row = tuple[str, str]


@dataclass(frozen=True)
class Number:
    """How a number of the record is shown.

    Attributes:
        group: the heading it stands under.
        label: its name in words.
        show: its value as text, with its unit.
        meaning: one sentence.
    """

    group: str
    label: str
    show: Callable[[Any], str]
    meaning: str


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"


def _of_loss(value: float) -> str:
    return f"{_share(value)} of the loss"


def _of_init(value: float) -> str:
    return f"{value:.3g} of its value at init"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _amount(unit: str) -> Callable[[int], str]:
    return lambda value: f"{value:,} {unit}"


def _stop(value: str) -> str:
    known = {
        "stalled": "a doubling of its steps gained nothing",
        "budget": "its budget was over",
        "own": "its own rule ended it",
    }
    return known.get(value, str(value))


def _escapes(values: list[Mapping[str, Any]]) -> str:
    told = [
        f"at step {escape['step']:,} the loss went from {escape['loss_before']:.4g} to {escape['loss_after']:.4g} "
        f"by a move of {abs(escape['length']):.3g} of the weights' norm"
        for escape in values
    ]
    return "; ".join(told) or "none"


def _flatness(value: Mapping[str, Any]) -> str:
    return f"{largest_text(value)} largest eigenvalue, {trace_text(value)} trace, at a loss of {value['loss']:.4g}"


def largest_text(flatness: Mapping[str, Any]) -> str:
    """The largest eigenvalue, which Lanczos may not have found."""
    return "not known" if flatness["largest"] is None else f"{flatness['largest']:.4g}"


def trace_text(flatness: Mapping[str, Any]) -> str:
    """The trace, with its standard error where it was estimated."""
    error = flatness["trace_error"]
    return f"{flatness['trace']:.4g}" + (f" (+- {100 * error:.2g} %)" if error else "")


TRAINING, POLISH, KINKS = "training", "full-batch descent from there (the polish)", "kinks of ReLU"
CURVATURE, PROGRAM = "curvature where that ended", "proof of what a model can fit"
HELD_OUT, FLATNESS = "test split", "flatness where the training ended"

#: By key of the record, in the order of printing; `loss` and `gradient_norm` are fields of their own there.
NUMBERS: dict[str, Number] = {
    "stop": Number(TRAINING, "stopped because", _stop, "why the training ended"),
    "budget": Number(TRAINING, "budget", _amount("steps"), "steps after which it would have ended in any case"),
    "batch_size": Number(TRAINING, "batch", _amount("samples"), "samples a step"),
    "loss": Number(
        TRAINING, "loss", _number, "mean training loss over the n samples at the last count; cross-entropy is in nats"
    ),
    "gain_of_last_doubling": Number(
        TRAINING,
        "gain of the last doubling",
        _of_loss,
        "share by which the best loss fell since half the steps (since the last escape, if any)",
    ),
    "count_gained": Number(
        TRAINING, "right answers gained in it", _amount("samples"), "by how much the best count rose in that doubling"
    ),
    "stall_tolerance": Number(
        TRAINING, "gain that counts as none", _of_loss, "a smaller gain of a doubling is a stall"
    ),
    "rise_over_best": Number(
        TRAINING,
        "loss over its best",
        lambda value: f"{value:.4g} times",
        "the least of the last quarter of the steps over the best of all; of more than 1.5 the failure is not believed",
    ),
    "gradient_norm": Number(
        TRAINING, "gradient norm", _of_init, "Euclidean norm of the full-batch gradient; 0 where descent has ended"
    ),
    "not_examined": Number(TRAINING, "not examined", str, "why its failure was not looked into"),
    "dead_units": Number(
        TRAINING, "dead units", _share, "share of the ReLU units that are 0 on all n samples and so cannot learn"
    ),
    "escapes": Number(
        TRAINING, "saddles left", _escapes, "moves along negative curvature after which the training went on"
    ),
    "escape_failed": Number(TRAINING, "last saddle not left", str, "why the training did not go on from it"),
    "polish_steps": Number(POLISH, "effort", _amount("steps"), "iterations of L-BFGS and Adam on a copy, in float64"),
    "polish_objective": Number(POLISH, "descends", str, "the objective, where it is not the training's own"),
    "polish_gain": Number(POLISH, "gain", _of_loss, "share by which descent on all n samples lowered the loss further"),
    "polish_tolerance": Number(POLISH, "gain that counts as none", _of_loss, "with less, no descent is left"),
    "polish_correct": Number(POLISH, "right answers after it", _amount("samples"), "of the n, after the descent"),
    "polish_gradient_norm": Number(POLISH, "gradient norm after it", _of_init, "as above, after the descent"),
    "gradient_tolerance": Number(
        POLISH, "norm that counts as stationary", _of_init, "a larger slope (at kinks: the one-sided one) is descent"
    ),
    "stationary_undecided": Number(POLISH, "not called stationary", str, "why no stationary point is claimed"),
    "kink_pairs": Number(
        KINKS, "resting on a kink", _amount("(sample, unit) pairs"), "where the gradient alone does not tell"
    ),
    "kink_pairs_downward": Number(
        KINKS, "bending downward", _amount("pairs"), "those among them where either side leads down"
    ),
    "kink_slope_before": Number(KINKS, "steepest slope before", _of_init, "before a descent that follows the kinks"),
    "kink_steps": Number(KINKS, "effort of following them", _amount("Newton steps"), "of the descent along the kinks"),
    "kink_gain": Number(KINKS, "gain by then", _of_loss, "the polish's gain included"),
    "kink_correct": Number(KINKS, "right answers by then", _amount("samples"), "of the n, after that descent"),
    "kink_slope": Number(KINKS, "steepest slope", _of_init, "the steepest one-sided descent there, as a gradient norm"),
    "kink_inside": Number(
        KINKS, "free slopes' distance from their ends", _number, "of the nearest; 0 decides no minimum"
    ),
    "kinks_undecided": Number(KINKS, "not examined", str, "why the slope at kinks is not known"),
    "curvature_smallest": Number(
        CURVATURE, "smallest eigenvalue", _number, "of the Hessian of the loss; negative: a way down (a saddle)"
    ),
    "curvature_largest": Number(CURVATURE, "largest magnitude", _number, "of an eigenvalue, the scale of the others"),
    "curvature_relative": Number(CURVATURE, "ratio of the two", _share, "negative at a saddle"),
    "curvature_tolerance": Number(
        CURVATURE, "ratio that decides", _share, "below minus this a saddle, above minus its hundredth a minimum"
    ),
    "curvature_residual": Number(
        CURVATURE, "error bound", _number, "an eigenvalue lies within this of the smallest one shown"
    ),
    "curvature_residual_tolerance": Number(
        CURVATURE, "error allowed", _share, "of the largest magnitude; above it no minimum is claimed"
    ),
    "curvature_products": Number(CURVATURE, "effort", _amount("Hessian-vector products"), "spent on the eigenvalues"),
    "curvature_of": Number(CURVATURE, "taken of", str, "what the curvature describes"),
    "curvature_undecided": Number(CURVATURE, "not decided", str, "why neither saddle nor minimum is claimed"),
    "linear_program": Number(PROGRAM, "linear program", str, "whether any linear model fits these samples"),
    "certificate_residual": Number(
        PROGRAM, "residual of the proof", _number, "bounds every margin a linear model could have; 0 is exact"
    ),
    "certificate_tolerance": Number(PROGRAM, "residual allowed", _number, "a larger one proves nothing"),
    "counted_by": Number(TRAINING, "right answers counted by", str, "who held the answers against the classes"),
    "not_finite": Number(
        TRAINING, "scores not finite", _amount("rows"), "rows with NaN or infinite scores, which count as wrong"
    ),
    "test_correct": Number(HELD_OUT, "right answers", _amount("rows"), "of the rows held out by --test-split"),
    "test_rows": Number(HELD_OUT, "rows", _amount("rows"), "held out"),
    "flatness": Number(
        FLATNESS, "Hessian", _flatness, "largest eigenvalue and trace, of the mean training loss over the n samples"
    ),
    "proof": Number(PROGRAM, "proof", str, "why no model can fit"),
    "first_conflict": Number(
        PROGRAM, "first conflict", _amount("samples"), "size from which equal inputs carry different labels"
    ),
}

OTHER = "other"


def sections(probe: ProbeResult) -> dict[str, list[Row]]:
    """The numbers behind a failure by heading; what has no label here stands under `OTHER` by its key.

    A number that is in the record without a value could not be known.
    """
    values = _values(probe)
    found: dict[str, list[Row]] = {}
    for key, number in NUMBERS.items():
        if key in values:
            text = "not known" if values[key] is None else number.show(values[key])
            found.setdefault(number.group, []).append((number.label, text))
    other = [(key, str(value)) for key, value in values.items() if key not in NUMBERS]
    return found | ({OTHER: other} if other else {})


def meanings(probes: list[ProbeResult]) -> dict[str, list[Row]]:
    """What the labels mean that occur in some failures, by heading."""
    keys = {key for probe in probes for key in _values(probe)}
    found: dict[str, list[Row]] = {}
    for key, number in NUMBERS.items():
        if key in keys:
            found.setdefault(number.group, []).append((number.label, number.meaning))
    return found


def _values(probe: ProbeResult) -> dict[str, Any]:
    known = {"loss": probe.loss, "gradient_norm": probe.gradient_norm}
    return {**probe.detail, **{key: value for key, value in known.items() if value is not None}}
