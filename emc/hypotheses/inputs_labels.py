"""Study: inputs and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import (
    ALSO_WIDTH,
    FAMILY,
    OWN_TRAINING,
    Match,
    axes,
    facts,
    groups,
    is_net,
    is_plain,
    labelled,
    name,
    pairs,
    pool_bound,
    settings,
)
from emc.hypotheses.families import CNN, MLP, of
from emc.hypotheses.parts import BELOW, Claim, Region
from emc.hypotheses.ratios import EmcPart, Stratum, merged, ratio, slope
from emc.results import EmcResult

STUDY = "inputs and labels"

#: An exponent within this of 1 is about linear: over tenfold parameters EMC a parameter then moves by less than
#: 10 ** 0.2 = 1.6, which log-log axes over decades hardly show.
LINEAR = 0.2

_random, _semantic = labelled("random"), labelled("semantic")


def _fed(inputs: str) -> Match:
    return lambda result: name(result, "inputs") == inputs and result.procedure.get("reparam") is None


def _is_random(result: EmcResult) -> bool:
    return name(result, "labels") == "random"


def _is_noise(result: EmcResult) -> bool:
    """Noise inputs: on them the dataset's own labels are as random as any."""
    return _fed("gaussian")(result) and name(result, "labels") in ("semantic", "random")


@CLAIMS.register("linear_in_parameters")
def linear_in_parameters() -> Claim:
    """EMC grows with width as a power of the parameters whose exponent is between 0.8 and 1.2."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        held = [r for r in results if r.parameters and is_plain(r) and is_net(r) and not pool_bound(r)]
        grown = groups(held, {key for r in held for key in settings(r) if _widens(r, key)})
        strata = [
            slope(group, logs) for group in grown if _spread(logs := [math.log(r.parameters or 1) for r in group])
        ]
        region = Region(1 - LINEAR, 1 + LINEAR)
        return [EmcPart("log EMC on log parameters", tuple(strata), region, "exponent of parameters", False)]

    return Claim(STUDY, "one family at several widths and one depth, parameters over a factor of 2 or more", parts)


def _widens(result: EmcResult, key: str) -> bool:
    """Whether a setting is a width of the model."""
    widths = {*ALSO_WIDTH, *(axis.option for axis in axes(result) if axis.role == "width")}
    return key.startswith("model.") and key.removeprefix("model.") in widths


def _spread(logs: Sequence[float]) -> bool:
    """Whether sizes span a factor of 2."""
    return bool(logs) and max(logs) - min(logs) >= math.log(2)


@CLAIMS.register("random_below_semantic")
def random_below_semantic() -> Claim:
    """The EMC of random labels is below that of semantic labels."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        strata = [ratio(a, b) for a, b in pairs(results, ("labels",), _random, _semantic)]
        return [EmcPart("random over semantic labels", tuple(strata), BELOW, structured=True)]

    return Claim(STUDY, "one procedure with random and with semantic labels", parts)


def _in_room(result: EmcResult) -> bool:
    """Whether it is a net with random labels in a pool of more rows than parameters: in a smaller one none is above."""
    return is_net(result) and _random(result) and 0 < (result.parameters or 0) < result.dataset["rows"]


@CLAIMS.register("random_below_parameters")
def random_below_parameters() -> Claim:
    """Nets fit fewer than one sample a parameter with random labels, in pools of more rows than parameters."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        strata = [Stratum(((1.0, r),), -math.log(r.parameters or 1)) for r in results if _in_room(r)]
        return [EmcPart("random labels", merged(strata), BELOW, "EMC a parameter")]

    return Claim(STUDY, "a net with random labels", parts)


@CLAIMS.register("nets_below_linear")
def nets_below_linear() -> Claim:
    """Nets fit fewer samples a parameter than the linear model, random labels, pools of more rows than parameters."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        held = [r for r in results if r.parameters and _random(r)]
        found = pairs(held, FAMILY, _in_room, lambda r: bool(facts(r).get("linear")), loose=OWN_TRAINING)
        strata = [ratio(a, b, math.log((b.parameters or 1) / (a.parameters or 1))) for a, b in found]
        return [EmcPart("nets over the linear model", merged(strata), BELOW, "ratio of EMCs a parameter")]

    return Claim(STUDY, "the linear model and a net with random labels", parts)


@CLAIMS.register("permuting_hurts_cnn")
def permuting_hurts_cnn() -> Claim:
    """Permuted inputs lower the EMC of CNNs with semantic labels, and lower it more than that of MLPs."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        held = [r for r in results if name(r, "labels") == "semantic"]
        changes = pairs(held, ("inputs",), _fed("permuted"), _fed("natural"))
        cnn, mlp = ([each for each in changes if of(family)(each[0])] for family in (CNN, MLP))
        both = [
            Stratum(((1.0, a), (-1.0, b), (-1.0, c), (1.0, d)))
            for a, b in cnn
            for c, d in mlp
            if len(groups((a, c), FAMILY)) == 1
        ]
        return [
            EmcPart("permuted over natural inputs, CNN", tuple(ratio(*each) for each in cnn), BELOW, structured=True),
            EmcPart("CNN's ratio over MLP's", tuple(both), BELOW, "ratio of ratios", structured=True),
            EmcPart("permuted over natural inputs, MLP", tuple(ratio(*each) for each in mlp), None, structured=True),
        ]

    return Claim(STUDY, "a CNN and an MLP of one procedure, each with natural and with permuted inputs", parts)


@CLAIMS.register("noise_raises")
def noise_raises() -> Claim:
    """Gaussian noise as inputs raises the EMC of random labels."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        found = pairs(filter(_is_random, results), ("inputs",), _fed("gaussian"), _fed("natural"))
        strata = [ratio(a, b) for a, b in found or pairs(results, ("inputs", "labels"), _is_noise, _random)]
        return [EmcPart("noise over natural inputs", tuple(strata))]

    needs = "one procedure with random labels on natural and on gaussian inputs (there semantic ones will do)"
    return Claim(STUDY, needs, parts)


@CLAIMS.register("semantic_against_noise")
def semantic_against_noise() -> Claim:
    """CNNs fit more semantically labelled images than noise inputs, MLPs fewer."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        found = pairs(results, ("inputs", "labels"), _semantic, _is_noise)
        return [
            EmcPart(
                f"semantic over noise, {said}",
                tuple(ratio(a, b) for a, b in found if of(family)(a)),
                region,
                structured=True,
            )
            for said, family, region in (("CNN", CNN, Region(low=0.0)), ("MLP", MLP, BELOW))
        ]

    return Claim(STUDY, "a CNN and an MLP, each with semantic labels on natural and on gaussian inputs", parts)
