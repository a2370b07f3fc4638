"""Study: number of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emc.hypotheses import CLAIMS
from emc.hypotheses.cells import clusters, groups, labelled
from emc.hypotheses.parts import ABOVE, BELOW, Claim, Region
from emc.hypotheses.ratios import EmcPart, slope
from emc.results import EmcResult

STUDY = "number of classes"
NEEDS = "one procedure with {} labels at several numbers of classes, parameters within 15 %"


def _part(results: Sequence[EmcResult], labels: str, region: Region) -> EmcPart:
    held = filter(labelled(labels), results)
    found = [cluster for group in groups(held, ("classes", "model.")) for cluster in clusters(group)]
    strata = [slope(each, logs) for each in found if len(set(logs := [math.log(_classes(r)) for r in each])) > 1]
    return EmcPart(f"log EMC on log classes, {labels}", tuple(strata), region, "exponent of classes", False)


def _classes(result: EmcResult) -> int:
    """The K asked for, or the dataset's own."""
    asked, own = result.task.get("classes"), result.dataset.get("classes")
    return int(asked or (own if isinstance(own, int) else len(own or ()) or 1))


@CLAIMS.register("classes_lower_semantic")
def classes_lower_semantic() -> Claim:
    """With semantic labels EMC falls with the number of classes."""
    return Claim(STUDY, NEEDS.format("semantic"), lambda results: [_part(results, "semantic", BELOW)])


@CLAIMS.register("classes_raise_random")
def classes_raise_random() -> Claim:
    """With random labels EMC grows with the number of classes."""
    return Claim(STUDY, NEEDS.format("random"), lambda results: [_part(results, "random", ABOVE)])
