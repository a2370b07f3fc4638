"""Study: activations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import Match, name, pairs
from emc.hypotheses.parts import ALIKE, Claim, Region
from emc.hypotheses.ratios import EmcPart, Stratum, ratio
from emc.results import EmcResult

STUDY = "activations"


def _acts(activation: str) -> Match:
    return lambda result: name(result, "activation") == activation


def _over(results: Sequence[EmcResult], first: str, second: str) -> tuple[Stratum, ...]:
    return tuple(ratio(a, b) for a, b in pairs(results, ("activation",), _acts(first), _acts(second)))


@CLAIMS.register("relu_far_above")
def relu_far_above() -> Claim:
    """ReLU fits more than 1.25 times as many samples as tanh, and as no activation."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        far = Region(low=math.log(ALIKE))
        return [
            EmcPart("ReLU over tanh", _over(results, "relu", "tanh"), far),
            EmcPart("ReLU over none", _over(results, "relu", "identity"), far),
        ]

    return Claim(STUDY, "one procedure with relu, tanh and identity", parts)


@CLAIMS.register("tanh_barely_helps")
def tanh_barely_helps() -> Claim:
    """The EMC of tanh is between 0.8 and 1.25 times that of no activation."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        alike = Region(-math.log(ALIKE), math.log(ALIKE))
        return [EmcPart("tanh over none", _over(results, "tanh", "identity"), alike)]

    return Claim(STUDY, "one procedure with tanh and with identity", parts)
