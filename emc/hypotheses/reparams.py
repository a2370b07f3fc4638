"""Study: reparameterisation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import Match, name, pairs
from emc.hypotheses.parts import Claim
from emc.hypotheses.ratios import EmcPart, ratio
from emc.results import EmcResult

STUDY = "reparameterisation"


def _by(reparam: str) -> Match:
    return lambda result: name(result, "reparam") == reparam


@CLAIMS.register("subspace_raises_per_parameter")
def subspace_raises_per_parameter() -> Claim:
    """Training in a random subspace raises the EMC a trained parameter."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        held = [r for r in results if r.parameters]
        found = pairs(held, ("reparam",), _by("subspace"), _by("none"), loose=("optimizer.lr",))
        strata = [ratio(a, b, math.log((b.parameters or 1) / (a.parameters or 1))) for a, b in found]
        return [EmcPart("subspace over all parameters", tuple(strata), effect_name="ratio of EMCs a parameter")]

    return Claim(STUDY, "one procedure with --reparam subspace and without", parts)


@CLAIMS.register("precision_raises_per_bit")
def precision_raises_per_bit() -> Claim:
    """Low precision raises the EMC a stored bit."""

    def parts(results: Sequence[EmcResult]) -> list[EmcPart]:
        held = [r for r in results if r.bits]
        found = pairs(held, ("reparam",), _by("precision"), _by("none"))
        strata = [ratio(a, b, math.log((b.bits or 1) / (a.bits or 1))) for a, b in found]
        return [EmcPart("low over full precision", tuple(strata), effect_name="ratio of EMCs a bit")]

    return Claim(STUDY, "one procedure with --reparam precision and without", parts)
