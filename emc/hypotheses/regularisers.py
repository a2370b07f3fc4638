"""Study: regularisers, of which no direction is known: questions, not claims."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from emc.errors import EmcError
from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import Match, name, option, pairs, settings
from emc.hypotheses.parts import Claim
from emc.hypotheses.ratios import EmcPart, ratio
from emc.optimizers import OPTIMIZERS
from emc.registry import PluginSpec, format_value
from emc.results import EmcResult

STUDY = "regularisers"


def _question(needs: str, said: str, ignore: Collection[str], has: Match, lacks: Match) -> Claim:
    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        found = [each for each in pairs(results, ignore, has, lacks) if _same_base(*each)]
        return [EmcPart(f"with {said} over without", tuple(ratio(*each) for each in found), None)]

    return Claim(STUDY, needs, parts, question=True)


def _same_base(a: EmcResult, b: EmcResult) -> bool:
    """SAM is compared with the optimizer that it is over, at its rate, with all its options."""
    try:
        other = OPTIMIZERS.resolve(str(b.procedure.get("optimizer")))
        if name(a, "optimizer") != "sam":
            return name(a, "optimizer") in _alike(other)
        base = OPTIMIZERS.resolve(PluginSpec.of_parts(tuple(str(option(a, "optimizer", "base")).split("|"))))
    except EmcError:  # of an optimizer that is not known here
        return name(a, "optimizer") == name(b, "optimizer") != "sam"
    return other.name in _alike(base) and _options(base, a) == _options(other, b)


def _options(optimizer: PluginSpec, result: EmcResult) -> dict[str, str]:
    """All options, defaults too; the rate is the result's, where it says one or that it was tuned."""
    known = {key: format_value(value) for key, value in optimizer.options}
    return known | {"lr": settings(result).get("optimizer.lr", known.get("lr", ""))}


def _alike(base: PluginSpec) -> tuple[str, ...]:
    """Names of the same optimizer: without decay adamw is adam."""
    adam = base.name in ("adam", "adamw") and not dict(base.options).get("weight_decay")
    return ("adam", "adamw") if adam else (base.name,)


def _number(result: EmcResult, setting: str, key: str) -> float:
    return float(option(result, setting, key) or 0.0)


@CLAIMS.register("sam")
def sam() -> Claim:
    """Sharpness-aware minimisation against its base optimizer."""
    return _question("an optimizer with sam over it and without", "SAM", ("optimizer",), _has_sam, _lacks_sam)


def _has_sam(result: EmcResult) -> bool:
    return name(result, "optimizer") == "sam"


def _lacks_sam(result: EmcResult) -> bool:
    return not _has_sam(result)


@CLAIMS.register("weight_decay")
def weight_decay() -> Claim:
    """Weight decay against none."""
    return _question(
        "an optimizer with weight_decay and without",
        "weight decay",
        ("optimizer.weight_decay", "=optimizer"),
        lambda result: _number(result, "optimizer", "weight_decay") > 0,
        lambda result: _number(result, "optimizer", "weight_decay") == 0,
    )


@CLAIMS.register("label_smoothing")
def label_smoothing() -> Claim:
    """Label smoothing against none."""
    return _question(
        "one procedure with --label-smoothing and without",
        "label smoothing",
        ("label_smoothing",),
        lambda result: bool(result.procedure.get("label_smoothing")),
        lambda result: not result.procedure.get("label_smoothing"),
    )


@CLAIMS.register("dropout")
def dropout() -> Claim:
    """Dropout against none."""
    return _question(
        "a model with dropout and without",
        "dropout",
        ("model.dropout",),
        lambda result: _number(result, "model", "dropout") > 0,
        lambda result: _number(result, "model", "dropout") == 0,
    )


@CLAIMS.register("augmentation")
def augmentation() -> Claim:
    """Augmentation against none."""
    return _question(
        "one procedure with --augment and without",
        "augmentation",
        ("augment",),
        lambda result: result.procedure.get("augment") is not None,
        lambda result: result.procedure.get("augment") is None,
    )
